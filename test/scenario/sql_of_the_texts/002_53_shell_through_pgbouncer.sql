-- text 002, Checkpoint 5
-- as is
SELECT 1;
