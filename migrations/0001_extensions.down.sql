-- The extensions stay: they may have been there before, and other objects of the database may use them.
SELECT 1;
