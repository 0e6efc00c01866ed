DROP TABLE jobs.jobs;
DROP SCHEMA jobs;
