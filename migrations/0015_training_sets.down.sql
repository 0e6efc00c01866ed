DROP TABLE features.training_set_rows, features.training_sets;
ALTER TABLE features.history DROP COLUMN written;
