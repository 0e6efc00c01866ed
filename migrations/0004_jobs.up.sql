-- The queue of background work: taken with FOR UPDATE SKIP LOCKED under a lease, retried, at last dead.
CREATE SCHEMA jobs;

CREATE TABLE jobs.jobs (
    job_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue        text NOT NULL DEFAULT 'default',
    kind         text NOT NULL,
    payload      jsonb NOT NULL DEFAULT '{}',
    status       text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'dead')),
    priority     int NOT NULL DEFAULT 0,
    attempts     int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    max_attempts int NOT NULL DEFAULT 3 CHECK (max_attempts > 0),
    run_after    timestamptz NOT NULL DEFAULT now(),
    lease_until  timestamptz,
    lease_token  uuid,
    worker       text,
    result       jsonb,
    error        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    CHECK ((status = 'running') = (lease_token IS NOT NULL AND lease_until IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);
CREATE INDEX idx_jobs_queued ON jobs.jobs (queue, priority DESC, run_after, job_id) WHERE status = 'queued';
CREATE INDEX idx_jobs_lease_until ON jobs.jobs (lease_until) WHERE status = 'running';

CREATE TRIGGER jobs_updated_at BEFORE UPDATE ON jobs.jobs
    FOR EACH ROW WHEN (NEW.updated_at = OLD.updated_at) EXECUTE FUNCTION tracking.set_updated_at();
