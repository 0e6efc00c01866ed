-- text 000, Window Functions for Time-Series Analysis
-- corrected: uuid-123 is not a uuid
-- Track model performance over time
CREATE TABLE model_metrics (
    id UUID PRIMARY KEY,
    model_id UUID NOT NULL REFERENCES models(id),
    timestamp TIMESTAMPTZ NOT NULL,
    accuracy FLOAT,
    loss FLOAT,
    learning_rate FLOAT
);

-- Calculate moving averages for training metrics
SELECT 
    timestamp,
    accuracy,
    AVG(accuracy) OVER (
        ORDER BY timestamp 
        ROWS BETWEEN 9 PRECEDING AND CURRENT ROW
    ) as accuracy_ma_10,
    loss,
    AVG(loss) OVER (
        ORDER BY timestamp 
        ROWS BETWEEN 9 PRECEDING AND CURRENT ROW
    ) as loss_ma_10
FROM model_metrics
WHERE model_id = (SELECT id FROM models WHERE name = 'fraud-detection')
ORDER BY timestamp;
