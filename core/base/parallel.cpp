#include "base/parallel.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>

namespace cairn::core {
namespace {

constexpr int kThreadsMax = 64;

struct Job {
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  size_t count;
  size_t chunk;
  void (*work)(void* context, size_t begin, size_t end);
  void* context;

  // False when nothing is left.
  bool step() {
    const size_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
    if (begin >= count) return false;
    work(context, begin, std::min(begin + chunk, count));
    return true;
  }
};

void* run(void* argument) {
  Job* job = static_cast<Job*>(argument);
  while (!job->stop.load(std::memory_order_relaxed) && job->step()) {
  }
  return nullptr;
}

int start_threads(Job* job, int wanted, pthread_t* threads) {
  // A new thread inherits the mask: signals are for the backend's own thread.
  sigset_t all;
  sigset_t old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int started = 0;
  while (started < wanted && pthread_create(&threads[started], nullptr, run, job) == 0) ++started;
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  return started;
}

}  // namespace

void parallel_for(const Workers& workers, size_t count, size_t chunk,
                  void (*work)(void* context, size_t begin, size_t end), void* context) {
  Job job;
  job.count = count;
  job.chunk = chunk;
  job.work = work;
  job.context = context;
  bool more = count > 0;
  while (more) {
    pthread_t threads[kThreadsMax];
    const size_t chunks = (count + chunk - 1) / chunk;
    const int wanted =
        std::min({workers.threads - 1, kThreadsMax, static_cast<int>(std::min<size_t>(chunks - 1, kThreadsMax))});
    const int started = start_threads(&job, wanted, threads);
    bool interrupted = false;
    while (!interrupted && (more = job.step())) interrupted = workers.interrupted != nullptr && workers.interrupted();
    job.stop = interrupted;
    for (int i = 0; i < started; ++i) pthread_join(threads[i], nullptr);
    job.stop = false;
    if (interrupted) workers.check();
  }
}

}  // namespace cairn::core
