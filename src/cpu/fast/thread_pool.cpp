#include "cpu/fast/thread_pool.h"

#include <condition_variable>
#include <fstream>
#include <mutex>
#include <thread>

#include <sched.h>

#include "base/clock.h"
#include "base/result.h"

namespace rl::cpu {
namespace {

// How long a thread waits before it goes to sleep. The engine's regions follow each other within microseconds, the
// host's work of a step (scheduler, tokenizer) within tens of them; whoever waits longer is idle, or waits for a thread
// whose core other programs use. There is no phase of sched_yield: on Linux 6.18 each call gives away a whole time
// slice to whoever else is runnable, and a few of them cost a region 5 ms (measured: products at half their speed).
constexpr Seconds kSpin{200e-6};

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until done() or until the time for spinning is over; true if done. On a machine with fewer processors than
// threads the one waited for may need this very core: no spinning.
template <class Done>
bool spin_until(Done&& done, bool crowded) {
  constexpr int kLooks = 64;  // between two readings of the clock, which costs 25 ns
  const auto look = [&] {
    for (int i = 0; i < kLooks; ++i) {
      if (done()) return true;
      pause();
    }
    return false;
  };
  if (look()) return true;
  if (crowded) return done();
  const Seconds end = monotonic_now() + kSpin;
  while (monotonic_now() < end)
    if (look()) return true;
  return done();
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Processors the control group's quota is worth ("max 100000" or "150000 100000"), or a large number.
int quota_processors() {
  long long quota = 0, period = 0;
  const std::string line = first_line("/sys/fs/cgroup/cpu.max");
  if (std::sscanf(line.c_str(), "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0)
    return static_cast<int>(std::clamp<long long>((quota + period - 1) / period, 1, 1 << 16));
  return 1 << 16;
}

// A refusal (the mask changed meanwhile) leaves the thread where the scheduler puts it.
void pin_current_thread(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(processor), &set);
  (void)::sched_setaffinity(0, sizeof set, &set);
}

// Moves the thread to a processor, free to be moved on later.
void move_current_thread(int processor) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  pin_current_thread(processor);
  (void)::sched_setaffinity(0, sizeof allowed, &allowed);
}

}  // namespace

Processors available_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  Processors found;
  std::vector<int> siblings;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    std::vector<std::string> cores;
    for (int id = 0; id < CPU_SETSIZE; ++id) {
      if (!CPU_ISSET(static_cast<unsigned>(id), &set)) continue;
      const std::string core =
          first_line(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", id));
      const bool new_core = core.empty() || std::find(cores.begin(), cores.end(), core) == cores.end();
      (new_core ? found.ids : siblings).push_back(id);
      cores.push_back(core);
    }
  }
  if (found.ids.empty()) {  // more processors than cpu_set_t holds, or no such call
    const int count = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    for (int id = 0; id < count; ++id) found.ids.push_back(id);
  }
  found.cores = std::min(static_cast<int>(found.ids.size()), quota_processors());
  found.ids.insert(found.ids.end(), siblings.begin(), siblings.end());
  return found;
}

// Each thread's part of a region is claimed before it is begun: by its worker, or by the caller, which takes what no
// worker has begun when its own part is done. A worker that is asleep, or waits for a core that another program uses,
// then does not hold the region up.
struct ThreadPool::Impl {
  struct alignas(64) Worker {
    std::atomic<std::uint32_t> claimed{0};  // the last region whose part was claimed; every region's is, in order
    std::thread thread;
  };
  // What a region publishes; on a line of its own, written by the caller alone.
  struct alignas(64) Region {
    std::atomic<std::uint32_t> number{0};  // changes with each region; read first, publishes the rest
    void (*call)(void*, int) = nullptr;    // null: end
    void* task = nullptr;
  } region;
  struct alignas(64) {
    std::atomic<int> unfinished{0};  // workers' parts of the region
  } barrier;
  struct alignas(64) {
    std::atomic<int> workers{0};      // asleep or about to be
    std::atomic<bool> caller{false};  // likewise
  } asleep;
  std::mutex sleep;                                   // guards going to sleep against a wake-up in between
  std::condition_variable wake_workers, wake_caller;  // used with `sleep`
  std::mutex one_region;
  bool crowded = false;
  int caller_processor = -1;
  std::vector<bool> taken;  // by processor: a worker is pinned to it; empty if none is
  int worker_count = 0;
  std::unique_ptr<Worker[]> workers;  // [worker_count]; thread i is worker i - 1

  static thread_local const Impl* inside;  // the pool whose region this thread is in

