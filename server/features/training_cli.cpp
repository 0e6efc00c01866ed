#include "features/training_cli.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "base/error.h"
#include "base/table.h"
#include "features/file_stream.h"
#include "features/training_set.h"

namespace cairn::features {
namespace {

db::PoolOptions pool_options(const TrainingSetOptions& options) {
  db::PoolOptions pool;
  pool.connection_string = options.connection_string;
  pool.size = 1;
  return pool;
}

// Where CSV goes. A file has its name only when it is whole.
class Output {
 public:
  Output(const std::string& name, std::ostream& out) : name_(name), out_(&out) {
    if (name == "-") return;
    partial_ = name + ".partial";
    file_.open(partial_, std::ios::binary | std::ios::trunc);
    if (!file_) throw invalid("cannot write " + partial_);
    out_ = &file_;
  }
  ~Output() {
    if (!partial_.empty()) std::remove(partial_.c_str());
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(const std::string& piece) {
    out_->write(piece.data(), static_cast<std::streamsize>(piece.size()));
    check();
  }
  void finish() {
    out_->flush();
    check();
    if (partial_.empty()) return;
    file_.close();
    check();
    std::filesystem::rename(partial_, name_);
    partial_.clear();
  }

 private:
  void check() const {
    if (!*out_)
      throw Error(ErrorCode::kInsufficientStorage, "cannot write " + (name_ == "-" ? "the output" : partial_));
  }

  std::string name_, partial_;
  std::ofstream file_;
  std::ostream* out_;
};

task<TrainingSetReport> write_to(TrainingSet& set, Output& output) {
  while (const auto piece = co_await set.next()) output.write(*piece);
  output.finish();
  co_return set.report();
}

std::string report_json(const TrainingSetReport& report) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("rows", report.rows);
  out.field("bytes", report.bytes);
  if (!report.sha256.empty()) out.field("sha256", report.sha256);
  out.end_object();
  return text;
}

// Not among the CSV, where that goes to standard output.
void print_report(const TrainingSetOptions& options, const TrainingSetReport& report, std::ostream& out) {
  std::ostream& to = options.output == "-" && !options.to_table ? std::cerr : out;
  if (options.json) {
    to << report_json(report) << "\n";
    return;
  }
  to << report.rows << " rows";
  if (options.to_table)
    to << " in table " << on_one_line(*options.to_table);
  else if (options.output != "-")
    to << " in " << on_one_line(options.output);
  if (!report.sha256.empty()) to << ", SHA-256 " << report.sha256;
  to << "\n";
}

}  // namespace

int run_training_set_create(const TrainingSetOptions& options, std::ostream& out) {
  TrainingSetRequest request;
  if (!options.name.empty()) request.name = options.name;
  request.features = options.features;
  request.feature_service = options.feature_service;
  request.full_names = options.full_names;
  request.point = {options.late_too, options.known_by};
  request.to_table = options.to_table;
  Spine spine;
  spine.query = options.query;
  spine.table = options.table;
  if (options.csv) spine.csv = std::make_unique<FileStream>(*options.csv);
  Reactor reactor;
  db::Pool pool(pool_options(options));
  const auto set = reactor.block_on(TrainingSet::make(pool, std::move(request), std::move(spine)));
  if (options.to_table) {
    print_report(options, reactor.block_on(set->finish()), out);
    return 0;
  }
  Output output(options.output, out);
  print_report(options, reactor.block_on(write_to(*set, output)), out);
  return 0;
}

int run_training_set_again(const TrainingSetOptions& options, std::ostream& out) {
  Reactor reactor;
  db::Pool pool(pool_options(options));
  const auto set = reactor.block_on(TrainingSet::again(pool, options.name));
  Output output(options.output, out);
  print_report(options, reactor.block_on(write_to(*set, output)), out);
  return 0;
}

int run_training_set_list(const TrainingSetOptions& options, std::ostream& out) {
  Reactor reactor;
  db::Pool pool(pool_options(options));
  const std::string text = reactor.block_on(list_training_sets(pool));
  if (options.json) {
    out << text << "\n";
    return 0;
  }
  const json::Document document(text);
  std::vector<std::vector<std::string>> rows = {{"training set", "rows", "made", "SHA-256"}};
  for (const auto set : document.root()["training_sets"].get_array()) {
    const auto part = [&](const char* key) { return on_one_line(std::string(set[key].get_string().value())); };
    rows.push_back({part("name"), std::to_string(set["rows"].get_int64().value()), part("created_at").substr(0, 19),
                    part("sha256").substr(0, 12)});
  }
  if (rows.size() == 1)
    out << "no training sets are kept; `cairn features training-set create NAME` keeps one\n";
  else
    print_table(out, rows);
  return 0;
}

int run_training_set_show(const TrainingSetOptions& options, std::ostream& out) {
  Reactor reactor;
  db::Pool pool(pool_options(options));
  const std::string text = reactor.block_on(show_training_set(pool, options.name));
  if (options.json) {
    out << text << "\n";
    return 0;
  }
  const json::Document document(text);
  const auto root = document.root();
  const auto list = [&](simdjson::dom::element words) {
    std::string all;
    for (const auto word : words.get_array()) all += (all.empty() ? "" : ", ") + std::string(word.get_string().value());
    return on_one_line(all.empty() ? "-" : all);
  };
  const auto specification = root["specification"];
  out << fmt::format("training set  {}\nmade          {}\nrows          {}\nSHA-256       {}\n",
                     on_one_line(options.name), root["created_at"].get_string().value(),
                     root["rows"].get_int64().value(), root["sha256"].get_string().value());
  out << "spine         " << on_one_line(simdjson::minify(specification["spine"].value())) << "\n";
  out << "features      " << list(specification["features"].value()) << "\n";
  out << "runs          " << list(root["runs"].value()) << "\n";
  return 0;
}

int run_training_set_log_input(const TrainingSetOptions& options, std::ostream& out) {
  Reactor reactor;
  db::Pool pool(pool_options(options));
  reactor.block_on(log_training_set(pool, options.name, options.run_id));
  out << "run " << on_one_line(options.run_id) << " was trained on " << on_one_line(options.name) << "\n";
  return 0;
}

int run_training_set_remove(const TrainingSetOptions& options, std::ostream& out) {
  Reactor reactor;
  db::Pool pool(pool_options(options));
  reactor.block_on(remove_training_set(pool, options.name));
  out << "removed training set " << on_one_line(options.name) << "\n";
  return 0;
}

}  // namespace cairn::features
