ALTER TABLE registry.models DROP COLUMN last_version;
