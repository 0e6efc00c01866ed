-- What the server saw of itself and its database, for whoever has no Prometheus.
CREATE SCHEMA monitor;

-- Which of the servers on this database watches it.
CREATE TABLE monitor.watch (
    one    bool PRIMARY KEY DEFAULT true CHECK (one),
    holder text NOT NULL,
    until  timestamptz NOT NULL
);

-- A row a minute, for a day.
CREATE TABLE monitor.figures (
    observed_at timestamptz PRIMARY KEY,
    figures     jsonb NOT NULL  -- name to number; what could not be had is not there
);

-- Alerts that fire (ended_at is null) or fired within a week.
CREATE TABLE monitor.alerts (
    alert_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert       text NOT NULL,
    labels      jsonb NOT NULL,
    severity    text NOT NULL,
    summary     text NOT NULL,
    description text NOT NULL,
    value       float8 NOT NULL,
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    told_at     timestamptz,     -- when the webhook took it
    told_end_at timestamptz
);
CREATE UNIQUE INDEX idx_alerts_firing ON monitor.alerts (alert, labels) WHERE ended_at IS NULL;
CREATE INDEX idx_alerts_ended_at ON monitor.alerts (ended_at);
CREATE INDEX idx_alerts_untold ON monitor.alerts (alert_id) WHERE told_at IS NULL OR (told_end_at IS NULL AND ended_at IS NOT NULL);
