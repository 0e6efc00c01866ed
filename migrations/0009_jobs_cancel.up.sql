-- A job may be cancelled, and says itself how long to wait before it is tried again.
ALTER TABLE jobs.jobs
    DROP CONSTRAINT jobs_status_check,
    ADD CONSTRAINT jobs_status_check
        CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'dead', 'cancelled')),
    ADD COLUMN retry_delay_s double precision NOT NULL DEFAULT 10 CHECK (retry_delay_s BETWEEN 0 AND 86400);
COMMENT ON COLUMN jobs.jobs.status IS
    'failed: its worker said that trying again is in vain; dead: all attempts were in vain';
COMMENT ON COLUMN jobs.jobs.retry_delay_s IS 'before the second attempt; doubled for each one after that, up to an hour';
