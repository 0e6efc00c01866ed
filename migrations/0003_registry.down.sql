DROP TABLE audit.events;
DROP FUNCTION audit.refuse_change;
DROP SCHEMA audit;
ALTER TABLE tracking.training_runs DROP CONSTRAINT training_runs_version_id_fkey;
DROP TABLE registry.approvals, registry.deployments, registry.environments, registry.model_aliases,
           registry.model_versions, registry.models;
DROP FUNCTION registry.set_model_of_deployment, registry.link_run_to_version, registry.rename_model_of_runs;
DROP SCHEMA registry;
