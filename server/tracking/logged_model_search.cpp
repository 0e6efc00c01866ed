#include "tracking/logged_model_search.h"

#include "db/transaction.h"
#include "http/mlflow.h"
#include "tracking/experiments.h"
#include "tracking/filter.h"
#include "tracking/logged_model_json.h"
#include "tracking/search.h"
#include "tracking/search_sql.h"

namespace cairn::tracking {
namespace {

constexpr int64_t kDefaultResults = 100;
constexpr int64_t kMostResults = 50000;
constexpr size_t kMostFields = 16;
constexpr size_t kMostDatasets = 100;

struct ModelSearch {
  std::vector<int64_t> experiment_ids;
  Filter filter;
  std::vector<DatasetName> datasets;
  std::vector<OrderBy> order;
  int64_t max_results = kDefaultResults;
  std::string page_token;
};

int64_t read_max_results(const json::Fields& fields) {
  const int64_t value = fields.integer("max_results").value_or(0);
  if (value == 0) return kDefaultResults;  // protobuf's word for unset
  if (value > 0 && value <= kMostResults) return value;
  throw invalid("Invalid value " + std::to_string(value) + " for parameter 'max_results' supplied. It must be " +
                (value < 0 ? "a positive integer." : "at most " + std::to_string(kMostResults) + "."));
}

DatasetName read_dataset(const json::Fields& fields) {
  return {fields.string("dataset_name").value_or(""), fields.string("dataset_digest").value_or("")};
}

ModelSearch read_search(const http::Request& request) {
  const http::Arguments fields(request);
  ModelSearch search;
  if (!fields->has("experiment_ids")) fields->required_string("experiment_ids");
  for (const std::string& id : fields->strings("experiment_ids")) {
    search.experiment_ids.push_back(parse_experiment_id(id));
  }
  leave_out_hidden(search.experiment_ids, request);
  search.filter = parse_filter(Subject::kLoggedModels, fields->string("filter").value_or(""));
  for (const json::Fields& dataset : fields->objects("datasets")) {
    search.datasets.push_back(read_dataset(dataset));
    if (search.datasets.back().name.empty())
      throw invalid("`dataset_name` in the `datasets` clause must be specified.");
  }
  for (const json::Fields& by : fields->objects("order_by")) {
    OrderBy order = parse_model_order(by.string("field_name").value_or(""), !by.boolean("ascending").value_or(true));
    order.dataset = read_dataset(by);
    search.order.push_back(std::move(order));
  }
  if (search.order.size() > kMostFields) throw invalid("Invalid order_by: it has more than 16 fields.");
  if (search.datasets.size() > kMostDatasets) throw invalid("Invalid datasets: there are more than 100.");
  search.max_results = read_max_results(*fields);
  search.page_token = fields->string("page_token").value_or("");
  return search;
}

struct Page {
  LoggedModels models;
  std::string next_token;  // empty on the last page
};

// Asks for one row more than wanted, to know whether there is a next page.
task<Page> read_page(db::Transaction& transaction, const ModelSearch& search) {
  SearchQuery query(Subject::kLoggedModels, co_await find_keys(transaction, search.filter, search.order));
  // One experiment is compared with =: only then can the index give the models in order.
  query.where(search.experiment_ids.size() == 1 ? "l.experiment_id = " + query.bind(search.experiment_ids[0])
                                                : "l.experiment_id = ANY (" + query.bind(search.experiment_ids) + ")");
  query.where("l.lifecycle_stage = 'active'");
  query.only_on(search.datasets);
  query.where(search.filter);
  query.order_by(search.order);
  if (!search.page_token.empty()) query.after(search.page_token);
  const std::string sql = query.sql(search.max_results + 1);
  const db::Rows rows = co_await transaction.query({"", sql}, query.take_params());
  std::vector<std::string> ids;
  for (int i = 0; i < rows.size() && i < search.max_results; ++i) ids.push_back(rows.text(i, 0));
  std::string token;
  if (rows.size() > search.max_results) token = query.token(rows, static_cast<int>(search.max_results) - 1);
  LoggedModels models = co_await load_logged_models(transaction, ids);
  co_return Page{std::move(models), std::move(token)};
}

task<http::Response> search_models(db::Pool& pool, http::Request& request) {
  const ModelSearch search = read_search(request);
  if (search.experiment_ids.empty()) co_return http::json_response("{}");
  auto body = [&](db::Transaction& transaction) { return read_page(transaction, search); };
  const Page page = co_await db::with_transaction(pool, db::Isolation::kRepeatableReadOnly, body);
  http::Response response;
  json::Writer writer(response.body);
  writer.begin_object();
  if (!page.models.models.empty()) {
    writer.key("models");
    write_logged_models(writer, page.models);
  }
  if (!page.next_token.empty()) writer.field("next_page_token", page.next_token);
  writer.end_object();
  co_return response;
}

}  // namespace

void register_logged_model_search(http::Router& router, db::Pool& pool) {
  http::add_mlflow_route(router, "POST", "/mlflow/logged-models/search",
                         [&pool](http::Request& request) { return search_models(pool, request); });
}

}  // namespace cairn::tracking
