// Three searches, each from what the one before knows: a knapsack over what the plans use when every candidate that
// fits is there (DB2Advis), a greedy one by gain per byte (Extend), then drops, merges and swaps. The best set so far
// is always at hand. In a large problem an index is tried for the statements alone whose plan with every candidate uses
// it, or one that begins as it does.
#include "tuner/advise/choose.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <queue>

#include "tuner/advise/plan_cache.h"
#include "tuner/catalog/index_relations.h"

namespace cairn::tuner {
namespace {

constexpr double kNegligible = 1e-5;     // of the workload: differences below it are not asked for
constexpr double kNoticeableCost = 100;  // a statement below it is small, whatever share of it an index takes off
constexpr double kNoticeableShare = 0.25;
constexpr int kRoundsMax = 20;
constexpr size_t kPairsMax = 100;  // of statements and indexes that may help them: with more, not all are looked at
constexpr size_t kSwapsMax = 16;   // members that one index is tried in the place of

// The question to the model that there is no budget for.
struct OutOfBudget {};

struct State {
  IndexSet set;
  std::vector<double> cost;
  double ms = 0;
  double write_ms = 0;
  int64_t bytes = 0;
  double total() const { return ms + write_ms; }
};

bool may_help(const ChoiceStatement& statement, const IndexDefinition& index) {
  if (!statement.tables.contains(index.table)) return false;
  if (!statement.columns || !index.predicate.empty()) return true;
  const auto mentioned = [&](const IndexKey& key) {
    return key.is_expression || statement.columns->contains(key.text);
  };
  if (index.method == "btree") return mentioned(index.keys.front());
  return std::any_of(index.keys.begin(), index.keys.end(), mentioned);
}

class Search {
 public:
  Search(const ChoiceProblem& problem, CostModel& model)
      : problem_(problem), model_(model), cache_(problem.statements.size()) {
    for (const IndexDefinition& candidate : problem.candidates) number_of(candidate);
    best_.cost.resize(problem.statements.size());
    base_ = best_;
  }

  Choice run() {
    Choice choice;
    try {
      look_at_statements();
      seed();
      if (something_did_not_fit_) {
        grow(true);
        improve();
        grow(false);
      }
      improve();
      look_closely();
      is_complete_ = true;
    } catch (const OutOfBudget&) {
    }
    choice.complete = is_complete_;
    describe(choice);
    return choice;
  }

 private:
  struct Index {
    IndexDefinition definition;
    std::optional<int64_t> bytes;
    double write_ms = 0;
    std::vector<size_t> statements = {};  // those that it may help
    std::vector<size_t> likely = {};  // those whose plan with every candidate uses it, or one that begins as it does
    double potential_ms = 0;          // its part of what is gained when every candidate is there
  };

  int number_of(const IndexDefinition& definition) {
    const auto [at, is_new] = numbers_.try_emplace(definition, static_cast<int>(indexes_.size()));
    if (!is_new) return at->second;
    Index index{.definition = definition, .bytes = model_.bytes(definition), .write_ms = problem_.write_ms(definition)};
    for (size_t i = 0; i < problem_.statements.size(); ++i) {
      if (may_help(problem_.statements[i], definition)) index.statements.push_back(i);
    }
    indexes_.push_back(std::move(index));
    find_likely(indexes_.back());
    return at->second;
  }

  void find_likely(Index& index) const {
    const auto begins_alike = [&](int other) {
      const IndexDefinition &one = index.definition, &two = indexes_[other].definition;
      return one == two || (one.table == two.table && one.method == "btree" && two.method == "btree" &&
                            one.keys.front() == two.keys.front());
    };
    index.likely.clear();
    for (const size_t i : index.statements) {
      if (i < used_with_all_.size() && std::any_of(used_with_all_[i].begin(), used_with_all_[i].end(), begins_alike))
        index.likely.push_back(i);
    }
  }

  void sort_by_potential(std::vector<int>& order) const {
    std::ranges::stable_sort(order, std::greater<>(), [&](int i) { return indexes_[i].potential_ms; });
  }

