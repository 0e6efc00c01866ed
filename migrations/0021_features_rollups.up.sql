-- Rollups of feature views that ask for them (docs/formats/feature-store.md): numbers over buckets of time, from which windows are put together.

-- The bucket's length; NULL: no rollup. `rolled_up`: what is not marked is in the rollup, of that length.
ALTER TABLE features.feature_views
    ADD COLUMN rollup_s int CHECK (rollup_s > 0),
    ADD COLUMN rolled_up boolean NOT NULL DEFAULT false;
CREATE INDEX idx_feature_views_rollup ON features.feature_views (view_id) WHERE rollup_s IS NOT NULL;

-- The last versions of an entity's events in [bucket, bucket + rollup_s) that have a value: as PostgreSQL's regr_count(value, second) and
-- so on have it, where `second` counts from the bucket's begin. `syy` is NULL where a value is too large to be squared, or not finite: the
-- history is read instead.
CREATE TABLE features.rollups (
    view_id      int NOT NULL,
    entity_key   text NOT NULL,
    in_doubles   boolean NOT NULL,             -- else in the integers
    slot         int NOT NULL,
    bucket       timestamptz NOT NULL,
    count        float8 NOT NULL,
    avg          float8,
    avg_second   float8,
    syy          float8,
    sxx          float8,
    sxy          float8,
    min          float8,
    max          float8,
    first_second float8,
    first        float8,
    last_second  float8,
    last         float8,
    PRIMARY KEY (view_id, entity_key, in_doubles, slot, bucket)
);
CREATE INDEX idx_rollups_from_history ON features.rollups (view_id, entity_key, bucket) WHERE syy IS NULL;

-- A bucket that was written to since it was rolled up, each time anew: a mark is only added, and taken away by who sees it.
CREATE TABLE features.rollup_marks (
    view_id    int NOT NULL,
    entity_key text NOT NULL,
    bucket     timestamptz NOT NULL,
    mark_id    bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (view_id, entity_key, bucket, mark_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- In the writer's transaction. A transaction that works on a snapshot from before a view's rollup_s would not see it, and fails. It runs as its
-- owner: whoever may write history need not know of rollups.
CREATE FUNCTION features.mark_rollups() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM FROM features.feature_views WHERE view_id IN (SELECT view_id FROM changed) FOR SHARE;
    END IF;
    IF EXISTS (SELECT FROM features.feature_views WHERE rollup_s IS NOT NULL) THEN
        INSERT INTO features.rollup_marks (view_id, entity_key, bucket)
        SELECT DISTINCT c.view_id, c.entity_key, date_bin(make_interval(secs => v.rollup_s), c.event_time, '2001-01-01 00:00:00+00')
        FROM changed c JOIN features.feature_views v USING (view_id) WHERE v.rollup_s IS NOT NULL AND isfinite(c.event_time);
    END IF;
    RETURN NULL;
END
$$;

-- All is made again from what is there then.
CREATE FUNCTION features.forget_rollups() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE features.feature_views SET rolled_up = false WHERE rollup_s IS NOT NULL;
    RETURN NULL;
END
$$;

-- The triggers cost every writer something, above all those who write much at once, and a table that Citus distributes may have none: they
-- are made when a view first asks for a rollup.
CREATE FUNCTION features.follow_history() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'features.history'::regclass AND tgname = 'history_inserted') THEN
        CREATE TRIGGER history_inserted AFTER INSERT ON features.history REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION features.mark_rollups();
        CREATE TRIGGER history_deleted AFTER DELETE ON features.history REFERENCING OLD TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION features.mark_rollups();
        CREATE TRIGGER history_updated_from AFTER UPDATE ON features.history REFERENCING OLD TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION features.mark_rollups();
        CREATE TRIGGER history_updated_to AFTER UPDATE ON features.history REFERENCING NEW TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION features.mark_rollups();
        CREATE TRIGGER history_truncated AFTER TRUNCATE ON features.history
            FOR EACH STATEMENT EXECUTE FUNCTION features.forget_rollups();
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER feature_views_rollup AFTER INSERT OR UPDATE OF rollup_s ON features.feature_views FOR EACH ROW
    WHEN (NEW.rollup_s IS NOT NULL) EXECUTE FUNCTION features.follow_history();
