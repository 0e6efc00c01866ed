-- Proof that the documents in training_runs equal the rows that they stand for, and that the metric storage keeps
-- its invariants (docs/formats/metrics.md). Empty when all is well. Reads everything: run it when in doubt, not
-- with every request.
CREATE FUNCTION tracking.check_consistency() RETURNS TABLE (run_id text, problem text)
LANGUAGE sql STABLE AS $$
    WITH points AS (
        SELECT s.run, s.key_id, p.step, p.ts, p.value FROM tracking.metric_series s,
            unnest(s.tail_steps, s.tail_timestamps, s.tail_values) AS p (step, ts, value)
        UNION ALL
        SELECT c.run, c.key_id, p.step, p.ts, p.value FROM tracking.metric_chunks c,
            unnest(c.steps, c.timestamps, c.values) AS p (step, ts, value)
    )
    SELECT r.run_id, format('experiment_name is "%s", its experiment is "%s"', r.experiment_name, e.name)
    FROM tracking.training_runs r JOIN tracking.experiments e USING (experiment_id)
    WHERE r.experiment_name <> e.name
    UNION ALL
    SELECT r.run_id, format('model_name is "%s", the model of its version is "%s"', r.model_name, m.model_name)
    FROM tracking.training_runs r JOIN registry.model_versions v USING (version_id) JOIN registry.models m USING (model_id)
    WHERE r.model_name IS DISTINCT FROM m.model_name
    UNION ALL
    SELECT r.run_id, format('accuracy is %s, metrics has %s', r.accuracy, r.metrics ->> 'accuracy')
    FROM tracking.training_runs r
    WHERE r.accuracy IS DISTINCT FROM (r.metrics ->> 'accuracy')::double precision
    UNION ALL
    SELECT r.run_id, format('metrics.%s is %s, the last point is %s', d.key, d.doc, d.last)
    FROM tracking.training_runs r CROSS JOIN LATERAL (
        SELECT coalesce(m.key, k.name) AS key, m.value AS doc, k.last_value AS last
        FROM jsonb_each_text(r.metrics) m FULL JOIN (
            SELECT k.name, s.last_value FROM tracking.metric_series s JOIN tracking.keys k USING (key_id)
            WHERE s.run = r.id) k ON k.name = m.key
        WHERE m.value::double precision IS DISTINCT FROM k.last_value) d
    UNION ALL
    SELECT r.run_id, format('hyperparameters.%s is "%s", its param is "%s"', d.key, d.doc, d.value)
    FROM tracking.training_runs r CROSS JOIN LATERAL (
        SELECT coalesce(h.key, p.name) AS key, h.value AS doc, p.value
        FROM jsonb_each_text(r.hyperparameters) h FULL JOIN (
            SELECT k.name, p.value FROM tracking.params p JOIN tracking.keys k USING (key_id)
            WHERE p.run = r.id) p ON p.name = h.key
        WHERE h.value IS DISTINCT FROM p.value) d
    UNION ALL
    SELECT DISTINCT r.run_id, format('metric %s has a point greater than its last point', k.name)
    FROM points p JOIN tracking.metric_series s USING (run, key_id)
    JOIN tracking.training_runs r ON r.id = p.run JOIN tracking.keys k ON k.key_id = p.key_id
    WHERE (p.step, p.ts, CASE WHEN p.value = 'NaN' THEN 0 ELSE p.value END, p.value = 'NaN')
        > (s.last_step, s.last_timestamp, CASE WHEN s.last_value = 'NaN' THEN 0 ELSE s.last_value END,
           s.last_value = 'NaN')
    UNION ALL
    SELECT r.run_id, format('chunk %s has a point outside its timestamp bounds', c.chunk_no)
    FROM tracking.metric_chunks c JOIN tracking.training_runs r ON r.id = c.run
    WHERE EXISTS (SELECT FROM unnest(c.timestamps) t WHERE t NOT BETWEEN c.min_timestamp AND c.max_timestamp)
$$;