  IndexSet relevant(size_t statement, const IndexSet& set) const {
    IndexSet kept;
    for (const int i : set) {
      const auto& helped = looked_at(i);
      if (std::binary_search(helped.begin(), helped.end(), statement)) kept.push_back(i);
    }
    return kept;
  }

  double ask(size_t statement, const IndexSet& set) {
    if (calls_ >= problem_.calls_max || problem_.out_of_time()) throw OutOfBudget();
    ++calls_;
    std::vector<IndexDefinition> definitions;
    for (const int i : set) definitions.push_back(indexes_[i].definition);
    const Estimate plan = model_.estimate(statement, definitions);
    KnownPlan known{.set = set, .used = {}, .cost = plan.cost};
    for (const IndexDefinition& index : plan.used) known.used.push_back(number_of(index));
    std::sort(known.used.begin(), known.used.end());
    known.used.erase(std::unique(known.used.begin(), known.used.end()), known.used.end());
    cache_.add(statement, std::move(known));
    return cache_.bounds(statement, set).upper;
  }

  double cost(size_t statement, const IndexSet& set) {
    const IndexSet helping = relevant(statement, set);
    const auto [lower, upper, plan] = cache_.bounds(statement, helping);
    if (plan != nullptr && (upper - lower) * problem_.statements[statement].ms_per_cost <= kNegligible * base_.ms)
      return upper;
    return ask(statement, helping);
  }

  // `from` with another set: asks only for the statements that what changed may help or harm, and no more of them once
  // the total is sure to be above `ceiling`: then there is no state, and `at_least` is what is sure.
  struct Trial {
    std::optional<State> state;
    double at_least = 0;
  };
  Trial try_set(const State& from, IndexSet set, double ceiling) {
    if (problem_.out_of_time()) throw OutOfBudget();
    Trial trial{.state = from, .at_least = 0};
    State& state = *trial.state;
    IndexSet changed;
    std::set_symmetric_difference(from.set.begin(), from.set.end(), set.begin(), set.end(),
                                  std::back_inserter(changed));
    std::set<size_t> statements;
    for (const int i : changed) statements.insert(looked_at(i).begin(), looked_at(i).end());
    state.set = std::move(set);
    std::vector<std::pair<double, size_t>> open;  // by how much is not known of their cost
    for (const size_t i : statements) {
      const auto [lower, upper, plan] = cache_.bounds(i, relevant(i, state.set));
      state.cost[i] = std::min(upper, std::max(lower, cost_with_all_[i]));
      const double doubt = (upper - state.cost[i]) * problem_.statements[i].ms_per_cost;
      if (doubt > 0) open.emplace_back(doubt, i);
    }
    std::sort(open.rbegin(), open.rend());
    account(state);
    for (const auto& [doubt, i] : open) {
      if (state.total() > ceiling) break;
      const double exact = cost(i, state.set);
      state.ms += (exact - state.cost[i]) * problem_.statements[i].ms_per_cost;
      state.cost[i] = exact;
    }
    account(state);
    trial.at_least = state.total();
    if (trial.at_least > ceiling) trial.state.reset();
    return trial;
  }
  State with_set(const State& from, IndexSet set) {
    return *try_set(from, std::move(set), std::numeric_limits<double>::infinity()).state;
  }

  void account(State& state) const {
    state.ms = state.write_ms = 0;
    state.bytes = 0;
    for (size_t i = 0; i < state.cost.size(); ++i) state.ms += state.cost[i] * problem_.statements[i].ms_per_cost;
    for (const int i : state.set) {
      state.bytes += *indexes_[i].bytes;
      state.write_ms += indexes_[i].write_ms;
    }
  }

  int64_t bytes_of(const IndexSet& set) const {
    int64_t bytes = 0;
    for (const int i : set) bytes += *indexes_[i].bytes;
    return bytes;
  }

  bool fits(const IndexSet& set) const {
    double write_ms = 0;
    for (const int i : set) write_ms += indexes_[i].write_ms;
    return bytes_of(set) <= problem_.bytes_max && write_ms <= problem_.write_ms_max;
  }

