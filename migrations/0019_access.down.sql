DO $$
DECLARE
    name text;
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'cairn_writer') THEN
        FOREACH name IN ARRAY ARRAY['tracking', 'registry', 'features', 'search'] LOOP
            EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I REVOKE ALL ON SEQUENCES FROM cairn_writer', name);
            EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I REVOKE ALL ON TABLES FROM cairn_writer', name);
            EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %I FROM cairn_writer', name);
            EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM cairn_writer', name);
            EXECUTE format('REVOKE ALL ON SCHEMA %I FROM cairn_writer', name);
        END LOOP;
    END IF;
END
$$;
DROP TRIGGER feature_views_permissions ON features.feature_views;
DROP TRIGGER collections_permissions ON search.collections;
DROP TRIGGER models_permissions ON registry.models;
DROP TRIGGER experiments_permissions ON tracking.experiments;
DROP TABLE access.changes;
DROP TABLE access.permissions;
DROP TABLE access.users;
DROP FUNCTION access.follow_object();
DROP FUNCTION access.count_change();
DROP SCHEMA access;
