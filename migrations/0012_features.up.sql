-- The feature store (docs/formats/feature-store.md): what the views are, each entity's latest values, and all values with their times.
CREATE SCHEMA features;

CREATE TABLE features.entities (
    name        text PRIMARY KEY CHECK (name <> ''),
    join_key    text NOT NULL UNIQUE CHECK (join_key <> ''),
    value_type  text NOT NULL CHECK (value_type IN ('string', 'int32', 'int64', 'uuid')),
    description text NOT NULL DEFAULT '',
    tags        jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE features.feature_views (
    view_id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (name <> ''),
    ttl         interval NOT NULL DEFAULT '0' CHECK (ttl >= '0'),
    push_source text CHECK (push_source <> ''),
    description text NOT NULL DEFAULT '',
    tags        jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE features.view_entities (
    view_id int NOT NULL REFERENCES features.feature_views ON DELETE CASCADE,
    ordinal int NOT NULL CHECK (ordinal > 0),
    entity  text NOT NULL REFERENCES features.entities,
    PRIMARY KEY (view_id, ordinal),
    UNIQUE (view_id, entity)
);
CREATE INDEX idx_view_entities_entity ON features.view_entities (entity);

-- `slot` is the place in the array of the feature's kind; it is never given to another feature, not even after this one was removed.
CREATE TABLE features.view_features (
    feature_id  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    view_id     int NOT NULL REFERENCES features.feature_views ON DELETE CASCADE,
    ordinal     int NOT NULL,
    name        text NOT NULL CHECK (name <> ''),
    value_type  text NOT NULL,
    slots       text NOT NULL CHECK (slots IN ('doubles', 'integers', 'texts')),
    slot        int NOT NULL CHECK (slot > 0),
    removed     boolean NOT NULL DEFAULT false,
    description text NOT NULL DEFAULT '',
    tags        jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (view_id, slots, slot)
);
CREATE UNIQUE INDEX uq_view_features_name ON features.view_features (view_id, name) WHERE NOT removed;

CREATE TABLE features.services (
    name        text PRIMARY KEY CHECK (name <> ''),
    description text NOT NULL DEFAULT '',
    tags        jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE features.service_features (
    service    text NOT NULL REFERENCES features.services ON DELETE CASCADE,
    ordinal    int NOT NULL,
    feature_id uuid NOT NULL REFERENCES features.view_features ON DELETE CASCADE,
    PRIMARY KEY (service, ordinal),
    UNIQUE (service, feature_id)
);
CREATE INDEX idx_service_features_feature_id ON features.service_features (feature_id);

-- One row: it changes with each change of a definition, so that a server knows when what it remembers of them is old.
CREATE TABLE features.definitions (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  bigint NOT NULL DEFAULT 1
);
INSERT INTO features.definitions DEFAULT VALUES;

-- Half of each page is left free, so that a newer value takes its older one's place in the page (HOT).
CREATE TABLE features.latest (
    view_id    int NOT NULL REFERENCES features.feature_views ON DELETE CASCADE,
    entity_key text NOT NULL,
    event_time timestamptz NOT NULL,
    created    timestamptz NOT NULL,
    doubles    float8[] NOT NULL,
    integers   int8[] NOT NULL,
    texts      text[] NOT NULL,
    PRIMARY KEY (view_id, entity_key)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE features.history (
    view_id    int NOT NULL,
    entity_key text NOT NULL,
    event_time timestamptz NOT NULL,
    created    timestamptz NOT NULL,
    doubles    float8[] NOT NULL,
    integers   int8[] NOT NULL,
    texts      text[] NOT NULL
) PARTITION BY RANGE (event_time);
CREATE TABLE features.history_default PARTITION OF features.history DEFAULT;
CREATE INDEX idx_history_entity ON features.history (view_id, entity_key, event_time DESC, created DESC);
