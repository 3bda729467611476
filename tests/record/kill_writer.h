#pragma once
// Kills a process that writes to a store, at a random moment, and looks at what is left.

#include <csignal>
#include <random>

#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "record/store.h"

namespace rl::record {

struct KillCount {
  int acknowledged = 0;  // experiments the writer was told are kept
  int lost = 0;          // of these, not there afterwards
  int damaged = 0;       // stores that do not open, or runs that do not load
};

inline Experiment numbered_experiment(int number) {
  Experiment experiment{.id = "experiment-" + std::to_string(number), .state = State::done};
  experiment.rows.resize(20);
  for (Row& row : experiment.rows) row.metrics = {{.name = "time", .samples = std::vector<double>(50, number)}};
  return experiment;
}

// The writer: appends until it is killed, and says through the pipe what was acknowledged.
[[noreturn]] inline void append_for_ever(const std::filesystem::path& folder, const Run& run, int pipe) {
  auto store = Store::open(folder);
  if (!store || !store->begin(run)) ::_exit(3);
  for (int number = 0;; ++number) {
    if (!store->append(run, numbered_experiment(number))) ::_exit(4);
    if (::write(pipe, "+", 1) != 1) ::_exit(5);
  }
}

inline KillCount kill_writers(const std::filesystem::path& folder, int kills, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> moment(0, 1);
  KillCount count;
  for (int kill_number = 0; kill_number < kills; ++kill_number) {
    Run run;
    run.id = "run-" + std::to_string(kill_number);
    run.started = "2026-11-23T14:00:00Z";
    int ends[2];
    RL_CHECK(::pipe(ends) == 0);
    const pid_t writer = ::fork();
    RL_CHECK(writer >= 0);
    if (writer == 0) append_for_ever(folder, run, ends[1]);
    ::close(ends[1]);
    // At the writer's own pace: while it opens the store and begins, or at some moment of one of its first appends.
    const int least = static_cast<int>(engine() % 5);
    int acknowledged = 0;
    char byte = 0;
    while (acknowledged < least && ::read(ends[0], &byte, 1) == 1) ++acknowledged;
    sleep_for(Seconds{moment(engine) * (least == 0 ? 0.03 : 0.005)});
    ::kill(writer, SIGKILL);
    int status = 0;
    ::waitpid(writer, &status, 0);
    RL_CHECK(WIFSIGNALED(status));  // else it failed by itself
    while (::read(ends[0], &byte, 1) == 1) ++acknowledged;
    ::close(ends[0]);

    count.acknowledged += acknowledged;
    auto store = Store::open(folder);
    if (!store) {
      ++count.damaged;
      continue;
    }
    const auto kept = store->load(run.id);
    if (!kept) {
      // Killed before begin() was done: there is no such run, and nothing was acknowledged.
      count.damaged += kept.error().rule != "store.no_run";
      count.lost += acknowledged;
      continue;
    }
    // One more may be there: committed, and killed before it could say so.
    const int there = static_cast<int>(kept->experiments.size());
    count.lost += std::max(0, acknowledged - there);
    count.damaged += there > acknowledged + 1;
    for (int number = 0; number < there; ++number)
      count.damaged += kept->experiments[static_cast<std::size_t>(number)].id != numbered_experiment(number).id;
  }
  return count;
}

}  // namespace rl::record
