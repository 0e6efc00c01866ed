-- text 000, Connection Pooling
-- not SQL: settings of PgBouncer's ini file
-- Use connection pooling (PgBouncer) for high-concurrency ML workloads
-- Configuration example for PgBouncer
[databases]
ml_platform = host=localhost port=5432 dbname=ml_platform

[pgbouncer]
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 20
