#include "tracking/search.h"

#include <algorithm>
#include <unordered_map>

#include "db/transaction.h"
#include "http/mlflow.h"
#include "tracking/experiments.h"
#include "tracking/filter.h"
#include "tracking/graphql.h"
#include "tracking/run_json.h"
#include "tracking/search_sql.h"

namespace cairn::tracking {
namespace {

constexpr int64_t kMostResults = 50000;
constexpr int64_t kDefaultRuns = 1000;

constexpr db::Statement kKeyIds{"search_key_ids",
                                "SELECT key_id, name FROM tracking.keys WHERE name = ANY((SELECT $1::text[])::text[])"};
constexpr db::Statement kExperiments{"search_experiments",
                                     "SELECT " CAIRN_EXPERIMENT_COLUMNS
                                     " FROM unnest($1::bigint[]) WITH ORDINALITY u (id, n) "
                                     "JOIN tracking.experiments e ON e.experiment_id = u.id ORDER BY u.n"};

// What both searches are asked.
struct Search {
  Filter filter;
  std::vector<OrderBy> order;
  std::string view;  // lifecycle_stage; empty for all
  int64_t max_results = 0;
  std::string page_token;
  std::vector<int64_t> experiment_ids;
};

// An enum's name or number, and what is neither counts as unset, as in protobuf.
std::string read_view(const json::Fields& fields, const char* name) {
  const std::string view = fields.raw(name).value_or("");
  if (view == "\"DELETED_ONLY\"" || view == "2" || view == "\"2\"") return "deleted";
  if (view == "\"ALL\"" || view == "3" || view == "\"3\"") return "";
  return "active";
}

int64_t check_max_results(int64_t value, const char* too_large) {
  const std::string message = "Invalid value " + std::to_string(value) + " for parameter 'max_results' supplied";
  if (value <= 0) throw invalid(message + ". It must be a positive integer");
  if (value > kMostResults) throw invalid(message + too_large);
  return value;
}

Search read_search(const http::Request& request, Subject subject) {
  const http::Arguments fields(request);
  Search search;
  if (subject == Subject::kRuns) {
    search.max_results = check_max_results(
        fields->integer("max_results").value_or(kDefaultRuns),
        ":  Hint: Value was of type 'int'. See the API docs for more information about request parameters.");
    for (const std::string& id : fields->strings("experiment_ids")) {
      search.experiment_ids.push_back(parse_experiment_id(id));
    }
    leave_out_hidden(search.experiment_ids, request);
    search.view = read_view(*fields, "run_view_type");
  } else {
    search.max_results = check_max_results(fields->integer("max_results").value_or(0), ". It must be at most 50000");
    search.view = read_view(*fields, "view_type");
  }
  search.filter = parse_filter(subject, fields->string("filter").value_or(""));
  search.order = parse_order_by(subject, fields->strings("order_by"));
  search.page_token = fields->string("page_token").value_or("");
  return search;
}

struct Page {
  std::vector<int64_t> ids;
  std::string next_token;  // empty on the last page
};

// A name under which the text is prepared once a connection: parsing and planning cost a millisecond. Clients ask in a
// few shapes again and again; more than these are parsed each time, so that connections do not grow. Reactor's thread.
std::string_view statement_name(const std::string& sql) {
  constexpr size_t kMostShapes = 100;
  static std::unordered_map<std::string, std::string> names;
  const auto known = names.find(sql);
  if (known != names.end()) return known->second;
  if (names.size() == kMostShapes) return "";
  return names.emplace(sql, "search_" + std::to_string(names.size())).first->second;
}

// Asks for one row more than wanted, to know whether there is a next page.
task<Page> read_page(db::Transaction& transaction, const Search& search, SearchQuery query) {
  query.where(search.filter);
  query.order_by(search.order);
  if (!search.page_token.empty()) query.after(search.page_token);
  const std::string sql = query.sql(search.max_results + 1);
  const db::Rows rows = co_await transaction.query({statement_name(sql), sql}, query.take_params());
  Page page;
  for (int i = 0; i < rows.size() && i < search.max_results; ++i) page.ids.push_back(rows.integer(i, 0));
  if (rows.size() > search.max_results) page.next_token = query.token(rows, static_cast<int>(search.max_results) - 1);
  co_return page;
}

}  // namespace

void leave_out_hidden(std::vector<int64_t>& experiment_ids, const http::Request& request) {
  std::erase_if(experiment_ids, [&](int64_t id) {
    return std::ranges::find(request.hidden, std::to_string(id)) != request.hidden.end();
  });
}

task<KeyIds> find_keys(db::Transaction& transaction, const Filter& filter, const std::vector<OrderBy>& order) {
  const std::vector<std::string> names = SearchQuery::key_names(filter, order);
  KeyIds keys;
  if (names.empty()) co_return keys;
  const db::Rows rows = co_await transaction.query(kKeyIds, db::Params::of(names));
  for (int i = 0; i < rows.size(); ++i) keys.emplace(rows.text(i, 1), static_cast<int32_t>(rows.integer(i, 0)));
  co_return keys;
}

task<http::Response> search_runs(db::Pool& pool, http::Request& request) {
  const RunExtras extras = graphql_extras(request);
  const Search search = read_search(request, Subject::kRuns);
  if (search.experiment_ids.empty()) co_return http::json_response("{}");
  std::string next_token;
  auto body = [&](db::Transaction& transaction) -> task<std::vector<RunView>> {
    SearchQuery query(Subject::kRuns, co_await find_keys(transaction, search.filter, search.order));
    // One experiment is compared with =: only then can the index give the runs in order.
    query.where(search.experiment_ids.size() == 1
                    ? "r.experiment_id = " + query.bind(search.experiment_ids[0])
                    : "r.experiment_id = ANY (" + query.bind(search.experiment_ids) + ")");
    if (!search.view.empty()) query.where("r.lifecycle_stage = " + query.bind(search.view));
    Page page = co_await read_page(transaction, search, std::move(query));
    next_token = std::move(page.next_token);
    std::vector<RunView> found = co_await load_runs(transaction, page.ids);
    co_await load_run_extras(transaction, found, extras);
    co_return found;
  };
  const std::vector<RunView> runs = co_await db::with_transaction(pool, db::Isolation::kRepeatableReadOnly, body);
  std::string out;
  json::Writer writer(out);
  writer.begin_object();
  if (!runs.empty()) {
    writer.key("runs");
    writer.begin_array();
    for (const RunView& run : runs) write_run(writer, run);
    writer.end_array();
  }
  if (!next_token.empty()) writer.field("next_page_token", next_token);
  writer.end_object();
  co_return http::json_response(std::move(out));
}

task<http::Response> search_experiments(db::Pool& pool, http::Request& request) {
  const Search search = read_search(request, Subject::kExperiments);
  std::string next_token;
  auto body = [&](db::Transaction& transaction) -> task<db::Rows> {
    SearchQuery query(Subject::kExperiments, KeyIds());
    query.where(search.view.empty() ? "TRUE" : "e.lifecycle_stage = " + query.bind(search.view));
    if (!request.hidden.empty()) query.where("e.experiment_id::text <> ALL (" + query.bind(request.hidden) + ")");
    Page page = co_await read_page(transaction, search, std::move(query));
    next_token = std::move(page.next_token);
    co_return co_await transaction.query(kExperiments, db::Params::of(page.ids));
  };
  const db::Rows rows = co_await db::with_transaction(pool, db::Isolation::kRepeatableReadOnly, body);
  std::string out;
  json::Writer writer(out);
  writer.begin_object();
  if (!rows.empty()) {
    writer.key("experiments");
    writer.begin_array();
    for (int i = 0; i < rows.size(); ++i) write_experiment(writer, rows, i);
    writer.end_array();
  }
  if (!next_token.empty()) writer.field("next_page_token", next_token);
  writer.end_object();
  co_return http::json_response(std::move(out));
}

void register_search_routes(http::Router& router, db::Pool& pool) {
  const http::Handler runs = [&pool](http::Request& request) { return search_runs(pool, request); };
  const http::Handler experiments = [&pool](http::Request& request) { return search_experiments(pool, request); };
  http::add_mlflow_route(router, "POST", "/mlflow/runs/search", runs);
  http::add_mlflow_route(router, "POST", "/mlflow/experiments/search", experiments);
  http::add_mlflow_route(router, "GET", "/mlflow/experiments/search", experiments);
}

}  // namespace cairn::tracking
