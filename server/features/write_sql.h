// What a write does to the database, whatever its rows come from: behind a WITH that names them `given` (entity_key,
// event_time, created, doubles, integers, texts, number), with the view as $1. Both in one transaction, in this order.
#pragma once

// In the order of keys, so that two writers never wait for each other. A row that is not updated is locked all the
// same: until the transaction's end nobody else writes of this entity, which the history's statement relies on.
#define CAIRN_WRITE_LATEST                                                                                         \
  "INSERT INTO features.latest AS l (view_id, entity_key, event_time, created, doubles, integers, texts)"          \
  " SELECT DISTINCT ON (entity_key) $1::bigint::int, entity_key, event_time, created, doubles, integers, texts"    \
  " FROM given ORDER BY entity_key, event_time DESC, created DESC, number DESC"                                    \
  " ON CONFLICT (view_id, entity_key) DO UPDATE SET event_time = excluded.event_time, created = excluded.created," \
  " doubles = excluded.doubles, integers = excluded.integers, texts = excluded.texts"                              \
  " WHERE (excluded.event_time, excluded.created) >= (l.event_time, l.created)"                                    \
  " AND (l.event_time, l.doubles, l.integers, l.texts)"                                                            \
  " IS DISTINCT FROM (excluded.event_time, excluded.doubles, excluded.integers, excluded.texts)"

// What is there already with the same values is not written again.
#define CAIRN_WRITE_HISTORY                                                                                          \
  "INSERT INTO features.history (view_id, entity_key, event_time, created, doubles, integers, texts)"                \
  " SELECT DISTINCT ON (g.entity_key, g.event_time, g.created) $1::bigint::int, g.entity_key, g.event_time,"         \
  " g.created, g.doubles, g.integers, g.texts FROM given g LEFT JOIN LATERAL (SELECT h.doubles, h.integers, h.texts" \
  " FROM features.history h WHERE h.view_id = $1::bigint AND h.entity_key = g.entity_key"                            \
  " AND h.event_time = g.event_time ORDER BY h.created DESC LIMIT 1) h ON true"                                      \
  " WHERE h.doubles IS NULL OR (h.doubles, h.integers, h.texts) IS DISTINCT FROM (g.doubles, g.integers, g.texts)"   \
  " ORDER BY g.entity_key, g.event_time, g.created, g.number DESC"
