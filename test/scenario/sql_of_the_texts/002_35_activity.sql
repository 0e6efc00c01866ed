-- text 002, Procedure 3: Emergency Performance Triage
-- as is
SELECT pid, query, state, wait_event_type, wait_event
FROM pg_stat_activity
WHERE state != 'idle'
ORDER BY query_start;
