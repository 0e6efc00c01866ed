DROP TRIGGER model_versions_run_deleted ON registry.model_versions;
DROP FUNCTION registry.relink_run_to_version();
