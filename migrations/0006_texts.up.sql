-- The requirement texts' own table names, as views over Cairn's tables. The tables of text 002 are registry's and
-- tracking's own: its search_path is registry, tracking, text002, public. Views on features, entities, documents and
-- vectors come with those parts.
CREATE SCHEMA text000;
CREATE SCHEMA text001;
CREATE SCHEMA text002;

CREATE VIEW text000.models AS
SELECT model_id AS id, model_name AS name, description, created_at, updated_at, metadata, status FROM registry.models;
-- Text 000 leaves the description out or NULL; a view passes NULL on where a table would fill in its default.
ALTER VIEW text000.models ALTER COLUMN description SET DEFAULT '';

-- An experiment of text 000 is one training of a model: a run, its params and its latest metrics.
CREATE VIEW text000.experiments AS
SELECT CASE WHEN r.run_id ~ '^[0-9a-f]{32}$' THEN r.run_id::uuid
            ELSE uuid_generate_v5(uuid_ns_oid(), r.run_id) END AS id,
       m.model_id,
       coalesce((SELECT hstore(array_agg(p.key), array_agg(p.value)) FROM jsonb_each_text(r.hyperparameters) p), '') AS parameters,
       coalesce((SELECT hstore(array_agg(p.key), array_agg(p.value)) FROM jsonb_each_text(r.metrics) p), '') AS results,
       r.created_at
FROM tracking.training_runs r LEFT JOIN registry.models m ON m.model_name = r.model_name
WHERE r.lifecycle_stage = 'active';

CREATE FUNCTION text000.insert_experiment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.id := coalesce(NEW.id, gen_random_uuid());
    NEW.created_at := coalesce(NEW.created_at, now());
    INSERT INTO tracking.training_runs (run_id, model_name, status, created_at, hyperparameters, metrics)
    VALUES (replace(NEW.id::text, '-', ''), (SELECT model_name FROM registry.models WHERE model_id = NEW.model_id),
            'succeeded', NEW.created_at, coalesce(hstore_to_jsonb(NEW.parameters), '{}'),
            coalesce((SELECT jsonb_object_agg(r.key, r.value::double precision) FROM each(NEW.results) r), '{}'));
    RETURN NEW;
END
$$;
CREATE TRIGGER experiments_insert INSTEAD OF INSERT ON text000.experiments
    FOR EACH ROW EXECUTE FUNCTION text000.insert_experiment();

-- One row for each step of a run, with the three metrics that text 000 names as columns.
CREATE VIEW text000.model_metrics AS
SELECT uuid_generate_v5(uuid_ns_oid(), concat_ws('/', p.run_id, p.step, p."timestamp")) AS id, m.model_id, p."timestamp",
       max(p.value) FILTER (WHERE p.key = 'accuracy') AS accuracy,
       max(p.value) FILTER (WHERE p.key = 'loss') AS loss,
       max(p.value) FILTER (WHERE p.key = 'learning_rate') AS learning_rate
FROM tracking.model_metrics p JOIN registry.models m ON m.model_name = p.model_name
WHERE p.key IN ('accuracy', 'loss', 'learning_rate')
GROUP BY p.run_id, p.step, p."timestamp", m.model_id;
