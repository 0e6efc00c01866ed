-- text 000, Vacuum and Autovacuum Tuning
-- corrected: model_metrics is a view here; the table with the frequent updates is tracking.metric_series
-- For tables with frequent updates (like metrics tables)
ALTER TABLE tracking.metric_series SET (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_threshold = 500
);
