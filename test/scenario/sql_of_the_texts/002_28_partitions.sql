-- text 002, Step 5.2: Partitioning for Large Tables
-- corrected: a primary key must hold the partition key; the list of columns ends in a comma and lacks experiment_name, which is indexed below
-- Create partitioned table for training_runs
CREATE TABLE training_runs_partitioned (
    run_id UUID NOT NULL,
    model_name TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    experiment_name TEXT NOT NULL,
    PRIMARY KEY (run_id, created_at)
) PARTITION BY RANGE (created_at);

-- Create monthly partitions
CREATE TABLE training_runs_2024_01 PARTITION OF training_runs_partitioned
    FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');

CREATE TABLE training_runs_2024_02 PARTITION OF training_runs_partitioned
    FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');

-- Create index on each partition (automatically inherited)
CREATE INDEX ON training_runs_partitioned (created_at DESC);
CREATE INDEX ON training_runs_partitioned (experiment_name, created_at DESC);

-- Automatic partition management (PostgreSQL 13+)
CREATE OR REPLACE FUNCTION create_monthly_partitions()
RETURNS void AS $$
DECLARE
    start_date DATE;
    end_date DATE;
    partition_name TEXT;
BEGIN
    -- Create partitions for next 3 months
    FOR i IN 0..2 LOOP
        start_date := DATE_TRUNC('month', NOW() + (i || ' months')::INTERVAL);
        end_date := start_date + INTERVAL '1 month';
        partition_name := 'training_runs_' || TO_CHAR(start_date, 'YYYY_MM');

        IF NOT EXISTS (SELECT 1 FROM pg_tables WHERE tablename = partition_name) THEN
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF training_runs_partitioned FOR VALUES FROM (%L) TO (%L)',
                partition_name, start_date, end_date
            );
            RAISE NOTICE 'Created partition: %', partition_name;
        END IF;
    END LOOP;
END;
$$ LANGUAGE plpgsql;

-- Schedule with pg_cron or external scheduler
SELECT create_monthly_partitions();
