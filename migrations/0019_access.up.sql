-- Who may do what (docs/reference/access.md): users, and what overrides their role for single objects.
CREATE SCHEMA access;

CREATE TABLE access.users (
    user_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username      text NOT NULL UNIQUE CHECK (username <> '' AND length(username) <= 255),
    password_hash text NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    role          text NOT NULL DEFAULT 'writer' CHECK (role IN ('reader', 'writer', 'admin')),
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE access.permissions (
    user_id     bigint NOT NULL REFERENCES access.users ON DELETE CASCADE,
    object_type text NOT NULL CHECK (object_type IN ('experiment', 'registered_model', 'collection', 'feature_view')),
    object_id   text NOT NULL,                 -- an experiment's id, the name of the others
    permission  text NOT NULL CHECK (permission IN ('NO_PERMISSIONS', 'READ', 'EDIT', 'MANAGE')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, object_type, object_id)
);
CREATE INDEX idx_permissions_object_type_object_id ON access.permissions (object_type, object_id);

-- One row: its number changes with each change of the two, so that a server knows when what it remembers of them is old.
CREATE TABLE access.changes (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    number   bigint NOT NULL DEFAULT 1
);
INSERT INTO access.changes DEFAULT VALUES;

CREATE FUNCTION access.count_change() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE access.changes SET number = number + 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER users_changes AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.users
    FOR EACH STATEMENT EXECUTE FUNCTION access.count_change();
CREATE TRIGGER permissions_changes AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.permissions
    FOR EACH STATEMENT EXECUTE FUNCTION access.count_change();

CREATE FUNCTION access.follow_object() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was text := to_jsonb(OLD) ->> TG_ARGV[1];
BEGIN
    IF EXISTS (SELECT FROM access.permissions WHERE object_type = TG_ARGV[0] AND object_id = was) THEN
        IF TG_OP = 'DELETE' THEN
            DELETE FROM access.permissions WHERE object_type = TG_ARGV[0] AND object_id = was;
        ELSE
            UPDATE access.permissions SET object_id = to_jsonb(NEW) ->> TG_ARGV[1]
            WHERE object_type = TG_ARGV[0] AND object_id = was;
        END IF;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION access.follow_object() IS
    'The permissions for an object go with it, and get its new name: another one of its name must not inherit them. '
    'Runs as its owner, so that whoever may delete the object need not see who may use it.';
CREATE TRIGGER experiments_permissions AFTER DELETE ON tracking.experiments
    FOR EACH ROW EXECUTE FUNCTION access.follow_object('experiment', 'experiment_id');
CREATE TRIGGER models_permissions AFTER DELETE OR UPDATE OF model_name ON registry.models
    FOR EACH ROW EXECUTE FUNCTION access.follow_object('registered_model', 'model_name');
CREATE TRIGGER collections_permissions AFTER DELETE OR UPDATE OF name ON search.collections
    FOR EACH ROW EXECUTE FUNCTION access.follow_object('collection', 'name');
CREATE TRIGGER feature_views_permissions AFTER DELETE OR UPDATE OF name ON features.feature_views
    FOR EACH ROW EXECUTE FUNCTION access.follow_object('feature_view', 'name');

-- Roles are the cluster's: there are none where the database is somebody else's and they have not made them. Who only looks
-- does not see the hashes of passwords. Who writes changes rows, of what is made from now on too, but not what others count
-- on to be true: the audit, who may what, what is done to the database.
DO $$
DECLARE
    name text;
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'cairn_reader') THEN
        REVOKE ALL ON access.users FROM cairn_reader;
        GRANT SELECT (user_id, username, role, created_at) ON access.users TO cairn_reader;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'cairn_writer') THEN
        FOREACH name IN ARRAY ARRAY['tracking', 'registry', 'features', 'search'] LOOP
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO cairn_writer', name);
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO cairn_writer', name);
            EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO cairn_writer', name);
            EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO cairn_writer', name);
            EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT USAGE ON SEQUENCES TO cairn_writer', name);
        END LOOP;
    END IF;
END
$$;
