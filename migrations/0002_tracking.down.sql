DROP VIEW tracking.model_metrics, tracking.metrics;
DROP TABLE tracking.model_io, tracking.logged_model_metrics, tracking.logged_models, tracking.inputs, tracking.datasets,
           tracking.metric_chunks, tracking.metric_series, tracking.tags, tracking.params, tracking.training_runs,
           tracking.experiments, tracking.keys;
DROP FUNCTION tracking.append_metrics, tracking.seed_run, tracking.set_experiment_of_run,
              tracking.rename_experiment_of_runs, tracking.set_updated_at;
DROP SCHEMA tracking;
