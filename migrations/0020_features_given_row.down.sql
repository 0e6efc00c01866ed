DROP TYPE features.given_row;
