DROP VIEW text000.model_metrics, text000.experiments, text000.models;
DROP FUNCTION text000.insert_experiment;
DROP SCHEMA text000, text001, text002;
