-- A row as it is written (docs/formats/feature-store.md): sent in PostgreSQL's binary form, so that no number is printed and read again.
-- Times are text, for PostgreSQL to read; absent: now.
CREATE TYPE features.given_row AS (
    entity_key text,
    event_time text,
    created    text,
    doubles    float8[],
    integers   int8[],
    texts      text[]
);
