#include "tuner/catalog/writes.h"

#include <gtest/gtest.h>

namespace cairn::tuner {
namespace {

Catalog catalog() {
  Catalog catalog;
  catalog.search_path = {"public"};
  Table runs{.oid = 1, .name = {"public", "runs"}};
  runs.indexes.resize(3);
  catalog.tables = {runs, {.oid = 2, .name = {"public", "log"}}};
  return catalog;
}

IndexDefinition index_on(const std::string& column, const std::string& method = "btree") {
  return {.table = {"public", "runs"}, .method = method, .keys = {{.text = column}}};
}

double cost_of(const std::string& text, const IndexDefinition& index, double hot_share = 0) {
  const Catalog known = catalog();
  const StatementRuns runs{text, 1000};
  return write_ms(index, writes_of(known, {&runs, 1}, {{{"public", "runs"}, hot_share}}));
}

TEST(Writes, CountsWhatPutsEntriesIntoAnIndex) {
  const IndexDefinition index = index_on("status");
  const double insert = cost_of("INSERT INTO runs VALUES ($1, $2)", index);
  EXPECT_GT(insert, 0);
  EXPECT_EQ(cost_of("WITH x AS (INSERT INTO public.runs SELECT * FROM log RETURNING *) SELECT * FROM x", index),
            insert);
  EXPECT_EQ(cost_of("COPY runs FROM STDIN", index), insert);
  EXPECT_EQ(cost_of("COPY runs TO STDOUT", index), 0);
  EXPECT_EQ(cost_of("SELECT * FROM runs", index), 0);
  EXPECT_EQ(cost_of("INSERT INTO log VALUES (1)", index), 0);
  EXPECT_EQ(cost_of("INSERT INTO gone VALUES (1)", index), 0);
  EXPECT_EQ(cost_of("no SQL", index), 0);
  EXPECT_LT(cost_of("DELETE FROM runs WHERE id = $1", index), insert);
  EXPECT_LT(cost_of("INSERT INTO runs VALUES ($1, $2)", index_on("status", "brin")), insert / 5);
  EXPECT_GT(cost_of("INSERT INTO runs VALUES ($1, $2)", index_on("status", "gin")), insert * 2);
}

TEST(Writes, AnUpdateThatIsHeapOnlyCostsNothingUntilTheIndexHoldsItsColumn) {
  const std::string update = "UPDATE runs SET status = $1 WHERE id = $2";
  EXPECT_EQ(cost_of(update, index_on("name"), 1), 0);
  EXPECT_GT(cost_of(update, index_on("name"), 0), 0);
  // The table's three indexes get an entry each, too.
  EXPECT_DOUBLE_EQ(cost_of(update, index_on("status"), 1), 4 * cost_of(update, index_on("status"), 0));
  IndexDefinition partial = index_on("name");
  partial.predicate = "status = 'active'";
  EXPECT_GT(cost_of(update, partial, 1), 0);
}

}  // namespace
}  // namespace cairn::tuner
