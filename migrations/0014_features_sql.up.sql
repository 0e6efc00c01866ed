-- Text 000's tables over the feature store (docs/reference/sql-of-the-texts.md), and vectors as features.

-- What a view's values are of: its entity's name, or a JSON array of several. Never changes, as its entities do not.
ALTER TABLE features.feature_views ADD COLUMN entity_type text;
UPDATE features.feature_views v SET entity_type =
    (SELECT CASE count(*) WHEN 1 THEN min(entity) ELSE jsonb_agg(entity ORDER BY ordinal)::text END
     FROM features.view_entities e WHERE e.view_id = v.view_id);
ALTER TABLE features.feature_views ALTER COLUMN entity_type SET NOT NULL;

ALTER TABLE features.view_features
    ADD COLUMN vector_length int CHECK (vector_length BETWEEN 1 AND 16000),
    ADD COLUMN vector_search_metric text CHECK (vector_search_metric IN ('cosine', 'l2', 'inner_product')),
    ADD CHECK ((value_type = 'vector') = (vector_length IS NOT NULL));

-- Each entity that was ever written, under one uuid. `kind` is feature_views.entity_type; `entity_type` is what SQL calls it.
CREATE TABLE features.entity_ids (
    entity_id   uuid PRIMARY KEY,
    kind        text NOT NULL,
    entity_key  text NOT NULL,
    entity_type text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Names hold no ':'. Entities that SQL inserts are of the kind `entity`, whose keys are the uuids themselves.
CREATE FUNCTION features.entity_id(kind text, entity_key text) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN kind = 'entity' AND entity_key ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN entity_key::uuid
                ELSE public.uuid_generate_v5(public.uuid_ns_oid(), kind || ':' || entity_key) END
$$;

-- In the order of ids, so that two writers of the same new entities do not wait for each other.
CREATE FUNCTION features.note_entities(view_id int, entity_keys text[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO features.entity_ids (entity_id, kind, entity_key, entity_type)
    SELECT DISTINCT ON (1) features.entity_id(v.entity_type, k), v.entity_type, k, v.entity_type
    FROM features.feature_views v, unnest($2) k WHERE v.view_id = $1
    ORDER BY 1 ON CONFLICT DO NOTHING
$$;

-- Fires for rows that are new in `latest` only, not for those that take another's place.
CREATE FUNCTION features.note_new_entities() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO features.entity_ids (entity_id, kind, entity_key, entity_type)
    SELECT DISTINCT ON (1) features.entity_id(v.entity_type, n.entity_key), v.entity_type, n.entity_key, v.entity_type
    FROM inserted n JOIN features.feature_views v USING (view_id)
    ORDER BY 1 ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER latest_entities AFTER INSERT ON features.latest REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION features.note_new_entities();

INSERT INTO features.entity_ids (entity_id, kind, entity_key, entity_type)
SELECT DISTINCT ON (1) features.entity_id(v.entity_type, h.entity_key), v.entity_type, h.entity_key, v.entity_type
FROM (SELECT view_id, entity_key FROM features.latest UNION SELECT view_id, entity_key FROM features.history) h
JOIN features.feature_views v USING (view_id)
ORDER BY 1;

-- A feature view of one entity with a uuid as its key, as `cairn features apply` makes it.
CREATE FUNCTION features.declare_view(view_name text, entity text, features text[], types text[], descriptions text[], tags jsonb)
RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    key features.entities;
    id int;
BEGIN
    PERFORM FROM features.definitions FOR UPDATE;
    INSERT INTO features.entities (name, join_key, value_type) VALUES (entity, entity || '_id', 'uuid') ON CONFLICT (name) DO NOTHING;
    SELECT * INTO key FROM features.entities e WHERE e.name = entity;
    IF key.value_type <> 'uuid' THEN
        RAISE invalid_parameter_value USING MESSAGE = format('the entity %s has keys of the type %s, and uuid is expected', entity, key.value_type),
            HINT = 'Its name is taken by a definition of another kind: declare the feature with `cairn features apply`.';
    END IF;
    INSERT INTO features.feature_views (name, entity_type) VALUES (view_name, entity) RETURNING view_id INTO id;
    INSERT INTO features.view_entities (view_id, ordinal, entity) VALUES (id, 1, declare_view.entity);
    INSERT INTO features.view_features (view_id, ordinal, name, value_type, slots, slot, description, tags)
    SELECT id, n - 1, f, t, s, row_number() OVER (PARTITION BY s ORDER BY n), coalesce(d, ''), declare_view.tags
    FROM unnest(declare_view.features, types, descriptions) WITH ORDINALITY u (f, t, d, n),
         LATERAL (SELECT CASE WHEN t IN ('double', 'float') THEN 'doubles'
                              WHEN t IN ('int32', 'int64', 'bool', 'unix_timestamp') THEN 'integers' ELSE 'texts' END) k (s);
    UPDATE features.definitions SET version = version + 1;
    RETURN id;
END
$$;

-- One row of values: latest where it is newer, and history. The row of `latest` is locked from here on.
CREATE FUNCTION features.write_row(written features.latest) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO features.latest AS l VALUES (written.*)
    ON CONFLICT (view_id, entity_key) DO UPDATE SET event_time = excluded.event_time, created = excluded.created,
        doubles = excluded.doubles, integers = excluded.integers, texts = excluded.texts
    WHERE (excluded.event_time, excluded.created) >= (l.event_time, l.created);
    INSERT INTO features.history VALUES (written.*);
END
$$;

CREATE VIEW text000.entities AS SELECT entity_id, entity_type, created_at FROM features.entity_ids;

CREATE FUNCTION text000.insert_entity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.entity_id := coalesce(NEW.entity_id, gen_random_uuid());
    NEW.created_at := coalesce(NEW.created_at, now());
    INSERT INTO features.entity_ids VALUES (NEW.entity_id, 'entity', NEW.entity_id::text, NEW.entity_type, NEW.created_at);
    RETURN NEW;
END
$$;
CREATE TRIGGER entities_insert INSTEAD OF INSERT ON text000.entities FOR EACH ROW EXECUTE FUNCTION text000.insert_entity();

CREATE VIEW text000.features AS
SELECT feature_id, name, description, coalesce(tags->>'data_type', value_type) AS data_type, created_at
FROM features.view_features WHERE NOT removed;

-- A feature of text 000 has times of its own, so it is a feature view of its own.
CREATE FUNCTION text000.insert_feature() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    id int;
BEGIN
    IF NEW.name IS NULL OR NEW.data_type IS NULL THEN
        RAISE not_null_violation USING MESSAGE = 'a feature has a name and a data_type';
    END IF;
    IF NEW.name = '' OR NEW.name ~ '[:@\n]' OR NEW.name IN ('event_timestamp', 'created') OR octet_length(NEW.name) > 256 THEN
        RAISE check_violation USING MESSAGE = format('%L is no name for a feature', NEW.name),
            HINT = 'It takes 1 to 256 bytes without '':'' and ''@'', and event_timestamp and created are columns of times.';
    END IF;
    id := features.declare_view(NEW.name, 'entity', ARRAY[NEW.name], ARRAY[CASE
        WHEN lower(NEW.data_type) IN ('int32', 'int64', 'double', 'float', 'bool', 'unix_timestamp') THEN lower(NEW.data_type)
        WHEN lower(NEW.data_type) IN ('int', 'integer', 'int4', 'smallint') THEN 'int32'
        WHEN lower(NEW.data_type) IN ('bigint', 'int8') THEN 'int64'
        WHEN lower(NEW.data_type) = 'boolean' THEN 'bool'
        ELSE 'double' END], ARRAY[NEW.description], jsonb_build_object('data_type', NEW.data_type));
    UPDATE features.view_features SET feature_id = coalesce(NEW.feature_id, feature_id), created_at = coalesce(NEW.created_at, created_at)
    WHERE view_id = id RETURNING feature_id, created_at INTO NEW.feature_id, NEW.created_at;
    RETURN NEW;
EXCEPTION WHEN unique_violation THEN
    RAISE unique_violation USING MESSAGE = format('there is a feature or a feature view %L, or the feature_id is taken', NEW.name),
        HINT = 'Each feature of this table is a feature view of its own: give it another name.';
END
$$;
CREATE TRIGGER features_insert INSTEAD OF INSERT ON text000.features FOR EACH ROW EXECUTE FUNCTION text000.insert_feature();

-- Numbers only. Of an event that was written again it is the last version. float8 as text, because its cast to numeric keeps 15 digits.
CREATE VIEW text000.feature_values AS
SELECT i.entity_id, f.feature_id, h.event_time AS "timestamp", x.value, h.created AS created_at
FROM features.view_features f
JOIN features.feature_views v USING (view_id)
JOIN features.history h USING (view_id)
JOIN features.entity_ids i ON i.kind = v.entity_type AND i.entity_key = h.entity_key
CROSS JOIN LATERAL (SELECT CASE f.slots WHEN 'doubles' THEN h.doubles[f.slot]::text::numeric
                                        ELSE h.integers[f.slot]::numeric END) x (value)
WHERE NOT f.removed AND f.slots <> 'texts' AND x.value IS NOT NULL
  AND NOT EXISTS (SELECT FROM features.history n WHERE n.view_id = h.view_id AND n.entity_key = h.entity_key
                  AND n.event_time = h.event_time AND (n.created, n.ctid) > (h.created, h.ctid));

CREATE FUNCTION text000.insert_feature_value() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    entity features.entity_ids;
    feature record;
    written features.latest;
BEGIN
    SELECT * INTO entity FROM features.entity_ids e WHERE e.entity_id = NEW.entity_id;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = format('entity_id %s is not in entities', NEW.entity_id);
    END IF;
    SELECT f.*, v.entity_type, (SELECT count(*) FROM features.view_features g WHERE g.view_id = f.view_id AND NOT g.removed) AS beside
    INTO feature FROM features.view_features f JOIN features.feature_views v USING (view_id)
    WHERE f.feature_id = NEW.feature_id AND NOT f.removed;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = format('feature_id %s is not in features', NEW.feature_id);
    END IF;
    IF feature.beside > 1 OR feature.slots = 'texts' THEN
        RAISE feature_not_supported USING MESSAGE = format('feature %s is not written alone, or is not a number', feature.name),
            HINT = 'The features of its feature view have one time: write them together, with /write-to-online-store.';
    END IF;
    IF feature.entity_type <> entity.kind THEN
        RAISE foreign_key_violation USING MESSAGE = format('feature %s is one of %s, and entity_id %s is of %s',
            feature.name, feature.entity_type, NEW.entity_id, entity.kind);
    END IF;
    IF NEW."timestamp" IS NULL THEN
        RAISE not_null_violation USING MESSAGE = 'a feature value has a timestamp';
    END IF;
    NEW.created_at := coalesce(NEW.created_at, now());
    written := (feature.view_id, entity.entity_key, NEW."timestamp", NEW.created_at, '{}', '{}', '{}');
    IF feature.slots = 'doubles' THEN
        written.doubles[feature.slot] := NEW.value::float8;
    ELSIF NEW.value <> trunc(NEW.value) OR (feature.value_type = 'int32' AND NEW.value::int4 IS NULL)
          OR (feature.value_type = 'bool' AND NEW.value NOT IN (0, 1)) THEN
        RAISE check_violation USING MESSAGE = format('feature %s is of type %s, not %s', feature.name, feature.value_type, NEW.value);
    ELSE
        written.integers[feature.slot] := NEW.value::int8;
    END IF;
    -- An array that was begun at a slot beyond the first starts there.
    written.doubles := (SELECT coalesce(array_agg(written.doubles[n] ORDER BY n), '{}') FROM generate_series(1, array_upper(written.doubles, 1)) n);
    written.integers := (SELECT coalesce(array_agg(written.integers[n] ORDER BY n), '{}') FROM generate_series(1, array_upper(written.integers, 1)) n);
    PERFORM features.write_row(written);
    IF (SELECT count(*) FROM features.history h WHERE h.view_id = written.view_id AND h.entity_key = written.entity_key
        AND h.event_time = written.event_time) > 1 THEN
        RAISE unique_violation USING MESSAGE = format('(entity_id, feature_id, timestamp)=(%s, %s, %s) already exists',
            NEW.entity_id, NEW.feature_id, NEW."timestamp");
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER feature_values_insert INSTEAD OF INSERT ON text000.feature_values
    FOR EACH ROW EXECUTE FUNCTION text000.insert_feature_value();

-- What an entity's features are now: one row where the textbook's query looks for the maximum of times.
CREATE VIEW text000.latest_feature_values AS
SELECT i.entity_id, i.entity_type, f.feature_id, f.name, x.value, l.event_time AS "timestamp", l.created AS created_at
FROM features.view_features f
JOIN features.feature_views v USING (view_id)
JOIN features.latest l USING (view_id)
JOIN features.entity_ids i ON i.kind = v.entity_type AND i.entity_key = l.entity_key
CROSS JOIN LATERAL (SELECT CASE f.slots WHEN 'doubles' THEN l.doubles[f.slot]::text::numeric
                                        ELSE l.integers[f.slot]::numeric END) x (value)
WHERE NOT f.removed AND f.slots <> 'texts' AND x.value IS NOT NULL;

-- Text 000's other table of the name `features`: small vectors of models. They are values of the feature view `feature_vectors`.
CREATE VIEW text000.feature_vectors AS
SELECT h.texts[f.slot]::uuid AS id, h.entity_key::uuid AS model_id,
       translate(h.texts[w.slot], '[]', '{}')::float4[] AS feature_vector, h.created AS created_at
FROM features.feature_views v
JOIN features.view_features f ON f.view_id = v.view_id AND f.name = 'id' AND f.value_type = 'uuid' AND NOT f.removed
JOIN features.view_features w ON w.view_id = v.view_id AND w.name = 'feature_vector' AND w.value_type = 'float_list' AND NOT w.removed
JOIN features.history h ON h.view_id = v.view_id
WHERE v.name = 'feature_vectors' AND v.entity_type = 'model';

CREATE FUNCTION text000.insert_feature_vector() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    view int;
    written features.latest;
BEGIN
    IF NOT EXISTS (SELECT FROM registry.models m WHERE m.model_id = NEW.model_id) THEN
        RAISE foreign_key_violation USING MESSAGE = format('model_id %s is not in models', NEW.model_id);
    END IF;
    IF array_position(NEW.feature_vector, NULL) IS NOT NULL OR array_ndims(NEW.feature_vector) > 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'a feature vector is a list of numbers, without NULL';
    END IF;
    SELECT view_id INTO view FROM features.feature_views WHERE name = 'feature_vectors';
    IF NOT FOUND THEN
        PERFORM FROM features.definitions FOR UPDATE;  -- another may be making it
        SELECT view_id INTO view FROM features.feature_views WHERE name = 'feature_vectors';
        IF NOT FOUND THEN
            view := features.declare_view('feature_vectors', 'model', '{id,feature_vector}', '{uuid,float_list}', NULL, '{}');
        END IF;
    END IF;
    NEW.id := coalesce(NEW.id, gen_random_uuid());
    NEW.created_at := coalesce(NEW.created_at, now());
    written := (view, NEW.model_id::text, NEW.created_at, NEW.created_at, '{}', '{}', NULL);
    written.texts := ARRAY[NEW.id::text, array_to_json(NEW.feature_vector)::text];
    PERFORM features.write_row(written);
    RETURN NEW;
END
$$;
CREATE TRIGGER feature_vectors_insert INSTEAD OF INSERT ON text000.feature_vectors
    FOR EACH ROW EXECUTE FUNCTION text000.insert_feature_vector();
