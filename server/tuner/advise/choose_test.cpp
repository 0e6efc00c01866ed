#include "tuner/advise/choose.h"

#include <gtest/gtest.h>

#include <random>

namespace cairn::tuner {
namespace {

IndexDefinition index_on(const std::string& table, const std::vector<std::string>& columns) {
  IndexDefinition index{.table = {"public", table}};
  for (const std::string& column : columns) index.keys.push_back({.text = column});
  return index;
}

// Each statement has a cost without indexes and plans that use some; a plan is there when its indexes are, or wider
// ones.
class CostTable : public CostModel {
 public:
  struct Way {
    double cost;
    std::vector<IndexDefinition> uses;
  };
  std::vector<std::vector<Way>> statements;
  std::map<IndexDefinition, int64_t> sizes;
  int64_t size_else = 100;
  int calls = 0;

  Estimate estimate(size_t statement, const std::vector<IndexDefinition>& indexes) override {
    ++calls;
    return quiet_estimate(statement, indexes);
  }
  Estimate quiet_estimate(size_t statement, const std::vector<IndexDefinition>& indexes) const {
    Estimate best{.cost = 1e300, .used = {}};
    for (const Way& way : statements[statement]) {
      Estimate found{.cost = way.cost, .used = {}};
      for (const IndexDefinition& wanted : way.uses) {
        const auto at = std::find_if(indexes.begin(), indexes.end(), [&](const auto& i) { return serves(i, wanted); });
        if (at != indexes.end()) found.used.push_back(*at);
      }
      if (found.used.size() == way.uses.size() && found.cost < best.cost) best = found;
    }
    return best;
  }
  std::optional<int64_t> bytes(const IndexDefinition& index) override {
    const auto found = sizes.find(index);
    return found == sizes.end() ? size_else : found->second;
  }

