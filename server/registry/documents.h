// SQL fragments that build the JSON documents of models (alias m) and versions (aliases m and v), as MLflow's clients
// read them: a description or list that is empty is left out of a model, strings of a version never are.
//
// Macros, because a statement is one constant and only literals can be joined to one.
#pragma once

#define CAIRN_NOW_MS "(extract(epoch FROM now()) * 1000)::bigint"

#define CAIRN_TAGS_JSON(document)                                                                    \
  "(SELECT json_agg(json_build_object('key', t.key, 'value', t.value) ORDER BY t.key COLLATE \"C\")" \
  " FROM jsonb_each_text(" document ") t)"

#define CAIRN_VERSION_JSON \
  "json_strip_nulls(json_build_object('name', m.model_name, 'version', v.version::text,"                         \
  " 'creation_timestamp', v.creation_time, 'last_updated_timestamp', v.last_updated_time,"                       \
  " 'user_id', nullif(v.user_id, ''), 'current_stage', v.current_stage, 'description', v.description,"           \
  " 'source', v.source, 'run_id', coalesce(v.run_id, ''), 'status', v.status,"                                   \
  " 'status_message', nullif(v.status_message, ''), 'tags', " CAIRN_TAGS_JSON("v.tags") ", 'run_link', v.run_link,"      \
  " 'aliases', (SELECT json_agg(a.alias ORDER BY a.alias) FROM registry.model_aliases a"                         \
  "             WHERE a.model_id = v.model_id AND a.version = v.version),"                                       \
  " 'model_id', v.logged_model_id))"

// The greatest version of each stage, stages in the order of their first versions; NULL when there is none. `condition`
// begins with AND or is empty.
#define CAIRN_LATEST_JSON(condition)                                                        \
  "(SELECT json_agg(" CAIRN_VERSION_JSON                                                    \
  " ORDER BY l.first) FROM"                                                                 \
  " (SELECT max(s.version) AS last, min(s.version) AS first FROM registry.model_versions s" \
  "  WHERE s.model_id = m.model_id " condition                                              \
  " GROUP BY s.current_stage) l"                                                            \
  " JOIN registry.model_versions v ON v.model_id = m.model_id AND v.version = l.last)"

#define CAIRN_MODEL_JSON \
  "json_strip_nulls(json_build_object('name', m.model_name, 'creation_timestamp', m.creation_time,"               \
  " 'last_updated_timestamp', m.last_updated_time, 'description', nullif(m.description, ''),"                     \
  " 'latest_versions', " CAIRN_LATEST_JSON("") ", 'tags', " CAIRN_TAGS_JSON("m.tags") ","                         \
  " 'aliases', (SELECT json_agg(json_build_object('alias', a.alias, 'version', a.version::text) ORDER BY a.alias)" \
  "             FROM registry.model_aliases a WHERE a.model_id = m.model_id)))"