  static IndexSet without(const IndexSet& set, int index) {
    IndexSet rest = set;
    std::erase(rest, index);
    return rest;
  }

  // With `index`, and without those that it makes superfluous.
  IndexSet with(const IndexSet& set, int index) const {
    IndexSet all;
    for (const int i : set) {
      if (i != index && !covers(indexes_[index].definition, indexes_[i].definition)) all.push_back(i);
    }
    all.insert(std::lower_bound(all.begin(), all.end(), index), index);
    return all;
  }

  bool covered_by_member(const IndexSet& set, int index) const {
    return std::any_of(set.begin(), set.end(),
                       [&](int member) { return covers(indexes_[member].definition, indexes_[index].definition); });
  }

  // Whether going from `before` to `after` is worth an index more.
  bool worth(const State& before, const State& after) const {
    const double gain = before.total() - after.total();
    if (gain <= 0) return false;
    if (gain >= problem_.gain_min * base_.ms) return true;
    for (size_t i = 0; i < before.cost.size(); ++i) {
      if (before.cost[i] >= kNoticeableCost && after.cost[i] <= before.cost[i] * (1 - kNoticeableShare)) return true;
    }
    return false;
  }

  void consider(const State& state) {
    if (fits(state.set) && state.total() < best_.total()) best_ = state;
  }

  // Nothing that is worth having can be missing.
  bool close_to_optimum(const State& state) const {
    return state.total() - ms_with_all_ <= std::max(problem_.gain_min, kNegligible) * base_.ms;
  }

  const std::vector<size_t>& looked_at(int index) const {
    return quick_ ? indexes_[index].likely : indexes_[index].statements;
  }

  // Whether worth() can say so of adding `index`.
  bool can_be_worth(const State& state, int index) const {
    if (gain_bound(state, index) >= problem_.gain_min * base_.ms) return true;
    const auto& helped = looked_at(index);
    return std::any_of(helped.begin(), helped.end(), [&](size_t i) {
      return state.cost[i] >= kNoticeableCost && cost_with_all_[i] <= state.cost[i] * (1 - kNoticeableShare);
    });
  }

  // What adding `index` may take off, by its share of what every candidate together takes off.
  double gain_guess(const State& state, int index) const {
    double guess = 0;
    for (const size_t i : indexes_[index].likely)
      guess += std::max(0.0, state.cost[i] - cost_with_all_[i]) * problem_.statements[i].ms_per_cost /
               static_cast<double>(used_with_all_[i].size());
    return guess - indexes_[index].write_ms;
  }

  // The most that adding `index` can take off.
  double gain_bound(const State& state, int index) const {
    double bound = 0;
    for (const size_t i : looked_at(index))
      bound += std::max(0.0, state.cost[i] - cost_with_all_[i]) * problem_.statements[i].ms_per_cost;
    return bound - indexes_[index].write_ms;
  }

  // Every candidate that there is room for; in the place of one that is too large alone, what it begins with.
  IndexSet all_that_fit() {
    IndexSet all;
    for (size_t i = 0; i < problem_.candidates.size(); ++i) {
      std::optional<IndexDefinition> definition = problem_.candidates[i];
      for (int number = number_of(*definition); indexes_[number].bytes; number = number_of(*definition)) {
        if (fits({number})) {
          all.push_back(number);
          break;
        }
        something_did_not_fit_ = true;
        definition = narrower(*definition);
        if (!definition) break;
      }
    }
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }

