-- audit.events is kept for 400 days, as the history of maintenance is (docs/reference/access.md). What is older may be
-- deleted, and nothing else: whoever may delete rows at all cannot take back what happened lately.
CREATE FUNCTION audit.refuse_early_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.at < now() - interval '400 days' THEN
        RETURN OLD;
    END IF;
    RAISE insufficient_privilege USING
        MESSAGE = format('audit.events is append-only: DELETE of an event of %s is refused', OLD.at),
        HINT = 'Events are kept for 400 days. Record a new event that corrects the old one.';
END
$$;
DROP TRIGGER events_append_only ON audit.events;
CREATE TRIGGER events_append_only BEFORE UPDATE OR TRUNCATE ON audit.events
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER events_kept BEFORE DELETE ON audit.events
    FOR EACH ROW EXECUTE FUNCTION audit.refuse_early_deletion();
