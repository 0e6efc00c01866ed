// What rewrites promise, kept: on random tables with NULLs and duplicates, in time zones whose days begin oddly, every
// rewrite with a guarantee gives the rows that the statement gives.
#include "tuner/rewrite/rewrites.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "base/reactor.h"
#include "db/pool.h"
#include "db/testing.h"

namespace cairn::tuner {
namespace {

constexpr const char* kTables = R"(
  CREATE TYPE stage AS ENUM ('a', 'b', 'c');
  CREATE TABLE t (id int PRIMARY KEY, k int, nn int NOT NULL, big bigint, label text, stage stage, u uuid,
    ts timestamp, tz timestamptz, d date);
  CREATE TABLE s (id int PRIMARY KEY, k int, nn int NOT NULL, big bigint, label text, stage stage, u uuid,
    ts timestamp, tz timestamptz, d date);
  CREATE TABLE parent (nn int NOT NULL);
  CREATE TABLE child () INHERITS (parent);
  ALTER TABLE child ALTER nn DROP NOT NULL;
  CREATE VIEW v AS SELECT * FROM s;)";

// Around the days on which clocks are set, and the days' borders in UTC and elsewhere.
constexpr const char* kRow = R"(
  INSERT INTO %s SELECT i, CASE WHEN random() < 0.8 THEN (random() * 4)::int END, (random() * 4)::int,
    CASE WHEN random() < 0.8 THEN (random() * 4)::int END,
    CASE WHEN random() < 0.8 THEN chr(97 + (random() * 3)::int) END,
    CASE WHEN random() < 0.8 THEN ('{a,b,c}'::stage[])[1 + (random() * 2)::int] END,
    CASE WHEN random() < 0.8 THEN ('00000000-0000-0000-0000-00000000000' || (random() * 3)::int)::uuid END,
    CASE WHEN random() < 0.1 THEN 'infinity' WHEN random() < 0.85 THEN timestamp '2024-01-14' + (random() * 12)::int *
      interval '6 hours' + (random() * 2)::int * interval '1 microsecond' END,
    CASE WHEN random() < 0.1 THEN '-infinity' WHEN random() < 0.85 THEN
      ('{2024-10-26 22:00+00,2024-03-30 22:00+00,2018-11-03 22:00+00,2018-02-17 22:00+00,2024-11-03 02:00+00}'::timestamptz[])
        [1 + (random() * 4)::int] + (random() * 60)::int * interval '30 minutes' END,
    CASE WHEN random() < 0.8 THEN date '2024-01-14' + (random() * 3)::int END
  FROM generate_series(1, (random() * 40)::int) i;)";

class RewritesHold : public testing::Test {
 protected:
  RewritesHold() { database_.execute(kTables); }
  ~RewritesHold() override { PQfinish(connection_); }

  Catalog catalog() {
    db::PoolOptions options;
    options.connection_string = database_.url();
    options.size = 1;
    db::Pool pool(options);
    return reactor_.block_on(read_catalog(pool));
  }

  void fill() {
    std::string script = "TRUNCATE t, s, parent;";
    for (const char* table : {"t", "s"}) script += std::string(kRow).replace(std::string(kRow).find("%s"), 2, table);
    script +=
        "INSERT INTO parent SELECT random() * 4 FROM generate_series(1, 2);"
        "INSERT INTO child SELECT CASE WHEN random() < 0.5 THEN 3 END FROM generate_series(1, 2);";
    database_.execute(script);
  }

  // The rows as text, sorted; an error as the only row.
  std::vector<std::string> rows(const std::string& statement, const std::vector<const char*>& values) {
    const std::string sql = "SELECT q::text FROM (" + statement + ") q";
    PGresult* result = PQexecParams(connection_, sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(),
                                    nullptr, nullptr, 0);
    std::vector<std::string> rows;
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
      rows.push_back(std::string("error: ") + PQresultErrorMessage(result));
    for (int i = 0; i < PQntuples(result); ++i) rows.emplace_back(PQgetvalue(result, i, 0));
    PQclear(result);
    std::ranges::sort(rows);
    return rows;
  }

  void set_time_zone(const std::string& zone) {
    PQclear(PQexec(connection_, ("SET TimeZone = '" + zone + "'").c_str()));
  }

  std::string one_of(const std::vector<std::string>& all) {
    return all[std::uniform_int_distribution<size_t>(0, all.size() - 1)(random_)];
  }

  // "{x|y} z" with one of each alternatives.
  std::string chosen(std::string text) {
    for (size_t end = text.find('}'); end != std::string::npos; end = text.find('}')) {
      const size_t begin = text.rfind('{', end);
      std::vector<std::string> all{""};
      for (const char c : text.substr(begin + 1, end - begin - 1)) {
        if (c == '|')
          all.emplace_back();
        else
          all.back() += c;
      }
      text.replace(begin, end - begin + 1, one_of(all));
    }
    return text;
  }

