#include "search/endpoint.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>
#include <sstream>

#include "base/config.h"
#include "base/error.h"
#include "base/json.h"
#include "base/reactor.h"
#include "http/transfer.h"

namespace cairn::search {
namespace {

using Clock = std::chrono::steady_clock;
using http::post_json;
using http::Transfer;
using http::TransferResult;
using std::chrono::milliseconds;

constexpr const char* kOpenAi = "https://api.openai.com/v1";
// A request: what every endpoint takes (OpenAI's bound is 300,000 tokens), and small enough to be asked again cheaply.
constexpr size_t kBatchTexts = 96;
constexpr size_t kBatchBytes = 256u << 10;
constexpr int kMaxAtOnce = 4;
// Who asks to wait for longer is told so instead.
constexpr milliseconds kLongestDelay = std::chrono::seconds(60);

// What all requests to an endpoint keep to.
struct Traffic {
  int at_once = 0;
  Clock::time_point not_before{};
};

Traffic& traffic_to(const std::string& base_url) {
  thread_local std::map<std::string, Traffic> endpoints;
  return endpoints[base_url];
}

// One of the requests that are at an endpoint at once.
class Turn {
 public:
  explicit Turn(Traffic& traffic) : traffic_(traffic) { ++traffic_.at_once; }
  ~Turn() { --traffic_.at_once; }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Traffic& traffic_;
};

std::string request_body(const std::string& model, const std::vector<std::string>& texts) {
  std::string body;
  json::Writer writer(body);
  writer.begin_object();
  writer.field("model", model);
  writer.key("input");
  writer.begin_array();
  for (const std::string& text : texts) writer.string(text);
  writer.end_array();
  writer.end_object();
  return body;
}

struct Complaint {
  std::string message;
  std::string code;
};

// {"error": {"message": …, "code": …}}, {"error": "…"}, {"message": "…"}, or whatever else was answered.
Complaint complaint_of(const std::string& body) {
  Complaint complaint;
  try {
    const json::Document document(body);
    const json::Fields fields = json::root_fields(document);
    if (const auto raw = fields.find("error"); raw && raw->is_object()) {
      const json::Fields error(raw->get_object().value());
      complaint.message = error.raw("message").value_or("");
      complaint.code = error.raw("code").value_or("");
    } else {
      complaint.message = fields.raw("error").value_or(fields.raw("message").value_or(""));
    }
  } catch (const Error&) {
  }
  if (complaint.message.empty()) complaint.message = body;
  complaint.message.resize(std::min<size_t>(complaint.message.size(), 300));
  return complaint;
}

std::string without(std::string text, const std::string& secret) {
  if (secret.empty()) return text;
  for (size_t at = 0; (at = text.find(secret, at)) != text.npos;) text.replace(at, secret.size(), "***");
  return text;
}

std::string checked_url(std::string url) {
  const size_t scheme = url.starts_with("https://") ? 8 : url.starts_with("http://") ? 7 : 0;
  while (url.ends_with('/')) url.pop_back();
  if (scheme == 0 || url.size() <= scheme || url.size() > 2000 || url.find_first_of("@?#") != url.npos ||
      std::ranges::any_of(url, [](unsigned char c) { return c <= ' ' || c >= 0x7F; }))
    throw invalid(
        "base_url must be the address of an OpenAI-style API, like https://api.openai.com/v1 or "
        "http://localhost:8080/v1, without a user, a query or a fragment; a key comes from OPENAI_API_KEY");
  if (url.find('/', scheme) == url.npos) url += "/v1";
  return url;
}

bool may_try_again(const TransferResult& result) {
  if (!result.failure.empty()) return result.can_repeat;
  return result.status == 408 || result.status == 429 || result.status >= 500;
}

// OpenAI's word for an account without money: no waiting helps.
bool is_quota(const TransferResult& result) {
  return result.status == 429 && complaint_of(result.body).code.find("insufficient_quota") != std::string::npos;
}

std::string problem_of(const TransferResult& result) {
  if (!result.failure.empty())
    return "did not work: " + result.failure + "; see that it runs, and that base_url is right";
  const std::string said = " (HTTP " + std::to_string(result.status) + "): " + complaint_of(result.body).message;
  if (result.status == 401 || result.status == 403)
    return "refused the key" + said + "; OPENAI_API_KEY is sent to OPENAI_BASE_URL only: set both for the server";
  if (result.status == 404)
    return "knows no such model or address" + said + "; see the collection's model and base_url";
  if (is_quota(result)) return "has no quota left" + said + "; see the account, then try again";
  if (result.status == 429) return "is asked too often" + said + "; try again later";
  if (result.status >= 500) return "failed" + said + "; try again later";
  return "refused the request" + said;
}

}  // namespace

const std::map<std::string, std::string>& endpoint_environment() {
  static const std::map<std::string, std::string> environment = [] {
    std::map<std::string, std::string> variables = process_environment();
    if (std::ifstream in(".env"); in) {
      std::ostringstream text;
      text << in.rdbuf();
      variables.merge(parse_env_file(text.str(), ".env"));
    }
    return variables;
  }();
  return environment;
}

EndpointOptions endpoint_options(const EmbedderSettings& settings,
                                 const std::map<std::string, std::string>& environment) {
  const auto variable = [&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? std::string() : found->second;
  };
  const std::string trusted = checked_url(variable("OPENAI_BASE_URL").empty() ? kOpenAi : variable("OPENAI_BASE_URL"));
  EndpointOptions options;
  options.base_url = settings.base_url.empty() ? trusted : checked_url(settings.base_url);
  options.model = settings.model;
  if (options.model.empty()) throw invalid("an endpoint needs the name of a model, like text-embedding-3-small");
  if (options.base_url == trusted) options.key = variable("OPENAI_API_KEY");
  if (options.key.find_first_of("\r\n") != std::string::npos)
    throw invalid("OPENAI_API_KEY holds a line's end: set it without");
  options.dimension = settings.dimension;
  options.normalise = settings.metric == "cosine";
  return options;
}

std::string EndpointEmbedder::name() const { return "openai:" + options_.model + "@" + options_.base_url; }

std::string EndpointEmbedder::who() const { return "the embedding endpoint " + options_.base_url + "/embeddings"; }

task<std::vector<std::vector<float>>> EndpointEmbedder::embed(std::vector<std::string> texts) {
  std::vector<std::vector<float>> vectors;
  std::vector<std::string> batch;
  size_t bytes = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    bytes += texts[i].size();
    batch.push_back(std::move(texts[i]));
    if (i + 1 < texts.size() && batch.size() < kBatchTexts && bytes + texts[i + 1].size() <= kBatchBytes) continue;
    std::vector<std::vector<float>> some = co_await embed_batch(std::move(batch));
    if (!vectors.empty() && some[0].size() != vectors[0].size())
      throw invalid(who() + " gave vectors of " + std::to_string(vectors[0].size()) + " numbers, then of " +
                    std::to_string(some[0].size()) + ": its model changed meanwhile; begin anew");
    std::ranges::move(some, std::back_inserter(vectors));
    batch.clear();
    bytes = 0;
  }
  co_return vectors;
}

