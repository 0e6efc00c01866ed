-- text 002, Step 3.3: Identify Unused Indexes
-- as is
-- If confirmed unused after 30 days
DROP INDEX CONCURRENTLY IF EXISTS idx_training_runs_hyperparameters_gin;
DROP INDEX CONCURRENTLY IF EXISTS idx_training_runs_metrics_gin;
