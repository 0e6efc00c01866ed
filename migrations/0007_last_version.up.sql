-- The greatest number that a version of a model ever had, so that the number of a deleted version is never given again.
ALTER TABLE registry.models ADD COLUMN last_version int NOT NULL DEFAULT 0;
UPDATE registry.models m SET last_version =
    (SELECT coalesce(max(v.version), 0) FROM registry.model_versions v WHERE v.model_id = m.model_id);
