-- text 000, BRIN Indexes for Time-Series Data
-- corrected: model_metrics is a view here; the time of stored points is in tracking.metric_chunks
-- Perfect for time-series metrics data
CREATE INDEX idx_metric_chunks_min_timestamp_brin 
ON tracking.metric_chunks USING BRIN (min_timestamp)
WITH (pages_per_range = 32);

-- BRIN works best when data is physically ordered by the indexed column
-- Ensure your INSERTs are ordered by timestamp for optimal BRIN performance
