-- text 001, Issue: Out of Memory
-- as is
SET work_mem = '256MB';