task<std::vector<std::vector<float>>> EndpointEmbedder::embed_batch(std::vector<std::string> texts) {
  const size_t count = texts.size();
  std::string answer = co_await ask(request_body(options_.model, texts));
  auto read = [this, &answer, count] {
    std::vector<std::vector<float>> vectors = parse_embeddings(answer, count);
    check(vectors);
    return vectors;
  };
  auto reading = offload(read);
  try {
    co_return co_await reading;
  } catch (const Error& error) {
    throw Error(error.code(), who() + " gave no usable answer: " + error.what() +
                                  "; is base_url an OpenAI-style API, and '" + options_.model +
                                  "' its embedding model?");
  }
}

void EndpointEmbedder::check(std::vector<std::vector<float>>& vectors) const {
  for (std::vector<float>& vector : vectors) {
    if (options_.dimension != 0 && vector.size() != static_cast<size_t>(options_.dimension))
      throw invalid("its vectors have " + std::to_string(vector.size()) + " numbers, the collection's " +
                    std::to_string(options_.dimension) + ": make a collection of that dimension");
    if (!options_.normalise) continue;
    double squares = 0;
    for (const float x : vector) squares += double{x} * x;
    if (squares == 0) throw invalid("a vector is all zeros, which has no cosine");
    for (float& x : vector) x = static_cast<float>(x / std::sqrt(squares));
  }
}

// The body of an answer of 200.
task<std::string> EndpointEmbedder::ask(std::string body) {
  Transfer request;
  request.url = options_.base_url + "/embeddings";
  if (!options_.key.empty()) request.headers.push_back("Authorization: Bearer " + options_.key);
  request.timeout = options_.timeout;
  request.body = std::move(body);
  Traffic& traffic = traffic_to(options_.base_url);
  static thread_local std::minstd_rand jitter(std::random_device{}());
  for (int attempt = 1;; ++attempt) {
    while (traffic.at_once >= kMaxAtOnce || Clock::now() < traffic.not_before) co_await sleep_for(milliseconds(5));
    TransferResult result;
    {
      const Turn turn(traffic);
      result = co_await post_json(request);
    }
    if (result.failure.empty() && result.status == 200) co_return std::move(result.body);
    const std::string problem = without(problem_of(result), options_.key);
    if (!may_try_again(result)) throw invalid(who() + " " + problem);
    const milliseconds asked = result.retry_after.value_or(std::chrono::seconds(0));
    if (attempt >= options_.tries || asked > kLongestDelay || is_quota(result))
      throw Error(ErrorCode::kTemporarilyUnavailable,
                  who() + " " + problem + "; tried " + std::to_string(attempt) + " times");
    const double spread = 0.75 + 0.5 * (jitter() % 1000) / 1000;
    const auto own =
        milliseconds(static_cast<int64_t>(spread * double(options_.first_delay.count() << std::min(attempt - 1, 10))));
    const milliseconds delay = std::max(asked, std::min(own, kLongestDelay));
    if (result.status == 429) traffic.not_before = std::max(traffic.not_before, Clock::now() + delay);
    co_await sleep_for(delay);
  }
}

}  // namespace cairn::search