  db::TestDatabase database_;
  Reactor reactor_;
  PGconn* connection_ = PQconnectdb(database_.url().c_str());
  std::mt19937 random_{20240115};
};

const std::vector<std::string> kStatements = {
    "SELECT * FROM t WHERE {|k = 1 AND |NOT }{t.id|k|nn} NOT IN (SELECT {s.id|k|nn|DISTINCT nn|max(nn)} FROM {s|s|v}"
    "{| WHERE s.k IS NOT NULL| WHERE s.k > 1 OR nn = 2| WHERE (s.k < 3)| WHERE s.nn = t.nn})",
    "SELECT id, nn FROM t WHERE {nn|k} NOT IN (SELECT nn FROM {ONLY |}parent)",
    "SELECT t.id FROM t LEFT JOIN s ON s.id = t.k WHERE {t.nn|s.nn} NOT IN (SELECT t.nn FROM t{| WHERE id > 20})",
    "SELECT id FROM t WHERE (id, {nn|k}) NOT IN (SELECT id, {nn|k} FROM s{| WHERE k = 2}) OR k = 3",
    "SELECT t.id, (SELECT count({*|k|nn|1}) FROM s WHERE s.k = t.k{| AND s.nn = 1| AND s.id < 0}) {> 0|= 0|>= 1|< 1|<> "
    "0} "
    "FROM t",
    "SELECT * FROM t WHERE {|NOT }{0 <|0 =} (SELECT count(*) FROM s WHERE s.nn = t.k AND s.big IS NOT NULL){| OR k = "
    "1}",
    "SELECT * FROM t WHERE {k|big|label|ts} = {1|2} OR {nn|t.big|k} {> 2|IS NULL|<> 3}{| OR label = 'b'}",
    "SELECT t.id, s.id AS other FROM t LEFT JOIN s ON s.nn = t.k WHERE t.nn < 4 AND (s.k = 1 OR t.k = 2{| OR s.k IS "
    "NULL})",
    "SELECT * FROM t WHERE (k = 1 OR nn = 2) {ORDER BY id|ORDER BY k DESC, id} {LIMIT 3|LIMIT 5 OFFSET 2|}",
    "SELECT label, nn FROM t WHERE k = 1 OR stage = 'b'",
    "SELECT * FROM t a WHERE {k = 1 AND |}{ts|big|d|nn} = (SELECT {max(b.ts)|min(b.big)|max(b.d)|max(nn)} FROM {t|s} b "
    "WHERE "
    "b.{k|nn|big} = a.{k|nn|big}{| AND b.{nn|k} > 1| AND (b.k = 1 OR b.nn = 2)})",
    "SELECT * FROM t a WHERE label = (SELECT max(label) FROM t b WHERE a.{label|stage} = b.{label|stage})",
    "SELECT {id|t.nn AS per_row}, (SELECT {max(ts)|count(*)|sum(k)} FROM s WHERE s.k = t.k), "
    "{coalesce((SELECT min(nn) FROM s WHERE s.k = t.k), 7)|(SELECT avg(s.nn) FROM s WHERE s.k = t.k) AS mean} FROM t"
    "{| WHERE (t.nn > 1)| WHERE t.k = 2 ORDER BY id LIMIT 3}",
    "SELECT t.*, s.id AS other, (SELECT count(k) FROM t x WHERE x.nn = s.k OR x.id = 1) AS a, "
    "(SELECT {max(x.id)|min(d)} FROM t x WHERE x.nn = s.k OR x.id = 1) AS b FROM t LEFT JOIN s ON s.id = t.k"
    "{| ORDER BY (t.id), s.id}",
    "SELECT * FROM t WHERE {|NOT }{date(ts)|ts::date|CAST(ts AS date)} {=|<|<=|>|>=} '2024-01-1{4|5|6|7}'",
    "SELECT * FROM t WHERE {|NOT }{date(ts)|tz::date} BETWEEN {'2024-01-15' AND '2024-01-16'|'2018-02-18' AND "
    "'2018-11-04'}",
    "SELECT * FROM t WHERE {|k = 1 OR }date(tz) {=|<|<=|>|>=} "
    "'{2024-10-27|2024-03-31|2018-11-04|2018-02-18|2024-11-03}'{|::date}",
    "SELECT * FROM t WHERE {date(tz)|date(ts)} {=|<|<=|>|>=} $1::date",
    "SELECT * FROM t WHERE {date(tz)|date(ts)} {=|<|<=|>|>=} $1",
    "SELECT * FROM t WHERE date(tz) {=|<|<=|>|>=} timestamptz '2024-10-27 {00:00|12:00}+00'",
    "SELECT * FROM t WHERE date_trunc('{hour|day|week|month|quarter|year}', {tz|ts}) {=|<|<=|>|>=} "
    "'2024-{10-27|01-01|03-31|01-15}{| 00:00+00}'",
    "SELECT * FROM t WHERE extract(year FROM {tz|ts|d}) = {2024|2018}",
    "SELECT * FROM t WHERE date_part('year', {tz|ts|d}) = 2024{| AND k = 1}",
    "SELECT * FROM t WHERE {k|big|nn} {=|<>|<|<=|>|>=} {-|}{0|1|2|3}.{0|5}{|::numeric}",
    "SELECT * FROM t WHERE {2.0|2.5} {=|<>|<|<=|>|>=} {k|big|nn}",
    "SELECT * FROM t WHERE {k|big}::text {=|<>} '{1|2|02|x|-0|}'",
    "SELECT * FROM t WHERE u::text {=|<>} '00000000-0000-0000-0000-00000000000{1|2}'",
    "SELECT * FROM t WHERE stage::text {=|<>} '{a|b|z}'",
};

