DROP TRIGGER events_kept ON audit.events;
DROP TRIGGER events_append_only ON audit.events;
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.events
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
DROP FUNCTION audit.refuse_early_deletion();