  void look_at_statements() {
    const size_t count = problem_.statements.size();
    const IndexSet all = all_that_fit();
    for (size_t i = 0; i < count; ++i) {
      base_.cost[i] = ask(i, {});
      account(base_);
      best_ = base_;
    }
    cost_with_all_ = base_.cost;
    used_with_all_.resize(count);
    for (size_t i = 0; i < count; ++i) {
      const IndexSet helping = relevant(i, all);
      if (helping.empty()) continue;
      cost_with_all_[i] = ask(i, helping);
      const IndexSet& used = used_with_all_[i] = cache_.bounds(i, helping).plan->used;
      const double gain = (base_.cost[i] - cost_with_all_[i]) * problem_.statements[i].ms_per_cost;
      for (const int index : used) indexes_[index].potential_ms += gain / static_cast<double>(used.size());
    }
    ms_with_all_ = 0;
    for (size_t i = 0; i < count; ++i) ms_with_all_ += cost_with_all_[i] * problem_.statements[i].ms_per_cost;
    size_t pairs = 0;
    for (Index& index : indexes_) {
      find_likely(index);
      pairs += index.statements.size();
    }
    quick_ = pairs > kPairsMax;
    for (size_t i = 0; i < indexes_.size(); ++i) {
      if (indexes_[i].potential_ms > 0) promising_.push_back(static_cast<int>(i));
    }
    sort_by_potential(promising_);
  }

  void seed() {
    const auto per_byte = [&](int i) {
      return (indexes_[i].potential_ms - indexes_[i].write_ms) /
             static_cast<double>(std::max<int64_t>(1, *indexes_[i].bytes));
    };
    std::vector<int> order = promising_;
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return per_byte(a) > per_byte(b); });
    IndexSet set;
    for (const int i : order) {
      if (per_byte(i) <= 0 || covered_by_member(set, i)) continue;
      IndexSet larger = with(set, i);
      if (fits(larger))
        set = std::move(larger);
      else
        something_did_not_fit_ = true;
    }
    consider(with_set(base_, std::move(set)));
  }

  // What growth may take: what the plans used, and its prefixes.
  std::vector<int> growable() {
    std::vector<int> pool = promising_;
    for (const int i : promising_) {
      for (auto part = narrower(indexes_[i].definition); part; part = narrower(*part)) {
        const int number = number_of(*part);
        if (indexes_[number].bytes && std::find(pool.begin(), pool.end(), number) == pool.end()) pool.push_back(number);
      }
    }
    return pool;
  }

  // Takes what gains most (a byte, or at all) as long as it is worth it. Gains are looked at again only when their
  // index comes first: what has been taken seldom makes another gain more.
  void grow(bool by_byte) {
    const auto key = [&](double gain, int64_t bytes) {
      return by_byte ? gain / static_cast<double>(std::max<int64_t>(1, bytes)) : gain;
    };
    using Entry = std::pair<double, int>;
    std::priority_queue<Entry> queue;
    for (const int i : growable()) queue.emplace(key(gain_guess(base_, i), *indexes_[i].bytes), i);
    State state = base_;
    while (!queue.empty()) {
      const int index = queue.top().second;
      queue.pop();
      if (covered_by_member(state.set, index) || !can_be_worth(state, index)) continue;
      IndexSet set = with(state.set, index);
      if (!fits(set)) continue;
      const double next_best = queue.empty() ? 0 : queue.top().first;
      const int64_t grown = std::max<int64_t>(1, bytes_of(set) - state.bytes);
      const double needed = next_best * (by_byte ? static_cast<double>(grown) : 1);
      const Trial trial = try_set(state, std::move(set), state.total() - needed * (1 - 1e-9));
      if (!trial.state) {  // the next one may be better
        if (trial.at_least < state.total()) queue.emplace(key(state.total() - trial.at_least, grown), index);
        continue;
      }
      if (!worth(state, *trial.state)) continue;
      state = *trial.state;
      consider(state);
      if (close_to_optimum(state)) return;
    }
  }

  void improve() {
    for (int round = 0; round < kRoundsMax; ++round) {
      const bool dropped = drop();
      const bool merged_any = merge();
      const bool narrowed = narrow();
      const bool added = add_or_swap();
      if (!dropped && !merged_any && !narrowed && !added) return;
    }
  }

  // What the workload would lose without each index; then what the set as a whole costs every statement.
  void look_closely() {
    for (const int i : best_.set) gains_[i] = with_set(best_, without(best_.set, i)).ms - best_.ms;
    quick_ = false;
    for (size_t i = 0; i < best_.cost.size(); ++i) best_.cost[i] = cost(i, best_.set);
    account(best_);
  }

