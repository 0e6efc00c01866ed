-- What a feature's values looked like when somebody called that good: shares of bins, between deciles of that time.
CREATE TABLE features.health_baselines (
    feature_id uuid PRIMARY KEY REFERENCES features.view_features ON DELETE CASCADE,
    saved_at   timestamptz NOT NULL DEFAULT now(),
    null_rate  float8 NOT NULL,
    edges      float8[] NOT NULL,              -- ascending; empty for what is no number
    shares     float8[] NOT NULL DEFAULT '{}'  -- of the bins below, between and above the edges
);
