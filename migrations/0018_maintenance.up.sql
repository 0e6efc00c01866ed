-- What is done to keep the database healthy, when, and what came of it: docs/formats/maintenance.md. `cairn maintain` runs
-- this text in a database that is not Cairn's, too, so nothing of it depends on what was there before.
CREATE SCHEMA IF NOT EXISTS maintenance;
COMMENT ON SCHEMA maintenance IS 'cairn maintenance, format 1';

CREATE TABLE IF NOT EXISTS maintenance.jobs (
    name        text PRIMARY KEY,
    schedule    text NOT NULL,                 -- as cron has it, UTC; or "90 seconds"
    quiet_hours text,                          -- "01:00-05:00", UTC: begun then only; NULL: at any time
    enabled     boolean NOT NULL DEFAULT true,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS maintenance.runs (
    run_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job         text NOT NULL,
    trigger     text NOT NULL CHECK (trigger IN ('schedule', 'command')),
    role        text NOT NULL DEFAULT session_user,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    state       text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed', 'stopped', 'interrupted')),
    summary     text NOT NULL DEFAULT '',
    report      jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX IF NOT EXISTS idx_runs_job_started_at ON maintenance.runs (job, started_at);

CREATE TABLE IF NOT EXISTS maintenance.actions (
    run_id       bigint NOT NULL REFERENCES maintenance.runs ON DELETE CASCADE,
    number       integer NOT NULL,
    kind         text NOT NULL,
    object       text NOT NULL,                -- quoted, with its schema
    statement    text NOT NULL,
    undo         text NOT NULL DEFAULT '',     -- the statement that makes again what was dropped
    reason       text NOT NULL,
    state        text NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'running', 'done', 'failed', 'left')),
    error        text NOT NULL DEFAULT '',
    started_at   timestamptz,
    seconds      float8,
    bytes_before bigint,
    bytes_after  bigint,
    PRIMARY KEY (run_id, number)
);
