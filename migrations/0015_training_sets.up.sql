-- Training sets that can be made again byte for byte (docs/formats/feature-store.md): what they were made of, and at which snapshot.

-- Which transaction wrote it: `created` is the caller's word, this is the database's.
ALTER TABLE features.history ADD COLUMN written xid8 NOT NULL DEFAULT pg_current_xact_id();

CREATE TABLE features.training_sets (
    training_set_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text NOT NULL UNIQUE CHECK (name <> ''),
    specification   json NOT NULL,
    snapshot        pg_snapshot NOT NULL,
    rows            bigint NOT NULL DEFAULT 0,
    bytes           bigint NOT NULL DEFAULT 0,
    sha256          text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT now()
);

-- The spine: the row's place, its time, and all of its columns as text.
CREATE TABLE features.training_set_rows (
    training_set_id bigint NOT NULL REFERENCES features.training_sets ON DELETE CASCADE,
    number          bigint NOT NULL,
    at              timestamptz NOT NULL,
    columns         text[] NOT NULL,
    PRIMARY KEY (training_set_id, number)
);
