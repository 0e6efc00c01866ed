-- The extensions that ML work on PostgreSQL needs. Trusted ones (uuid-ossp, pg_trgm, hstore) need only the right
-- to create in the database; the others need a superuser or the host's own way, so they may be missing: what
-- needs them says so when it is used.
CREATE EXTENSION IF NOT EXISTS "uuid-ossp" SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public;

DO $$
DECLARE
    extension_name text;
BEGIN
    FOREACH extension_name IN ARRAY ARRAY['pg_stat_statements', 'pgstattuple', 'plperl', 'jsonb_plperl'] LOOP
        BEGIN
            EXECUTE format('CREATE EXTENSION IF NOT EXISTS %I', extension_name)
                || CASE WHEN extension_name = 'plperl' THEN '' ELSE ' SCHEMA public' END;
        EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_file OR undefined_object THEN
            RAISE WARNING 'extension % is not available: %', extension_name, SQLERRM
                USING HINT = format('Install its package and run CREATE EXTENSION %I as a superuser.', extension_name);
        END;
    END LOOP;
END
$$;
