DROP TABLE maintenance.actions;
DROP TABLE maintenance.runs;
DROP TABLE maintenance.jobs;
DROP SCHEMA maintenance;
