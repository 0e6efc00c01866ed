DROP FUNCTION tracking.check_consistency;
