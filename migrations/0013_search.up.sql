-- Documents and search (docs/formats/search.md): collections of documents, and the chunks of each collection in a table of its own,
-- because only there its vectors have their own dimension and an index of their own.
CREATE SCHEMA search;

CREATE TABLE search.collections (
    collection_id    int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name             text NOT NULL UNIQUE CHECK (name <> '' AND length(name) <= 200),
    description      text NOT NULL DEFAULT '',
    language         text NOT NULL DEFAULT 'english',
    title_weight     float4 NOT NULL DEFAULT 1.0 CHECK (title_weight BETWEEN 0 AND 1),
    body_weight      float4 NOT NULL DEFAULT 0.4 CHECK (body_weight BETWEEN 0 AND 1),
    chunk_size       int NOT NULL DEFAULT 1000 CHECK (chunk_size BETWEEN 50 AND 32000),
    chunk_overlap    int NOT NULL DEFAULT 100 CHECK (chunk_overlap BETWEEN 0 AND chunk_size / 2),
    embedder         text NOT NULL DEFAULT 'none',
    embedding_model  text NOT NULL DEFAULT '',
    base_url         text NOT NULL DEFAULT '',
    dimension        int CHECK (dimension BETWEEN 1 AND 16000),
    metric           text NOT NULL DEFAULT 'cosine' CHECK (metric IN ('cosine', 'l2', 'ip')),
    index_kind       text NOT NULL DEFAULT 'auto' CHECK (index_kind IN ('auto', 'none', 'hnsw', 'ivfflat')),
    ef_search        int CHECK (ef_search BETWEEN 1 AND 1000),
    probes           int CHECK (probes BETWEEN 1 AND 32768),
    created_at       timestamptz NOT NULL DEFAULT now(),
    CHECK ((embedder = 'none') = (dimension IS NULL))
);

