-- text 001, 4. Access Control
-- corrected: Cairn's tables are not in public; reading a schema needs USAGE too
-- Create read-only user for app
CREATE USER app_readonly WITH PASSWORD 'secure_password';
GRANT USAGE ON SCHEMA registry, tracking TO app_readonly;
GRANT SELECT ON ALL TABLES IN SCHEMA registry, tracking TO app_readonly;