  // Takes out what is not worth its place.
  bool drop() {
    bool changed = false;
    for (const int i : IndexSet(best_.set)) {
      const double sure_loss = best_.total() + problem_.gain_min * base_.ms;
      const Trial rest = try_set(best_, without(best_.set, i), sure_loss);
      if (!rest.state || worth(*rest.state, best_)) continue;
      best_ = *rest.state;
      changed = true;
    }
    return changed;
  }

  // Takes the set if it is better, or as good and smaller.
  bool replace_best(const IndexSet& set) {
    if (!fits(set)) return false;
    const double tolerance = kNegligible * base_.ms;
    const Trial trial = try_set(best_, set, best_.total() + tolerance);
    if (!trial.state) return false;
    if (trial.state->total() >= best_.total() - tolerance && trial.state->bytes >= best_.bytes) return false;
    best_ = *trial.state;
    return true;
  }

  bool merge() {
    bool changed = false;
    const IndexSet before = best_.set;
    for (const int first : before) {
      for (const int second : before) {
        const auto in_best = [&](int i) { return std::binary_search(best_.set.begin(), best_.set.end(), i); };
        if (first == second || !in_best(first) || !in_best(second)) continue;
        const auto both = merged(indexes_[first].definition, indexes_[second].definition);
        if (!both) continue;
        const int number = number_of(*both);
        if (!indexes_[number].bytes) continue;
        changed |= replace_best(with(without(without(best_.set, first), second), number));
      }
    }
    return changed;
  }

  bool narrow() {
    bool changed = false;
    for (const int i : IndexSet(best_.set)) {
      const auto part = narrower(indexes_[i].definition);
      if (!part) continue;
      const int number = number_of(*part);
      if (!indexes_[number].bytes) continue;
      changed |= replace_best(with(without(best_.set, i), number));
    }
    return changed;
  }

  bool add_or_swap() {
    bool changed = false;
    std::vector<int> order;
    for (size_t i = 0; i < indexes_.size(); ++i) {
      if (indexes_[i].bytes) order.push_back(static_cast<int>(i));
    }
    sort_by_potential(order);
    for (const int i : order) {
      if (std::binary_search(best_.set.begin(), best_.set.end(), i) || covered_by_member(best_.set, i)) continue;
      if (gain_bound(best_, i) <= problem_.gain_min * base_.ms) continue;
      const IndexSet larger = with(best_.set, i);
      if (fits(larger)) {
        const Trial trial = try_set(best_, larger, best_.total());
        if (!trial.state || !worth(best_, *trial.state)) continue;
        best_ = *trial.state;
        changed = true;
      } else {
        changed |= swap_in(i);
      }
    }
    return changed;
  }

  // In the place of one that is there, or of those that gain least a byte.
  bool swap_in(int index) {
    std::vector<std::pair<double, int>> order;
    for (const int i : best_.set)
      order.emplace_back(indexes_[i].potential_ms / static_cast<double>(std::max<int64_t>(1, *indexes_[i].bytes)), i);
    std::sort(order.begin(), order.end());
    IndexSet rest = best_.set;
    if (order.size() > kSwapsMax) order.resize(kSwapsMax);
    for (const auto& [potential, i] : order) {
      if (replace_best(with(without(best_.set, i), index))) return true;
      rest = without(rest, i);
      if (rest.size() + 1 < best_.set.size() && replace_best(with(rest, index))) return true;
    }
    return false;
  }

