-- The last second of what a timestamptz holds is left out: on its way through double precision some of it becomes too
-- late, and one such point made every read of the view fail.
CREATE OR REPLACE VIEW tracking.model_metrics AS
SELECT m.run_id, r.model_name, r.version_id, r.experiment_id, m.key, m.step,
       CASE WHEN m."timestamp" BETWEEN -210866803200000 AND 9224318015000000
            THEN to_timestamp(m."timestamp" / 1000.0::double precision) END AS "timestamp", m.value
FROM tracking.metrics m JOIN tracking.training_runs r ON r.run_id = m.run_id;
