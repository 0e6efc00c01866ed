-- MLflow's client looks for a logged model by its name whenever it lists or downloads a run's artifacts.
CREATE INDEX idx_logged_models_experiment_id_name ON tracking.logged_models (experiment_id, name);