  // From what is known already.
  std::string reason(int index, RejectedIndex& rejected) const {
    if (covered_by_member(best_.set, index)) return "one that was chosen covers it";
    const IndexSet set = with(best_.set, index);
    double gain_most = 0;
    for (const size_t i : looked_at(index)) {
      const auto [lower, upper, plan] = cache_.bounds(i, relevant(i, set));
      const double least = std::min(upper, std::max(lower, cost_with_all_[i]));
      gain_most += std::max(0.0, best_.cost[i] - least) * problem_.statements[i].ms_per_cost;
      rejected.gain_ms += std::max(0.0, best_.cost[i] - upper) * problem_.statements[i].ms_per_cost;
    }
    if (gain_most <= kNegligible * base_.ms) return "gains nothing beside what was chosen";
    if (indexes_[index].write_ms >= gain_most) return "writes would lose more than reads gain";
    if (bytes_of(set) > problem_.bytes_max) return "over the budget of bytes";
    if (!fits(set)) return "over the limit of write cost";
    return is_complete_ ? "gains too little" : "not looked at to the end: the limit of time or of calls was reached";
  }

  void reject(Choice& choice) {
    std::vector<int> order;
    for (size_t i = 0; i < indexes_.size(); ++i) {
      const bool proposed = std::find(problem_.candidates.begin(), problem_.candidates.end(), indexes_[i].definition) !=
                            problem_.candidates.end();
      if (proposed && !std::binary_search(best_.set.begin(), best_.set.end(), static_cast<int>(i)))
        order.push_back(static_cast<int>(i));
    }
    sort_by_potential(order);
    for (size_t i = 0; i < order.size(); ++i) {
      const Index& index = indexes_[order[i]];
      RejectedIndex rejected{.index = index.definition, .bytes = index.bytes.value_or(0)};
      if (!index.bytes)
        rejected.reason = "cannot be tried without building it";
      else if (*index.bytes > problem_.bytes_max)
        rejected.reason = "over the budget of bytes alone";
      else if (index.potential_ms <= 0)
        rejected.reason = "no plan uses it when every candidate is there";
      else
        rejected.reason = reason(order[i], rejected);
      choice.rejected.push_back(std::move(rejected));
    }
    std::stable_sort(choice.rejected.begin(), choice.rejected.end(),
                     [](const RejectedIndex& a, const RejectedIndex& b) { return a.gain_ms > b.gain_ms; });
  }

  void describe(Choice& choice) {
    choice.cost_before = base_.cost;
    choice.cost_after = best_.cost;
    choice.ms_before = base_.ms;
    choice.ms_after = best_.ms;
    choice.write_ms = best_.write_ms;
    choice.bytes = best_.bytes;
    for (const int i : best_.set) {
      const Index& index = indexes_[i];
      ChosenIndex chosen{.index = index.definition, .bytes = *index.bytes, .write_ms = index.write_ms};
      const auto gain = gains_.find(i);
      chosen.gain_ms = gain != gains_.end() ? gain->second : index.potential_ms;
      choice.indexes.push_back(std::move(chosen));
    }
    std::stable_sort(choice.indexes.begin(), choice.indexes.end(),
                     [](const ChosenIndex& a, const ChosenIndex& b) { return a.gain_ms > b.gain_ms; });
    for (size_t i = 0; i < best_.cost.size(); ++i) {
      std::vector<IndexDefinition>& used = choice.used.emplace_back();
      const auto plan = cache_.bounds(i, relevant(i, best_.set)).plan;
      if (plan == nullptr) continue;
      for (const int index : plan->used) used.push_back(indexes_[index].definition);
    }
    reject(choice);
    choice.calls = calls_;
  }

  const ChoiceProblem& problem_;
  CostModel& model_;
  PlanCache cache_;
  std::vector<Index> indexes_;
  std::map<IndexDefinition, int> numbers_;
  std::map<int, double> gains_;  // of the best set's members
  std::vector<int> promising_;   // greatest potential first
  State base_;
  State best_;
  std::vector<double> cost_with_all_;
  std::vector<IndexSet> used_with_all_;
  double ms_with_all_ = 0;
  bool something_did_not_fit_ = false;
  bool is_complete_ = false;
  bool quick_ = false;  // an index is looked at for the statements alone that it is likely to help
  int calls_ = 0;
};

}  // namespace

Choice choose(const ChoiceProblem& problem, CostModel& model) { return Search(problem, model).run(); }

}  // namespace cairn::tuner
