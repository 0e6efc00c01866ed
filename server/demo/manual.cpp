#include "demo/manual.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/error.h"

namespace cairn::demo {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kFolder = "/usr/share/doc/postgresql-doc-15/html";
constexpr size_t kBatchBytes = 4 << 20;

struct Question {
  const char* text;
  const char* page;  // that answers it
};
constexpr Question kQuestions[] = {
    {"see the plan of a slow query", "using-explain.html"},
    {"find the rows nearest to a value with an index", "indexes-ordering.html"},
    {"recover to a moment before a table was dropped", "continuous-archiving.html"},
    {"deadlock of two transactions that wait for each other", "explicit-locking.html"},
    {"make old deleted rows give their space back", "routine-vacuuming.html"},
};
constexpr size_t kLooked = 5;
constexpr size_t kGood = 3;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// All pages, some megabytes a request.
size_t ingest(Client& client) {
  std::vector<fs::path> pages;
  for (const auto& entry : fs::directory_iterator(kFolder))
    if (entry.path().extension() == ".html") pages.push_back(entry.path());
  std::ranges::sort(pages);
  std::string documents;
  const auto send = [&] {
    if (documents.empty()) return;
    documents.back() = ']';
    client.post("/api/v1/collections/manual/documents", R"({"documents":[)" + documents + "}");
    documents.clear();
  };
  for (const fs::path& page : pages) {
    documents += fmt::format(R"({{"source":{},"format":"html","content":{}}},)", json::quote(page.filename().string()),
                             json::quote(read(page)));
    if (documents.size() > kBatchBytes) send();
  }
  send();
  return pages.size();
}

}  // namespace

bool manual_available() { return fs::is_directory(kFolder); }

void search_manual(Client& client, bool vectors, Step& step) {
  client.post("/api/v1/collections",
              fmt::format(R"({{"name":"manual","embedder":{{"kind":"{}"}}}})", vectors ? "local" : "none"));
  const auto start = Clock::now();
  const size_t pages = ingest(client);
  const double ingest_s = ms_since(start) / 1000;
  const json::Document shown(client.get("/api/v1/collections/manual"));
  std::vector<double> times;
  size_t good = 0;
  step.table = Table{{"question", "place", "best pages"}, {}};
  for (const Question& question : kQuestions) {
    const auto asked = Clock::now();
    const json::Document answer(client.post("/api/v1/collections/manual/search",
                                            fmt::format(R"({{"query":{},"k":20}})", json::quote(question.text))));
    times.push_back(ms_since(asked));
    std::vector<std::string> found;
    for (const auto hit : simdjson::dom::array(answer.root()["results"])) {
      const std::string page{std::string_view(hit["source"])};
      if (std::ranges::find(found, page) == found.end()) found.push_back(page);
    }
    found.resize(std::min(found.size(), kLooked));
    const auto at = std::ranges::find(found, question.page);
    if (at != found.end()) ++good;
    std::string names;
    for (size_t i = 0; i < std::min<size_t>(found.size(), 3); ++i)
      names += (names.empty() ? "" : ", ") + fs::path(found[i]).stem().string();
    step.table->rows.push_back(
        {question.text, at == found.end() ? std::nullopt : std::optional(std::to_string(at - found.begin() + 1)),
         names});
  }
  std::ranges::sort(times);
  step.figure("pages", pages);
  step.figure("ingest_s", ingest_s);
  step.figure("search_ms", times[times.size() / 2]);
  step.figure("answered", good);
  // By words alone a page that has others is not found.
  require(good >= (vectors ? kGood : 1), fmt::format("only {} of {} questions have their page among the first {}", good,
                                                     std::size(kQuestions), kLooked));
  step.summary = fmt::format(
      "PostgreSQL's manual, {} pages, taken in within {:.1f} s; {} of {} questions have their page among the first {}, "
      "{:.1f} ms each",
      with_commas(static_cast<int64_t>(pages)), ingest_s, good, std::size(kQuestions), kLooked,
      times[times.size() / 2]);
}

}  // namespace cairn::demo
