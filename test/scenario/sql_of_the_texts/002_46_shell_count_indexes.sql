-- text 002, Checkpoint 2
-- corrected: Cairn's tables are in the schemas registry and tracking, not in public
SELECT COUNT(*) as total_indexes
FROM pg_indexes
WHERE schemaname IN ('registry', 'tracking') AND indexname LIKE 'idx_%';