 private:
  static bool serves(const IndexDefinition& wide, const IndexDefinition& narrow) {
    return wide.table == narrow.table && wide.keys.size() >= narrow.keys.size() &&
           std::equal(narrow.keys.begin(), narrow.keys.end(), wide.keys.begin());
  }
};

ChoiceProblem problem_of(const CostTable& model, std::vector<IndexDefinition> candidates) {
  ChoiceProblem problem;
  std::set<TableName> tables;
  for (const IndexDefinition& candidate : candidates) tables.insert(candidate.table);
  for (size_t i = 0; i < model.statements.size(); ++i)
    problem.statements.push_back({.ms_per_cost = 1, .tables = tables});
  problem.candidates = std::move(candidates);
  return problem;
}

std::set<IndexDefinition> set_of(const Choice& choice) {
  std::set<IndexDefinition> set;
  for (const ChosenIndex& chosen : choice.indexes) set.insert(chosen.index);
  return set;
}

const RejectedIndex& rejection_of(const Choice& choice, const IndexDefinition& index) {
  for (const RejectedIndex& rejected : choice.rejected) {
    if (rejected.index == index) return rejected;
  }
  throw std::logic_error("not rejected");
}

TEST(Choose, TakesWhatHelpsWithTwoQuestionsAStatement) {
  const auto a = index_on("t", {"a"}), b = index_on("t", {"b"}), c = index_on("t", {"c"});
  CostTable model;
  model.statements = {{{1000, {}}, {10, {a}}}, {{1000, {}}, {20, {b}}, {15, {a, b}}}};
  const Choice choice = choose(problem_of(model, {a, b, c}), model);
  EXPECT_EQ(set_of(choice), (std::set{a, b}));
  EXPECT_EQ(choice.ms_before, 2000);
  EXPECT_EQ(choice.ms_after, 25);
  EXPECT_EQ(choice.used[1], (std::vector{a, b}));
  EXPECT_EQ(rejection_of(choice, c).reason, "no plan uses it when every candidate is there");
  // Two a statement; the rest for what would be lost without an index, and whether one could do for both.
  EXPECT_LE(choice.calls, 4 + 7);
  EXPECT_EQ(choice.calls, model.calls);
  EXPECT_TRUE(choice.complete);
}

TEST(Choose, LeavesATableAloneWhoseWritesWouldLoseMore) {
  const auto hot = index_on("written", {"a"}), calm = index_on("read", {"a"});
  CostTable model;
  model.statements = {{{1000, {}}, {10, {hot}}}, {{1000, {}}, {10, {calm}}}};
  ChoiceProblem problem = problem_of(model, {hot, calm});
  problem.write_ms = [&](const IndexDefinition& index) { return index.table.name == "written" ? 1500.0 : 5.0; };
  const Choice choice = choose(problem, model);
  EXPECT_EQ(set_of(choice), std::set{calm});
  EXPECT_EQ(choice.write_ms, 5);
  EXPECT_EQ(rejection_of(choice, hot).reason, "writes would lose more than reads gain");
  EXPECT_EQ(rejection_of(choice, hot).gain_ms, 990);
}

TEST(Choose, KeepsToTheLimitOfWriteCost) {
  const auto a = index_on("t", {"a"}), b = index_on("t", {"b"});
  CostTable model;
  model.statements = {{{1000, {}}, {10, {a}}}, {{1000, {}}, {200, {b}}}};
  ChoiceProblem problem = problem_of(model, {a, b});
  problem.write_ms = [](const IndexDefinition&) { return 60.0; };
  problem.write_ms_max = 100;
  const Choice choice = choose(problem, model);
  EXPECT_EQ(set_of(choice), std::set{a});
  EXPECT_EQ(rejection_of(choice, b).reason, "over the limit of write cost");
}

TEST(Choose, WidensAndMergesWhereThatIsSmaller) {
  const auto a = index_on("t", {"a"}), ab = index_on("t", {"a", "b"}), ba = index_on("t", {"b", "a"});
  CostTable model;
  model.statements = {{{1000, {}}, {10, {a}}}, {{1000, {}}, {10, {ab}}}};
  EXPECT_EQ(set_of(choose(problem_of(model, {a, ab}), model)), std::set{ab});

  // (a) and (b, a) serve one statement each; (b, a) alone serves both nearly as well where only it fits.
  model.statements = {{{1000, {}}, {10, {a}}, {12, {ba}}}, {{1000, {}}, {10, {ba}}}};
  ChoiceProblem problem = problem_of(model, {a, ba});
  problem.bytes_max = 100;
  EXPECT_EQ(set_of(choose(problem, model)), std::set{ba});
}

TEST(Choose, DoesNotHideALargeGainOfOneStatementBehindTheSum) {
  const auto a = index_on("t", {"a"}), b = index_on("t", {"b"}), c = index_on("t", {"c"});
  CostTable model;
  model.statements = {{{1e6, {}}, {10, {a}}}, {{1000, {}}, {660, {b}}}, {{1000, {}}, {990, {c}}}};
  EXPECT_EQ(set_of(choose(problem_of(model, {a, b, c}), model)), (std::set{a, b}));
}

TEST(Choose, SaysWhatItHadNoTimeFor) {
  const auto a = index_on("t", {"a"}), b = index_on("t", {"b"});
  CostTable model;
  model.statements = {{{1000, {}}, {10, {a}}}, {{1000, {}}, {10, {b}}}};
  ChoiceProblem problem = problem_of(model, {a, b});
  problem.calls_max = 4;
  const Choice enough = choose(problem, model);
  EXPECT_EQ(set_of(enough), (std::set{a, b}));
  problem.calls_max = 3;
  const Choice too_few = choose(problem, model);
  EXPECT_FALSE(too_few.complete);
  EXPECT_LE(too_few.calls, 3);
}

TEST(Choose, RefusesWhatHasNoSize) {
  struct NoSize : CostTable {
    std::optional<int64_t> bytes(const IndexDefinition&) override { return std::nullopt; }
  } model;
  const auto a = index_on("t", {"a"});
  model.statements = {{{1000, {}}, {10, {a}}}};
  const Choice choice = choose(problem_of(model, {a}), model);
  EXPECT_TRUE(choice.indexes.empty());
  EXPECT_EQ(rejection_of(choice, a).reason, "cannot be tried without building it");
}

TEST(Choose, TakesAPartOfWhatIsTooLargeAlone) {
  const auto a = index_on("t", {"a"}), ab = index_on("t", {"a", "b"});
  CostTable model;
  model.statements = {{{1000, {}}, {100, {a}}, {10, {ab}}}};
  model.sizes = {{a, 100}, {ab, 200}};
  ChoiceProblem problem = problem_of(model, {ab});
  problem.bytes_max = 150;
  const Choice choice = choose(problem, model);
  EXPECT_EQ(set_of(choice), std::set{a});
  EXPECT_EQ(rejection_of(choice, ab).reason, "over the budget of bytes alone");
}

// Eighty statements and a hundred indexes, of which there is room for a quarter.
TEST(Choose, AsksFewQuestionsOfALargeProblem) {
  CostTable model;
  std::vector<IndexDefinition> candidates;
  for (int i = 0; i < 100; ++i) candidates.push_back(index_on("t" + std::to_string(i % 4), {"c" + std::to_string(i)}));
  for (int i = 0; i < 80; ++i)
    model.statements.push_back(
        {{1000, {}}, {100.0 + i, {candidates[i]}}, {90.0 + i, {candidates[i], candidates[i / 2]}}});
  ChoiceProblem problem = problem_of(model, candidates);
  problem.bytes_max = 20 * model.size_else;
  const Choice choice = choose(problem, model);
  EXPECT_EQ(choice.indexes.size(), 20);
  EXPECT_LE(choice.ms_after, 80 * 1000 - 20 * 820) << "the twenty that gain most, about";
  EXPECT_LE(choice.calls, 10 * 80);
  double total = 0;
  for (size_t i = 0; i < model.statements.size(); ++i) {
    std::vector<IndexDefinition> set;
    for (const ChosenIndex& chosen : choice.indexes) set.push_back(chosen.index);
    total += model.quiet_estimate(i, set).cost;
  }
  EXPECT_NEAR(choice.ms_after, total, 1) << "what was not looked at while searching is looked at in the end";
}

struct Instance {
  CostTable model;
  ChoiceProblem problem;
};

// Six indexes over two tables, eight statements, each with a few ways to be run.
Instance random_instance(std::mt19937_64& random) {
  const auto uniform = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  std::vector<IndexDefinition> indexes;
  for (const char* table : {"t", "u"}) {
    for (const char* column : {"a", "b", "c"}) indexes.push_back(index_on(table, {column}));
  }
  Instance made;
  for (const IndexDefinition& index : indexes) made.model.sizes[index] = static_cast<int64_t>(uniform(20, 200));
  for (int i = 0; i < 8; ++i) {
    const double cost = uniform(100, 2000);
    std::vector<CostTable::Way> ways = {{cost, {}}};
    for (int way = 0; way < 3; ++way) {
      std::vector<IndexDefinition> uses;
      for (int part = 0; part < 1 + way / 2; ++part) uses.push_back(indexes[random() % indexes.size()]);
      ways.push_back({cost * uniform(0.02, 0.9), uses});
    }
    made.model.statements.push_back(ways);
  }
  made.problem = problem_of(made.model, indexes);
  made.problem.bytes_max = static_cast<int64_t>(uniform(100, 500));
  std::map<IndexDefinition, double> writes;
  for (const IndexDefinition& index : indexes) writes[index] = uniform(0, 400);
  made.problem.write_ms = [writes](const IndexDefinition& index) {
    const auto found = writes.find(index);
    return found == writes.end() ? 200.0 : found->second;
  };
  made.problem.gain_min = 0;
  return made;
}

double total_of(const Instance& instance, const std::vector<IndexDefinition>& indexes) {
  double total = 0;
  for (size_t i = 0; i < instance.model.statements.size(); ++i) total += instance.model.quiet_estimate(i, indexes).cost;
  for (const IndexDefinition& index : indexes) total += instance.problem.write_ms(index);
  return total;
}

double optimum_of(Instance& instance) {
  const std::vector<IndexDefinition>& all = instance.problem.candidates;
  double best = total_of(instance, {});
  for (unsigned mask = 1; mask < 1u << all.size(); ++mask) {
    std::vector<IndexDefinition> set;
    int64_t bytes = 0;
    for (size_t i = 0; i < all.size(); ++i) {
      if ((mask >> i & 1) == 0) continue;
      set.push_back(all[i]);
      bytes += *instance.model.bytes(all[i]);
    }
    if (bytes <= instance.problem.bytes_max) best = std::min(best, total_of(instance, set));
  }
  return best;
}

TEST(Choose, ComesCloseToTheBestOfAllSets) {
  std::mt19937_64 random(7);
  double lost = 0;
  int optimal = 0;
  constexpr int kInstances = 300;
  for (int i = 0; i < kInstances; ++i) {
    Instance instance = random_instance(random);
    const double none = total_of(instance, {});
    const double optimum = optimum_of(instance);
    const Choice choice = choose(instance.problem, instance.model);
    std::vector<IndexDefinition> set;
    for (const ChosenIndex& chosen : choice.indexes) set.push_back(chosen.index);
    EXPECT_LE(choice.bytes, instance.problem.bytes_max);
    EXPECT_NEAR(choice.ms_after + choice.write_ms, total_of(instance, set), 1e-3 * none);
    const double found = total_of(instance, set);
    EXPECT_LE(found, none);
    // Merged indexes, which the table does not know the use of, may serve as their first column does.
    lost += std::max(0.0, found - optimum) / none;
    optimal += found <= optimum * 1.0001;
  }
  EXPECT_LT(lost / kInstances, 0.005);
  EXPECT_GT(optimal, kInstances * 9 / 10);
}

}  // namespace
}  // namespace cairn::tuner
