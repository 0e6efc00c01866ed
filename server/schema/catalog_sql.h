// The catalog's queries, one a kind of object. $1: the schemas. Each gives: class, oid, column number (what pg_depend
// calls it), key, name, table's key, definition, comment, and what its kind needs besides. The search_path is empty, so
// every name comes with its schema.
#pragma once

namespace cairn::schema {

#define CAIRN_OF_NO_EXTENSION(class, oid)                                                           \
  " NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '" class "'::regclass AND e.objid = " oid \
                                                                   " AND e.deptype = 'e')"

inline constexpr const char* kListSchemas =
    "SELECT nspname FROM pg_namespace n WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
    " AND" CAIRN_OF_NO_EXTENSION("pg_namespace", "n.oid") " ORDER BY 1";

inline constexpr const char* kSchemas =
    "SELECT 'pg_namespace'::regclass::oid, n.oid, 0, 'schema ' || nspname, quote_ident(nspname), '', '',"
    " obj_description(n.oid, 'pg_namespace') FROM pg_namespace n WHERE nspname = ANY ($1)";

inline constexpr const char* kExtensions =
    "SELECT 'pg_extension'::regclass::oid, e.oid, 0, 'extension ' || extname, quote_ident(extname), '', '', NULL,"
    " quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace"
    " WHERE extname <> 'plpgsql' AND ($1::text[] IS NOT NULL)";

// Enumerations, domains without their constraints, and composite types.
inline constexpr const char* kTypes =
    "SELECT 'pg_type'::regclass::oid, t.oid, 0, 'type ' || format('%I.%I', nspname, typname),"
    " format('%I.%I', nspname, typname), '',"
    " CASE typtype WHEN 'e' THEN (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)"
    "   FROM pg_enum WHERE enumtypid = t.oid)"
    " WHEN 'd' THEN concat_ws(' ', format_type(typbasetype, typtypmod), 'DEFAULT ' || typdefault,"
    "   CASE WHEN typnotnull THEN 'NOT NULL' END)"
    " ELSE (SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)"
    "   FROM pg_attribute WHERE attrelid = typrelid AND attnum > 0 AND NOT attisdropped) END,"
    " obj_description(t.oid, 'pg_type'), typtype"
    " FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace LEFT JOIN pg_class c ON c.oid = typrelid"
    " WHERE nspname = ANY ($1) AND (typtype IN ('e', 'd') OR (typtype = 'c' AND c.relkind = 'c'))"
    " AND" CAIRN_OF_NO_EXTENSION("pg_type", "t.oid");

// Not those of identity columns.
inline constexpr const char* kSequences =
    "SELECT 'pg_class'::regclass::oid, c.oid, 0, 'sequence ' || format('%I.%I', nspname, relname),"
    " format('%I.%I', nspname, relname), '',"
    " format('AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s', format_type(seqtypid, NULL),"
    "   seqincrement, seqmin, seqmax, seqstart, seqcache, CASE WHEN seqcycle THEN ' CYCLE' ELSE ' NO CYCLE' END),"
    " obj_description(c.oid, 'pg_class')"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_sequence s ON seqrelid = c.oid"
    " WHERE nspname = ANY ($1) AND" CAIRN_OF_NO_EXTENSION("pg_class", "c.oid")
    " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid"
    " AND d.deptype = 'i')";

inline constexpr const char* kOwnerships =
    "SELECT 0, 0, 0, 'ownership ' || format('%I.%I', sn.nspname, s.relname), format('%I.%I', sn.nspname, s.relname),"
    " 'table ' || format('%I.%I', n.nspname, c.relname), format('%I.%I.%I', n.nspname, c.relname, attname), NULL"
    " FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid ="
    " s.relnamespace JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid"
    " WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a'"
    " AND sn.nspname = ANY ($1) AND n.nspname = ANY ($1) AND" CAIRN_OF_NO_EXTENSION("pg_class", "s.oid");

// parent, bound, partition key, persistence; plain and partitioned tables.
inline constexpr const char* kTables =
    "SELECT 'pg_class'::regclass::oid, c.oid, 0, 'table ' || format('%I.%I', nspname, relname),"
    " format('%I.%I', nspname, relname), '',"
    " concat_ws(' ', CASE relpersistence WHEN 'u' THEN 'UNLOGGED' END,"
    "   CASE WHEN relispartition THEN 'PARTITION OF ' || p.inhparent::regclass::text END,"
    "   pg_get_expr(relpartbound, c.oid), 'PARTITION BY ' || pg_get_partkeydef(c.oid)),"
    " obj_description(c.oid, 'pg_class'), relpersistence, relispartition, p.inhparent::regclass::text,"
    " pg_get_expr(relpartbound, c.oid), pg_get_partkeydef(c.oid)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
    " LEFT JOIN pg_inherits p ON p.inhrelid = c.oid AND relispartition"
    " WHERE relkind IN ('r', 'p') AND nspname = ANY ($1) AND" CAIRN_OF_NO_EXTENSION("pg_class", "c.oid");

// type, collation, not null, default, identity, generated; in their order.
inline constexpr const char* kColumns =
    "SELECT 'pg_class'::regclass::oid, c.oid, a.attnum, 'column ' || format('%I.%I.%I', nspname, relname, attname),"
    " quote_ident(attname), 'table ' || format('%I.%I', nspname, relname), '', col_description(c.oid, a.attnum),"
    " format_type(atttypid, atttypmod), CASE WHEN attcollation <> typcollation THEN (SELECT format('%I.%I',"
    "   cn.nspname, collname) FROM pg_collation l JOIN pg_namespace cn ON cn.oid = collnamespace"
    "   WHERE l.oid = attcollation) END,"
    " CASE WHEN attnotnull THEN 't' END, pg_get_expr(adbin, adrelid), attidentity, attgenerated, t.typtype"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_attribute a ON attrelid = c.oid"
    " JOIN pg_type t ON t.oid = atttypid LEFT JOIN pg_attrdef d ON adrelid = c.oid AND adnum = attnum"
    " WHERE relkind IN ('r', 'p') AND NOT relispartition AND attnum > 0 AND NOT attisdropped AND attislocal"
    " AND nspname = ANY ($1) AND" CAIRN_OF_NO_EXTENSION("pg_class", "c.oid") " ORDER BY c.oid, attnum";

// Of tables and of domains.
inline constexpr const char* kConstraints =
    "SELECT 'pg_constraint'::regclass::oid, k.oid, 0, 'constraint ' || o.name || '.' || quote_ident(conname),"
    " quote_ident(conname), o.key, pg_get_constraintdef(k.oid), obj_description(k.oid, 'pg_constraint'), contype,"
    " o.name, conindid"
    " FROM pg_constraint k JOIN LATERAL ("
    "   SELECT 'table ' || format('%I.%I', nspname, relname) AS key, format('%I.%I', nspname, relname) AS name,"
    "          nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = conrelid"
    "          AND c.relkind IN ('r', 'p') AND" CAIRN_OF_NO_EXTENSION("pg_class", "c.oid")
    "   UNION ALL"
    "   SELECT 'type ' || format('%I.%I', nspname, typname), format('%I.%I', nspname, typname), nspname"
    "   FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace WHERE t.oid = contypid"
    "          AND" CAIRN_OF_NO_EXTENSION("pg_type", "t.oid") ") o ON true"
    " WHERE contype IN ('p', 'u', 'c', 'f', 'x') AND conislocal AND coninhcount = 0 AND conparentid = 0"
    " AND o.nspname = ANY ($1)";

// Not those of constraints, nor those of partitions that follow their parent's. An invalid one is none.
inline constexpr const char* kIndexes =
    "SELECT 'pg_class'::regclass::oid, i.oid, 0, 'index ' || format('%I.%I', nspname, i.relname),"
    " format('%I.%I', nspname, i.relname), CASE t.relkind WHEN 'm' THEN 'view ' ELSE 'table ' END ||"
    " format('%I.%I', nspname, t.relname), CASE i.relkind WHEN 'I' THEN"
    " regexp_replace(pg_get_indexdef(i.oid), ' ON ONLY ', ' ON ') ELSE pg_get_indexdef(i.oid) END || CASE WHEN "
    "indisvalid THEN '' ELSE ' INVALID' END,"
    " obj_description(i.oid, 'pg_class')"
    " FROM pg_index x JOIN pg_class i ON i.oid = indexrelid JOIN pg_class t ON t.oid = indrelid"
    " JOIN pg_namespace n ON n.oid = i.relnamespace"
    " WHERE nspname = ANY ($1) AND t.relkind IN ('r', 'p', 'm')"
    " AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.oid AND contype IN ('p', 'u', 'x'))"
    " AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = i.oid)"
    " AND" CAIRN_OF_NO_EXTENSION("pg_class", "t.oid");

// what it takes and gives: these cannot be replaced.
inline constexpr const char* kFunctions =
    "SELECT 'pg_proc'::regclass::oid, p.oid, 0, 'function ' || format('%I.%I(%s)', nspname, proname,"
    "   pg_get_function_identity_arguments(p.oid)), format('%I.%I(%s)', nspname, proname,"
    "   pg_get_function_identity_arguments(p.oid)), '', pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc'),"
    " concat_ws(' ', prokind, pg_get_function_arguments(p.oid), 'RETURNS', pg_get_function_result(p.oid)),"
    " CASE prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END"
    " FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace"
    " WHERE prokind IN ('f', 'p', 'w') AND nspname = ANY ($1) AND" CAIRN_OF_NO_EXTENSION("pg_proc", "p.oid");

// materialized, options, columns: a view may be replaced by one that only has more of them.
inline constexpr const char* kViews =
    "SELECT 'pg_class'::regclass::oid, c.oid, 0, 'view ' || format('%I.%I', nspname, relname),"
    " format('%I.%I', nspname, relname), '', rtrim(pg_get_viewdef(c.oid), ';'), obj_description(c.oid, 'pg_class'),"
    " relkind, array_to_string(reloptions, ', '), (SELECT string_agg(format('%I %s', attname,"
    "   format_type(atttypid, atttypmod)), ', ' ORDER BY attnum) || ', ' FROM pg_attribute WHERE attrelid = c.oid"
    "   AND attnum > 0)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
    " WHERE relkind IN ('v', 'm') AND nspname = ANY ($1) AND" CAIRN_OF_NO_EXTENSION("pg_class", "c.oid");

inline constexpr const char* kTriggers =
    "SELECT 'pg_trigger'::regclass::oid, g.oid, 0, 'trigger ' || format('%I.%I.%I', nspname, relname, tgname),"
    " quote_ident(tgname), CASE relkind WHEN 'v' THEN 'view ' ELSE 'table ' END || format('%I.%I', nspname, relname),"
    " pg_get_triggerdef(g.oid), obj_description(g.oid, 'pg_trigger'), format('%I.%I', nspname, relname)"
    " FROM pg_trigger g JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace"
    " WHERE NOT tgisinternal AND tgparentid = 0 AND nspname = ANY ($1)"
    " AND" CAIRN_OF_NO_EXTENSION("pg_class", "c.oid");

// What pg_depend means by other addresses: a view's rule, a default, a row type, an array, the index of a constraint,
// an extension's members. class, oid, and those of what is meant.
inline constexpr const char* kAliases =
    "SELECT 'pg_rewrite'::regclass::oid, oid, 'pg_class'::regclass::oid, ev_class, 0 FROM pg_rewrite"
    " UNION ALL SELECT 'pg_attrdef'::regclass, oid, 'pg_class'::regclass, adrelid, adnum FROM pg_attrdef"
    " UNION ALL SELECT 'pg_type'::regclass, oid, 'pg_class'::regclass, typrelid, 0 FROM pg_type t WHERE typrelid <> 0"
    "   AND EXISTS (SELECT FROM pg_class c WHERE c.oid = typrelid AND c.relkind <> 'c')"
    " UNION ALL SELECT 'pg_class'::regclass, typrelid, 'pg_type'::regclass, oid, 0 FROM pg_type t WHERE typrelid <> 0"
    "   AND EXISTS (SELECT FROM pg_class c WHERE c.oid = typrelid AND c.relkind = 'c')"
    " UNION ALL SELECT 'pg_type'::regclass, typarray, 'pg_type'::regclass, oid, 0 FROM pg_type WHERE typarray <> 0"
    " UNION ALL SELECT 'pg_class'::regclass, conindid, 'pg_constraint'::regclass, oid, 0 FROM pg_constraint"
    "   WHERE contype IN ('p', 'u', 'x')"
    " UNION ALL SELECT classid, objid, 'pg_extension'::regclass, refobjid, 0 FROM pg_depend WHERE deptype = 'e'";

inline constexpr const char* kDependencies =
    "SELECT classid, objid, objsubid, refclassid, refobjid, refobjsubid FROM pg_depend"
    " WHERE deptype IN ('n', 'a', 'i') AND objid >= 16384";

#undef CAIRN_OF_NO_EXTENSION

}  // namespace cairn::schema
