-- Beyond pgvector: a look at every page of an index.
CREATE FUNCTION vector_index_check(index regclass, OUT block bigint, OUT problem text) RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
REVOKE ALL ON FUNCTION vector_index_check(regclass) FROM PUBLIC;
COMMENT ON FUNCTION vector_index_check(regclass) IS 'what is wrong with the pages of an hnsw or ivfflat index; no rows where nothing is';
