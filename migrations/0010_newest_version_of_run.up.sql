-- A run's version_id and model_name are those of the newest version registered from it, also when that one is deleted:
-- until now the run kept the deleted one's model_name, and no version_id.
CREATE FUNCTION registry.relink_run_to_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tracking.training_runs SET (version_id, model_name) = (
        SELECT v.version_id, m.model_name FROM registry.model_versions v JOIN registry.models m USING (model_id)
        WHERE v.run_id = OLD.run_id ORDER BY v.registered_at DESC, v.version DESC LIMIT 1)
    WHERE run_id = OLD.run_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER model_versions_run_deleted AFTER DELETE ON registry.model_versions
    FOR EACH ROW WHEN (OLD.run_id IS NOT NULL) EXECUTE FUNCTION registry.relink_run_to_version();

UPDATE tracking.training_runs r SET (version_id, model_name) = (
    SELECT v.version_id, m.model_name FROM registry.model_versions v JOIN registry.models m USING (model_id)
    WHERE v.run_id = r.run_id ORDER BY v.registered_at DESC, v.version DESC LIMIT 1)
WHERE version_id IS NULL AND run_id IN (SELECT v.run_id FROM registry.model_versions v);
