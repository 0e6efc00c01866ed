DROP TRIGGER history_truncated ON features.history;
DROP TRIGGER history_updated_to ON features.history;
DROP TRIGGER history_updated_from ON features.history;
DROP TRIGGER history_deleted ON features.history;
DROP TRIGGER history_inserted ON features.history;
DROP FUNCTION features.forget_rollups, features.mark_rollups;
DROP TABLE features.rollup_marks, features.rollups;
DROP INDEX features.idx_feature_views_rollup;
ALTER TABLE features.feature_views DROP COLUMN rolled_up, DROP COLUMN rollup_s;
