#include "http/transfer.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/reactor.h"

namespace cairn::http {
namespace {

using Clock = std::chrono::steady_clock;

// What libcurl knows of one request.
struct State {
  std::string body;
  size_t max_answer = 0;
  bool too_large = false;
  bool done = false;
  CURLcode code = CURLE_OK;
};

size_t receive(char* bytes, size_t size, size_t count, void* state) {
  auto& to = *static_cast<State*>(state);
  to.too_large = to.body.size() + size * count > to.max_answer;
  if (to.too_large) return 0;  // ends the transfer
  to.body.append(bytes, size * count);
  return size * count;
}

// This thread's transfers, with the connections that they share.
class Transfers {
 public:
  Transfers() {
    static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
    multi_ = started == CURLE_OK ? curl_multi_init() : nullptr;
    if (multi_ == nullptr) throw Error(ErrorCode::kInternalError, "libcurl cannot be started");
  }
  ~Transfers() { curl_multi_cleanup(multi_); }
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;

  static Transfers& of_this_thread() {
    thread_local Transfers transfers;
    return transfers;
  }

  // Moves every transfer on as far as it goes without waiting.
  void run() {
    int left = 0;
    curl_multi_perform(multi_, &left);
    while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      State* state = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &state);
      state->code = message->data.result;
      state->done = true;
    }
  }

  CURLM* multi() { return multi_; }

 private:
  CURLM* multi_;
};

// A request under way; taken back when it is destroyed.
class Handle {
 public:
  Handle(const Transfer& transfer, State& state) : easy_(curl_easy_init()) {
    for (const std::string& header : transfer.headers) headers_ = curl_slist_append(headers_, header.c_str());
    curl_easy_setopt(easy_, CURLOPT_PRIVATE, &state);
    curl_easy_setopt(easy_, CURLOPT_URL, transfer.url.c_str());
    curl_easy_setopt(easy_, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, headers_);
    curl_easy_setopt(easy_, CURLOPT_USERAGENT, "cairn");
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(transfer.body.size()));
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDS, transfer.body.data());
    curl_easy_setopt(easy_, CURLOPT_WRITEFUNCTION, &receive);
    curl_easy_setopt(easy_, CURLOPT_WRITEDATA, &state);
    curl_easy_setopt(easy_, CURLOPT_TIMEOUT_MS, static_cast<long>(transfer.timeout.count()));
    curl_easy_setopt(easy_, CURLOPT_CONNECTTIMEOUT_MS,
                     static_cast<long>(std::min<int64_t>(transfer.timeout.count(), 10'000)));
    curl_easy_setopt(easy_, CURLOPT_NOSIGNAL, 1L);
    curl_multi_add_handle(Transfers::of_this_thread().multi(), easy_);
  }
  ~Handle() {
    curl_multi_remove_handle(Transfers::of_this_thread().multi(), easy_);
    curl_easy_cleanup(easy_);
    curl_slist_free_all(headers_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  int status() const {
    long status = 0;
    curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
    return static_cast<int>(status);
  }
  std::optional<std::chrono::seconds> retry_after() const {
    curl_off_t seconds = 0;
    curl_easy_getinfo(easy_, CURLINFO_RETRY_AFTER, &seconds);
    return seconds > 0 ? std::optional(std::chrono::seconds(seconds)) : std::nullopt;
  }

 private:
  CURL* easy_;
  curl_slist* headers_ = nullptr;
};

std::string failure_of(const State& state, const Transfer& transfer) {
  if (state.too_large) return "it answered with more than " + std::to_string(transfer.max_answer >> 20) + " MiB";
  if (state.code == CURLE_OPERATION_TIMEDOUT)
    return "it did not answer within " + std::to_string((transfer.timeout.count() + 999) / 1000) + " s";
  return curl_easy_strerror(state.code);
}

}  // namespace

task<TransferResult> post_json(Transfer transfer) {
  using namespace std::chrono_literals;
  transfer.headers.emplace_back("Content-Type: application/json");
  transfer.headers.emplace_back("Expect:");  // would cost a round trip, and not every server knows it
  State state;
  state.max_answer = transfer.max_answer;
  const Handle handle(transfer, state);
  const auto start = Clock::now();
  for (;;) {
    Transfers::of_this_thread().run();
    if (state.done) break;
    // An eighth of what it took so far: at most that much later than it could be.
    const auto pause = std::clamp<Clock::duration>((Clock::now() - start) / 8, 500us, 20ms);
    co_await sleep_for(pause);
  }
  TransferResult result;
  if (state.code != CURLE_OK) {
    result.failure = failure_of(state, transfer);
    result.can_repeat = !state.too_large && state.code != CURLE_UNSUPPORTED_PROTOCOL &&
                        state.code != CURLE_URL_MALFORMAT && state.code != CURLE_PEER_FAILED_VERIFICATION;
    co_return result;
  }
  result.status = handle.status();
  result.retry_after = handle.retry_after();
  result.body = std::move(state.body);
  co_return result;
}

}  // namespace cairn::http
