UPDATE jobs.jobs SET status = 'failed' WHERE status = 'cancelled';
ALTER TABLE jobs.jobs
    DROP COLUMN retry_delay_s,
    DROP CONSTRAINT jobs_status_check,
    ADD CONSTRAINT jobs_status_check CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'dead'));
COMMENT ON COLUMN jobs.jobs.status IS NULL;
