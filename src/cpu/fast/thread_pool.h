#pragma once
// A pool of threads for many short parallel regions: workers spin for a bounded time after each region, then sleep. A
// region of a spinning pool costs well under a microsecond; condition variables alone would cost six.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

namespace rl::cpu {

// The logical processors this process may run on (its affinity mask), one of each physical core first, then their
// siblings.
struct Processors {
  std::vector<int> ids;
  int cores = 1;  // how many physical cores they are, at most what the control group's CPU quota allows
};
Processors available_processors();

class ThreadPool {
 public:
  // `threads` in all, the caller's included; each worker pins itself to a core of the process's affinity mask if there
  // are at least as many processors as threads. The first processor is left to the caller, which is not pinned, but
  // moved off a worker's processor where it is found on one.
  // `first` is given for a pool beside others: it has the processors from that number of available_processors() on, and
  // its caller is moved off all that are not its own. A pool of one thread moves nobody.
  explicit ThreadPool(int threads, std::optional<int> first = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;
  // Calls task(thread) for thread = 0 .. threads-1, 0 on the calling thread; returns when all are done. What a worker
  // has not begun when the caller is done with its part, the caller does: parts must not wait for each other. The task
  // must not throw, nor start a region of this pool. One region at a time: regions from different threads are run one
  // after the other.
  template <class F>
  void run(F&& task) {
    run_erased([](void* f, int thread) { (*static_cast<std::remove_reference_t<F>*>(f))(thread); },
               const_cast<std::remove_const_t<std::remove_reference_t<F>>*>(&task));
  }
  // Splits [0, n) into blocks of `grain` and gives each thread a consecutive share: f(begin, end). Static, so results
  // do not depend on timing.
  template <class F>
  void parallel_for(std::int64_t n, std::int64_t grain, F&& f);

 private:
  void run_erased(void (*call)(void*, int), void* task);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

template <class F>
void ThreadPool::parallel_for(std::int64_t n, std::int64_t grain, F&& f) {
  const std::int64_t blocks = (n + grain - 1) / grain;
  const std::int64_t workers = threads();
  if (blocks <= 1 || workers == 1) {
    if (n > 0) f(std::int64_t{0}, n);
    return;
  }
  run([&](int thread) {
    const std::int64_t begin = blocks * thread / workers * grain;
    const std::int64_t end = std::min(n, blocks * (thread + 1) / workers * grain);
    if (begin < end) f(begin, end);
  });
}

}  // namespace rl::cpu
