// Threads of the library's own. They are started once and sleep between updates. The caller never waits for one to wake
// up: work is handed out in small parts, so a thread that comes late, or that has no processor, leaves them to the
// others.
#include "pool.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif

namespace rmsprop {
namespace {

// Below this many elements, waking a thread costs more than it saves.
constexpr int64_t kWorthWaking = 256 * 1024;
// Parts small enough that threads end together, and large enough that taking one costs nothing.
constexpr int64_t kSmallestPart = 16 * 1024;
constexpr int64_t kPartsPerThread = 16;

struct Job {
  int64_t total, part;
  rmsprop_body body;
  void* context;
  std::atomic<int64_t> next{0};

  void take_parts() {
    for (int64_t begin; (begin = next.fetch_add(part, std::memory_order_relaxed)) < total;)
      body(begin, std::min(begin + part, total), context);
  }
};

// Signals are for the threads of the program that runs this.
class AllSignalsBlocked {
#if !defined(_WIN32)
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
#endif
};

class Pool {
 public:
  // Runs a job with up to `helpers` of the pool's threads; false if another caller has them.
  bool run(Job& job, int32_t helpers) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (busy_) return false;
    busy_ = true;
    start(helpers);
    job_ = &job;
    seats_ = helpers;
    lock.unlock();
    for (int32_t i = 0; i < helpers; ++i) wake_.notify_one();
    job.take_parts();
    lock.lock();
    job_ = nullptr;
    done_.wait(lock, [this] { return helping_ == 0; });
    busy_ = false;  // only now: with a second caller in between, both would wait for one notification
    return true;
  }

 private:
  void start(int32_t threads) {
    if (started_ >= threads) return;
    [[maybe_unused]] const AllSignalsBlocked inherited_by_new_threads;
    try {
      for (; started_ < threads; ++started_) std::thread(&Pool::help, this).detach();
    } catch (const std::exception&) {
      // No more threads to be had: those that there are do the work.
    }
  }

  void help() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return job_ != nullptr && seats_ > 0; });
      Job& job = *job_;
      --seats_;
      ++helping_;
      lock.unlock();
      job.take_parts();
      lock.lock();
      if (--helping_ == 0) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  bool busy_ = false;
  Job* job_ = nullptr;
  int32_t seats_ = 0, helping_ = 0, started_ = 0;
};

// Never deleted: its threads may be asleep in it when the process ends.
std::atomic<Pool*> instance = nullptr;

Pool& pool() {
  static const bool once = [] {
    instance = new Pool;
#if !defined(_WIN32)
    pthread_atfork(nullptr, nullptr, [] { instance = new Pool; });  // a child inherits the memory, but not the threads
#endif
    return true;
  }();
  static_cast<void>(once);
  return *instance;
}

}  // namespace

void run_on_pool(int64_t total, int32_t threads, rmsprop_body body, void* context) {
  const int64_t useful = std::min<int64_t>(threads, total / kSmallestPart);
  if (useful > 1 && total >= kWorthWaking) {
    Job job{total, std::max(kSmallestPart, total / (kPartsPerThread * useful)), body, context};
    if (pool().run(job, static_cast<int32_t>(useful - 1))) return;
  }
  body(0, total, context);
}

}  // namespace rmsprop
