// `cairn tune undo`: takes back changes of the journal, the last one first.
#include <fmt/format.h>

#include <algorithm>
#include <ostream>

#include "base/error.h"
#include "base/json.h"
#include "base/table.h"
#include "tuner/apply/apply_cli.h"

namespace cairn::tuner {
namespace {

struct Undone {
  JournalEntry entry = {};
  std::string what = {};  // "undone", "undone already", "failed"
  std::string detail = {};
};

class Undoer {
 public:
  Undoer(Reactor& reactor, const UndoOptions& options, std::ostream& progress)
      : options_(options),
        reactor_(reactor),
        all_(reactor, {options.connection_string, "cairn tune undo", options.wait_s}, progress) {}

  std::vector<Undone> run() {
    if (!reactor_.block_on(all_.journal().exists()))
      throw not_found("nothing was applied to this database: it has no journal cairn_tune.journal");
    reactor_.block_on(all_.session().lock());
    reactor_.block_on(all_.journal().check_owner());
    entries_ = all_.entries();
    for (JournalEntry* entry : chosen()) undo(*entry);
    return std::move(undone_);
  }

 private:
  std::vector<JournalEntry*> chosen() {
    for (const int64_t id : options_.changes) {
      if (std::none_of(entries_.begin(), entries_.end(), [&](const JournalEntry& entry) { return entry.id == id; }))
        throw not_found(fmt::format("there is no change {} in the journal: `cairn tune status` lists them", id));
    }
    int64_t last = 0;
    for (const JournalEntry& entry : entries_) {
      if (entry.is_in_force()) last = std::max(last, entry.apply_id);
    }
    std::vector<JournalEntry*> chosen;
    for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
      const bool named =
          std::find(options_.changes.begin(), options_.changes.end(), entry->id) != options_.changes.end();
      const bool meant = entry->is_in_force() && (options_.all || (options_.last && entry->apply_id == last));
      if (named || meant) chosen.push_back(&*entry);
    }
    return chosen;
  }

  void undo(JournalEntry& entry) {
    Undone done;
    if (entry.state == ChangeState::kUndone || entry.state == ChangeState::kReverted) {
      done.what = "undone already";
    } else if (entry.state == ChangeState::kFailed) {
      done.what = "failed";
      done.detail = "it was never applied: " + entry.error;
    } else if (!entry.is_in_force()) {
      done.what = "failed";
      done.detail = "it was left by a killed apply or undo: cairn tune status --finish, or --remove";
    } else {
      try {
        done.detail = reactor_.block_on(all_.changer().take_back(entry, ChangeState::kUndone));
        done.what = "undone";
      } catch (const Error& error) {
        if (all_.session().stopped()) throw;
        done.what = "failed";
        done.detail = error.what();
      }
    }
    done.entry = entry;
    undone_.push_back(std::move(done));
  }

  const UndoOptions& options_;
  Reactor& reactor_;
  ChangeSession all_;
  std::vector<JournalEntry> entries_;
  std::vector<Undone> undone_;
};

std::string shown_name(const JournalEntry& entry) {
  return on_one_line(entry.table.schema.empty() ? entry.name : entry.table.schema + "." + entry.name);
}

void print(const std::vector<Undone>& undone, std::ostream& out) {
  for (const Undone& one : undone) {
    out << fmt::format("{:>3}  {}: {}\n", one.entry.id, one.what, shown_name(one.entry));
    if (!one.detail.empty()) out << "     " << on_one_line(one.detail) << "\n";
  }
  if (undone.empty()) out << "nothing to undo\n";
}

void print_json(const std::vector<Undone>& undone, std::ostream& out) {
  std::string text;
  json::Writer writer(text);
  writer.begin_object();
  writer.key("changes");
  writer.begin_array();
  for (const Undone& one : undone) {
    writer.begin_object();
    writer.field("id", one.entry.id);
    writer.field("kind", kind_name(one.entry.kind));
    writer.field("name", shown_name(one.entry));
    writer.field("state", state_name(one.entry.state));
    writer.field("outcome", one.what);
    if (!one.detail.empty()) writer.field("detail", one.detail);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
  out << text << "\n";
}

}  // namespace

int run_undo(const UndoOptions& options, std::ostream& out, std::ostream& progress) {
  if (options.changes.empty() && !options.last && !options.all)
    throw invalid("say what to undo: ids of `cairn tune status`, --last or --all");
  Reactor reactor;
  const std::vector<Undone> undone = Undoer(reactor, options, progress).run();
  if (options.json)
    print_json(undone, out);
  else
    print(undone, out);
  const bool failed = std::any_of(undone.begin(), undone.end(), [](const Undone& one) { return one.what == "failed"; });
  return failed ? 1 : 0;
}

}  // namespace cairn::tuner