TEST_F(RewritesHold, R28_WithEqualRowsOnRandomTables) {
  fill();
  database_.execute("INSERT INTO t (id, nn, stage) SELECT 1000 + i, 1, 'a' FROM generate_series(1, 9) i");
  database_.execute("ANALYZE");  // labels of the enum are known from the statistics
  const Catalog catalog = this->catalog();
  const std::vector<const char*> dates = {"2024-10-27", "2024-03-31", "2018-11-04",
                                          "2024-01-15", "infinity",   "-infinity"};
  std::map<std::string, int> compared;
  int unequal_without_guarantee = 0, with_rows = 0;
  for (int round = 0; round < 60; ++round) {
    fill();
    set_time_zone(one_of({"UTC", "Atlantic/Azores", "America/Havana", "America/Sao_Paulo", "Asia/Kolkata"}));
    for (const std::string& pattern : kStatements) {
      const std::string statement = chosen(pattern);
      std::vector<const char*> values;
      if (statement.find("$1") != std::string::npos)
        values.push_back(dates[std::uniform_int_distribution<size_t>(0, dates.size() - 1)(random_)]);
      const auto before = rows(statement, values);
      if (!before.empty() && before[0].starts_with("error")) continue;  // types that do not go together
      for (const Rewrite& rewrite : propose_rewrites(catalog, statement, 0)) {
        if (rewrite.rule == "offset-to-keyset") continue;
        const auto after = rows(rewrite.text, values);
        if (rewrite.guarantee.empty()) {
          unequal_without_guarantee += before != after;
          continue;
        }
        ++compared[rewrite.rule];
        with_rows += !before.empty();
        ASSERT_EQ(before, after) << statement << "\n" << rewrite.text << "\n" << rewrite.guarantee;
      }
    }
  }
  for (const char* rule : {"not-in-to-not-exists", "count-to-exists", "or-to-union", "correlated-extreme",
                           "function-to-range", "cast-on-column", "subqueries-to-lateral"})
    EXPECT_GE(compared[rule], 40) << rule;
  EXPECT_GT(with_rows, 300);
  EXPECT_GT(unequal_without_guarantee, 0);  // what is not promised is rightly not promised
}

// Pages by the last row's keys are the pages by OFFSET, where no sort key is NULL.
TEST_F(RewritesHold, R28_KeysetPagesAreTheSamePages) {
  database_.execute("INSERT INTO t (id, nn, label) SELECT i, i % 3, 'x' FROM generate_series(1, 50) i");
  for (const char* order : {"nn DESC", "nn", "nn, id DESC"}) {
    const std::string sorted = std::string("SELECT id, nn FROM t ORDER BY ") + order;
    std::string text;
    for (const Rewrite& rewrite : propose_rewrites(catalog(), sorted + " LIMIT 7 OFFSET 14", 0))
      if (rewrite.rule == "offset-to-keyset") text = rewrite.text;
    ASSERT_NE(text, "");
    const std::string stable = sorted + (std::string(order).find("id") != std::string::npos     ? ""
                                         : std::string(order).find("DESC") != std::string::npos ? ", id DESC"
                                                                                                : ", id");
    const std::string last = "SELECT nn, id FROM (" + stable + " LIMIT 14) l OFFSET 13";
    PGresult* row = PQexec(connection_, last.c_str());
    const std::string nn = PQgetvalue(row, 0, 0), id = PQgetvalue(row, 0, 1);
    PQclear(row);
    EXPECT_EQ(rows(text, {nn.c_str(), id.c_str()}), rows(stable + " LIMIT 7 OFFSET 14", {})) << text;
  }
}

}  // namespace
}  // namespace cairn::tuner