-- The names of embedders, and what one was trained to where it is trained here.
CREATE TABLE search.embedders (
    embedder_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (name <> ''),
    model       bytea,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE search.documents (
    document_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection_id int NOT NULL REFERENCES search.collections ON DELETE CASCADE,
    source        text NOT NULL CHECK (source <> '' AND length(source) <= 500),
    title         text NOT NULL DEFAULT '',
    content       text NOT NULL,
    metadata      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    content_hash  bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (collection_id, source)
);

-- What the chunks of all collections have; the tables chunks_<collection_id> inherit it and add what differs.
CREATE TABLE search.chunks (
    chunk_id    bigint NOT NULL,
    document_id bigint NOT NULL,
    ordinal     int NOT NULL,
    title       text NOT NULL,
    content     text NOT NULL,
    metadata    jsonb NOT NULL,
    hash        bytea NOT NULL,
    embedder_id int
);
CREATE SEQUENCE search.chunk_ids OWNED BY search.chunks.chunk_id;

CREATE FUNCTION search.chunks_table(collection_id int) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT format('search.%I', 'chunks_' || collection_id) $$;

CREATE FUNCTION search.collection_id(name text) RETURNS int LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    id int;
BEGIN
    SELECT c.collection_id INTO id FROM search.collections c WHERE c.name = collection_id.name;
    IF id IS NULL THEN
        RAISE EXCEPTION 'there is no collection ''%''', name
            USING ERRCODE = 'no_data_found', HINT = 'SELECT name FROM search.collections shows those that there are.';
    END IF;
    RETURN id;
END
$$;

-- A chunk has no foreign key to its document: with a table a collection, each document deleted would ask all of them.
CREATE FUNCTION search.delete_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    id int;
BEGIN
    FOR id IN SELECT DISTINCT collection_id FROM gone LOOP
        IF to_regclass(search.chunks_table(id)) IS NOT NULL THEN
            EXECUTE format('DELETE FROM %s c USING gone g WHERE c.document_id = g.document_id AND g.collection_id = $1',
                           search.chunks_table(id)) USING id;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER delete_chunks AFTER DELETE ON search.documents
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION search.delete_chunks();

-- The extension vector is made where it can be, and missed only by those who ask for vectors.
CREATE FUNCTION search.need_vector() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF to_regtype('vector') IS NULL THEN
        CREATE EXTENSION IF NOT EXISTS vector;
    END IF;
EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_file OR undefined_object THEN
    RAISE EXCEPTION 'the extension vector is not available in this database: %', SQLERRM
        USING ERRCODE = 'feature_not_supported', HINT = 'Install its package (postgresql-15-cairn-vector, or pgvector 0.8), run '
            'CREATE EXTENSION vector as a superuser, or make the collection without embeddings.';
END
$$;

-- The chunks' table of a collection. Two rows fit a page where vectors are small enough to lie in it (up to 512 dimensions); text search
-- reads content_tsv of each candidate, so that stays in the page, uncompressed.
CREATE FUNCTION search.create_chunks(collection search.collections) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    chunks text := search.chunks_table(collection.collection_id);
    id     int := collection.collection_id;
BEGIN
    EXECUTE format(
        'CREATE TABLE %1$s (PRIMARY KEY (chunk_id),'
        ' content_tsv tsvector GENERATED ALWAYS AS (setweight(to_tsvector(%2$L::regconfig, title), ''A'')'
        ' || jsonb_to_tsvector(%2$L::regconfig, metadata, ''["string"]'') || to_tsvector(%2$L::regconfig, content)) STORED) INHERITS (search.chunks) WITH (toast_tuple_target = 4040)',
        chunks, collection.language);
    EXECUTE format('ALTER TABLE %s ALTER chunk_id SET DEFAULT nextval(''search.chunk_ids''), ALTER content_tsv SET STORAGE MAIN', chunks);
    EXECUTE format('CREATE INDEX %I ON %s (document_id)', 'idx_chunks_' || id || '_document_id', chunks);
    EXECUTE format('CREATE INDEX %I ON %s USING gin (content_tsv)', 'idx_chunks_' || id || '_content_tsv', chunks);
    EXECUTE format('CREATE INDEX %I ON %s USING gin (metadata jsonb_path_ops)', 'idx_chunks_' || id || '_metadata', chunks);
    IF collection.dimension IS NOT NULL THEN
        PERFORM search.need_vector();
        EXECUTE format('ALTER TABLE %s ADD embedding vector(%s)', chunks, collection.dimension);
        IF collection.dimension <= 512 THEN
            EXECUTE format('ALTER TABLE %s ALTER embedding SET STORAGE MAIN', chunks);
        END IF;
    END IF;
END
$$;

-- A collection with its table; `embedder` is none, own (the caller brings the vectors), or one that Cairn's server has.
CREATE FUNCTION search.create_collection(name text, language text DEFAULT 'english', dimension int DEFAULT NULL,
                                         metric text DEFAULT 'cosine', embedder text DEFAULT NULL) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    made search.collections;
BEGIN
    INSERT INTO search.collections (name, language, dimension, metric, embedder)
    VALUES (name, language::regconfig::text, dimension, metric,
            coalesce(embedder, CASE WHEN dimension IS NULL THEN 'none' ELSE 'own' END))
    RETURNING * INTO made;
    PERFORM search.create_chunks(made);
    RETURN made.collection_id;
END
$$;

CREATE FUNCTION search.drop_collection(name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    id int := search.collection_id(name);
BEGIN
    EXECUTE format('DROP TABLE IF EXISTS %s', search.chunks_table(id));
    DELETE FROM search.collections WHERE collection_id = id;
END
$$;

-- The words of a query, rarest first, with how much each says: less the more chunks have it, by the statistics that ANALYZE keeps of the
-- most common. A word that is not among them is rare, as the planner has it. `rows` is how many chunks have one of the words so far.
CREATE FUNCTION search.terms(chunks text, language regconfig, query text) RETURNS TABLE (term tsquery, weight float8, rows float8)
    LANGUAGE sql STABLE STRICT AS $$
    WITH common AS (
        SELECT u.word, u.frequency FROM pg_stats s, unnest(s.most_common_elems::text::text[], s.most_common_elem_freqs) AS u (word, frequency)
        WHERE s.schemaname = 'search' AND s.tablename = chunks AND s.attname = 'content_tsv' AND NOT s.inherited AND u.word IS NOT NULL),
    words AS (
        SELECT quote_literal(t.lexeme) AS word, coalesce(c.frequency, (SELECT least(min(frequency) / 2, 0.001) FROM common))::float8 AS frequency
        FROM unnest(tsvector_to_array(to_tsvector(language, query))) AS t (lexeme) LEFT JOIN common c ON c.word = t.lexeme)
    SELECT word::tsquery, ln(1 + 1 / coalesce(frequency, 1)),
           coalesce(sum(frequency) OVER (ORDER BY frequency, word) * (SELECT reltuples FROM pg_class WHERE oid = to_regclass('search.' || chunks)), 0)
    FROM words ORDER BY frequency, word LIMIT 32
$$;

-- What a search in words looks for. Words alone: any of them, since those that have more of them, and rarer ones, come first; but the common
-- words count only in what a rarer one found, once that may be `enough` chunks. With quotes, a minus or OR: what websearch_to_tsquery says.
CREATE FUNCTION search.text_query(chunks text, language regconfig, query text, enough float8) RETURNS tsquery
    LANGUAGE sql STABLE STRICT AS $$
    SELECT CASE WHEN query ~* '"|(^|\s)-|\mor\M' THEN websearch_to_tsquery(language, query)
           ELSE (SELECT string_agg(term::text, ' | ')::tsquery FROM (SELECT term, rows, row_number() OVER (ORDER BY rows) AS number
                 FROM search.terms(chunks, language, query)) t WHERE rows <= enough OR number = 1) END
$$;

-- Searching from SQL: by text, by vector (its text form), or by both, fused by rank. `filter` is what the metadata contain.
--   SELECT score, source, content FROM search.query('manual', 'vacuum full', k => 5, filter => '{"lang": "en"}')
CREATE FUNCTION search.query(collection text, query text, k int DEFAULT 10, embedding text DEFAULT NULL, filter jsonb DEFAULT '{}')
RETURNS TABLE (score float8, source text, title text, content text, metadata jsonb, chunk_id bigint, vector_rank bigint, text_rank bigint)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    c        search.collections;
    chunks   text;
    distance text;
BEGIN
    SELECT * INTO c FROM search.collections s WHERE s.collection_id = search.collection_id(collection);
    chunks := search.chunks_table(c.collection_id);
    distance := CASE c.metric WHEN 'l2' THEN '<->' WHEN 'ip' THEN '<#>' ELSE '<=>' END;
    IF embedding IS NOT NULL AND c.dimension IS NULL THEN
        RAISE EXCEPTION 'the collection ''%'' has no embeddings', collection USING ERRCODE = 'feature_not_supported',
            HINT = 'It is searched by text.';
    END IF;
    RETURN QUERY EXECUTE format(
        'WITH terms AS MATERIALIZED (SELECT * FROM search.terms(%1$L, %2$L, $1)),'
        ' t AS (SELECT chunk_id, row_number() OVER (ORDER BY score DESC, chunk_id) AS rank FROM (SELECT chunk_id,'
        '  (SELECT coalesce(sum(s.weight * ts_rank(ARRAY[%3$s, %3$s, %4$s, %4$s]::float4[], c.content_tsv, s.term, 1)), 0)'
        '   FROM terms s) AS score FROM %5$s c WHERE content_tsv @@ $5 AND metadata @> $2'
        '  ORDER BY score DESC, chunk_id LIMIT greatest(10 * $3, 100)) best),'
        ' v AS (%6$s)'
        ' SELECT (coalesce(1.0 / (10 + v.rank), 0) + coalesce(1.0 / (10 + t.rank), 0))::float8, d.source, c.title, c.content,'
        '  c.metadata, chunk_id, v.rank, t.rank'
        ' FROM t FULL JOIN v USING (chunk_id) JOIN %5$s c USING (chunk_id) JOIN search.documents d USING (document_id)'
        ' ORDER BY 1 DESC, chunk_id LIMIT $3',
        'chunks_' || c.collection_id, c.language, c.body_weight, c.title_weight, chunks,
        CASE WHEN embedding IS NULL THEN 'SELECT NULL::bigint AS chunk_id, NULL::bigint AS rank WHERE false'
        ELSE format('SELECT chunk_id, row_number() OVER (ORDER BY distance, chunk_id) AS rank FROM (SELECT chunk_id,'
                    ' embedding %1$s $4::vector AS distance FROM %2$s WHERE metadata @> $2'
                    ' ORDER BY embedding %1$s $4::vector LIMIT greatest(10 * $3, 100)) near WHERE distance IS NOT NULL',
                    distance, chunks) END)
        USING query, filter, k, embedding, search.text_query('chunks_' || c.collection_id, c.language::regconfig, query,
                                                             CASE WHEN filter = '{}' THEN 5000::float8 ELSE 'infinity' END);
END
$$;
