#pragma once
// Kills real runs at random moments, resumes them, and looks at what is left after each kill.

#include <array>
#include <cmath>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "e2e/program.h"
#include "record/integrity.h"
#include "record/json.h"
#include "record/store.h"

namespace rl::e2e {

// How far a run had come when it was killed: by how many of its four experiments were in the store, then by its files.
inline constexpr std::array<const char*, 7> kStages = {"0 of 4 experiments in the store",
                                                       "1 of 4",
                                                       "2 of 4",
                                                       "3 of 4",
                                                       "4 of 4, the run not yet finished",
                                                       "finished in the store, not all files written",
                                                       "all files written"};

struct KillTally {
  int kills = 0, finished_runs = 0;
  int kept = 0;                             // experiments in the store that a resumed run did not measure again
  int lost = 0;                             // reported as done, or there before, and gone or changed afterwards
  int doubled = 0;                          // twice in a run
  std::array<int, kStages.size()> at = {};  // kills by stage
  int damaged = 0;  // stores with a finding, finished runs that do not verify or lack an experiment
};

// Half of the moments are anywhere in a run. In the other half the kill comes shortly after the start, or after an
// experiment that `done` lacks: the steps before the first, between two and after the last take milliseconds.
class Moments {
 public:
  Moments(double run_seconds, std::uint64_t seed) : anywhere_(0, 1.2 * run_seconds), engine_(seed) {}

  Moment next(const std::vector<std::string>& ids, const std::map<std::string, std::string>& done) {
    if (engine_() % 2 == 0) return {.seconds = anywhere_(engine_)};
    std::vector<std::string> missing;
    for (const std::string& id : ids)
      if (!done.contains(id)) missing.push_back(id);
    const std::size_t after = engine_() % (missing.size() + 1);
    if (after == missing.size())
      return {.seconds = std::pow(10, std::uniform_real_distribution<double>(-3, -0.8)(engine_))};
    // From 0.1 ms, the step of a commit, to 100 ms, that of the files; as many in each decade.
    return {.seconds = std::pow(10, std::uniform_real_distribution<double>(-4, -1)(engine_)),
            .line = missing[after] + " "};
  }

 private:
  std::uniform_real_distribution<double> anywhere_;
  std::mt19937_64 engine_;
};

inline std::size_t stage_of(const record::Run& run, const std::string& runs) {
  if (run.finished.empty()) return std::min<std::size_t>(run.experiments.size(), 4);
  return record::check_sums(std::filesystem::path(runs) / run.id).empty() ? 6 : 5;
}

inline KillTally kill_runs(int kills, std::uint64_t seed) {
  const Scratch scratch;
  const std::string runs = (scratch / "runs").string();
  const std::vector<std::string> ids = {"power", "attention", "graphs", "tensor-cores"};
  const std::vector<std::string> fresh = {
      "run",    "--only", "power,attention,graphs,tensor-cores", "--seq", "64", "--heads", "1", "--causal", "no",
      "--runs", runs};
  const Seconds start = monotonic_now();
  EXPECT_EQ(redline(fresh).status, 0);
  Moments moments((monotonic_now() - start).count, seed);

  KillTally tally{.finished_runs = 1};
  std::string current;                        // the run that goes on; empty: none
  std::map<std::string, std::string> before;  // its experiments
  std::set<std::string> known;
  const auto newest = [&]() -> std::string {
    auto store = record::Store::open(runs);
    auto list = store ? store->list() : store.error();
    return list && !list->empty() ? list->front().id : "";
  };
  known.insert(newest());
  while (tally.kills < kills) {
    std::vector<std::string> arguments = fresh;
    if (!current.empty()) arguments = {"run", "--resume", current, "--runs", runs};
    const Finished ended = redline_killed_at(arguments, moments.next(ids, before));
    const bool killed = ended.status == -9;
    tally.kills += killed;

    auto store = record::Store::open(runs);
    auto found = store ? store->check() : store.error();
    if (!found || !found->empty()) {
      ++tally.damaged;
      ADD_FAILURE() << (found ? found->front().where + " " + found->front().what : found.error().message());
      return tally;
    }
    if (current.empty()) {
      if (const std::string id = newest(); known.insert(id).second) current = id;
      if (current.empty()) {  // killed before it was begun
        EXPECT_TRUE(killed) << ended.err;
        ++tally.at[0];
        continue;
      }
    }
    const auto run = store->load(current);
    if (!run) {
      ++tally.damaged;
      ADD_FAILURE() << run.error().message();
      return tally;
    }
    std::map<std::string, std::string> now;
    for (const record::Experiment& experiment : run->experiments)
      tally.doubled += !now.emplace(experiment.id, record::to_json(experiment)).second;
    for (const auto& [id, json] : before) {
      tally.lost += !now.contains(id) || now[id] != json;
      ++tally.kept;
    }
    // Its line comes when it is in the store.
    for (const std::string& id : ids)
      tally.lost += ("\n" + ended.err).find("\n" + id + " ") != std::string::npos && !now.contains(id);
    before = now;
    if (killed) {
      ++tally.at[stage_of(*run, runs)];
      continue;
    }
    // It came to its end: everything is there once, and all of it is as written.
    // Or it had come there before the last kill, which left nothing to do.
    if (ended.err.find("run.finished") == std::string::npos) {
      EXPECT_EQ(ended.status, 0) << ended.err;
    }
    ++tally.finished_runs;
    std::vector<std::string> order;
    for (const record::Experiment& experiment : run->experiments) order.push_back(experiment.id);
    tally.damaged += order != ids || redline({"verify", current, "--runs", runs}).status != 0;
    current.clear();
    before.clear();
  }
  return tally;
}

inline void expect_nothing_lost(const KillTally& tally) {
  EXPECT_EQ(tally.lost, 0);
  EXPECT_EQ(tally.doubled, 0);
  EXPECT_EQ(tally.damaged, 0);
  for (std::size_t stage = 0; stage < kStages.size(); ++stage)
    std::printf("%4d kills at: %s\n", tally.at[stage], kStages[stage]);
  std::printf("%d kills, %d runs came to their end, %d finished experiments kept, %d lost, %d doubled, %d damaged\n",
              tally.kills, tally.finished_runs, tally.kept, tally.lost, tally.doubled, tally.damaged);
}

}  // namespace rl::e2e