  void work(int thread, int processor);
  bool claim(int thread, std::uint32_t number);
  void start(void (*call)(void*, int), void* task);
  void finish();
  void leave_workers_processor() const;
};

thread_local const ThreadPool::Impl* ThreadPool::Impl::inside = nullptr;

// Once a part is claimed its region cannot end before the part is done, so what the region published may be read.
bool ThreadPool::Impl::claim(int thread, std::uint32_t number) {
  std::uint32_t before = number - 1;
  return workers[static_cast<std::size_t>(thread - 1)].claimed.compare_exchange_strong(before, number);
}

// Sleeping without lost wake-ups: the sleeper announces itself, then looks again; the waker publishes, then looks for
// sleepers. All four are sequentially consistent, so at least one sees the other.
void ThreadPool::Impl::work(int thread, int processor) {
  if (processor >= 0) pin_current_thread(processor);
  inside = this;
  for (std::uint32_t seen = 0;;) {
    const auto new_region = [&] { return region.number.load() != seen; };
    if (!spin_until(new_region, crowded)) {
      std::unique_lock lock(sleep);
      asleep.workers.fetch_add(1);
      wake_workers.wait(lock, new_region);
      asleep.workers.fetch_sub(1);
    }
    seen = region.number.load();
    if (!claim(thread, seen)) continue;
    if (!region.call) return;
    region.call(region.task, thread);
    if (barrier.unfinished.fetch_sub(1) == 1 && asleep.caller.load()) {
      const std::lock_guard lock(sleep);
      wake_caller.notify_one();
    }
  }
}

void ThreadPool::Impl::start(void (*call)(void*, int), void* task) {
  region.call = call;
  region.task = task;
  barrier.unfinished.store(worker_count, std::memory_order_relaxed);
  region.number.fetch_add(1);
  if (asleep.workers.load() > 0) {
    const std::lock_guard lock(sleep);
    wake_workers.notify_all();
  }
}

void ThreadPool::Impl::finish() {
  const std::uint32_t number = region.number.load();
  for (int thread = 1; thread <= worker_count; ++thread) {
    if (!claim(thread, number)) continue;
    region.call(region.task, thread);
    barrier.unfinished.fetch_sub(1);
  }
  const auto done = [&] { return barrier.unfinished.load() == 0; };
  if (spin_until(done, crowded)) return;
  std::unique_lock lock(sleep);
  asleep.caller.store(true);
  wake_caller.wait(lock, done);
  asleep.caller.store(false);
}

// The scheduler can leave the caller on a worker's processor for seconds when other programs keep the rest busy: two
// threads then share one core and the region takes twice as long. Asking where one is takes a nanosecond.
void ThreadPool::Impl::leave_workers_processor() const {
  if (taken.empty()) return;
  const int here = ::sched_getcpu();
  if (here >= 0 && static_cast<std::size_t>(here) < taken.size() && taken[static_cast<std::size_t>(here)])
    move_current_thread(caller_processor);
}

ThreadPool::ThreadPool(int threads, std::optional<int> first) : impl_(std::make_unique<Impl>()) {
  RL_CHECK(threads >= 1 && first.value_or(0) >= 0);
  const Processors processors = available_processors();
  const int available = static_cast<int>(processors.ids.size());
  impl_->crowded = first.value_or(0) + threads > available;
  const auto caller = static_cast<std::size_t>(first.value_or(0));
  if (!impl_->crowded && threads > 1) {
    impl_->caller_processor = processors.ids[caller];
    impl_->taken.resize(static_cast<std::size_t>(*std::max_element(processors.ids.begin(), processors.ids.end())) + 1);
    for (std::size_t i = 0; i < processors.ids.size(); ++i) {
      const bool workers = i > caller && i < caller + static_cast<std::size_t>(threads);
      const bool others = first.has_value() && i != caller;
      impl_->taken[static_cast<std::size_t>(processors.ids[i])] = workers || others;
    }
  }
  impl_->worker_count = threads - 1;
  impl_->workers = std::make_unique<Impl::Worker[]>(static_cast<std::size_t>(threads - 1));
  for (int thread = 1; thread < threads; ++thread) {
    const int processor = impl_->crowded ? -1 : processors.ids[caller + static_cast<std::size_t>(thread)];
    impl_->workers[static_cast<std::size_t>(thread - 1)].thread =
        std::thread([impl = impl_.get(), thread, processor] { impl->work(thread, processor); });
  }
}

ThreadPool::~ThreadPool() {
  impl_->start(nullptr, nullptr);
  for (int i = 0; i < impl_->worker_count; ++i) impl_->workers[static_cast<std::size_t>(i)].thread.join();
}

int ThreadPool::threads() const { return impl_->worker_count + 1; }

void ThreadPool::run_erased(void (*call)(void*, int), void* task) {
  RL_CHECK_MSG(Impl::inside != impl_.get(), "a region inside a region of the same pool");
  const std::lock_guard lock(impl_->one_region);
  Impl::inside = impl_.get();
  impl_->leave_workers_processor();
  impl_->start(call, task);
  call(task, 0);
  impl_->finish();
  Impl::inside = nullptr;
}

}  // namespace rl::cpu
