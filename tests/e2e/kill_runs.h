#pragma once
// Kills real runs at random moments, resumes them, and looks at what is left after each kill.

#include <array>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "e2e/program.h"
#include "record/json.h"
#include "record/store.h"

namespace rl::e2e {

struct KillTally {
  int kills = 0, finished_runs = 0;
  int kept = 0;                // experiments in the store that a resumed run did not measure again
  int lost = 0;                // reported as done, or there before, and gone or changed afterwards
  int doubled = 0;             // twice in a run
  std::array<int, 5> at = {};  // kills, by how many of the run's four experiments were in the store
  int damaged = 0;             // stores with a finding, finished runs that do not verify or lack an experiment
};

inline KillTally kill_runs(int kills, std::uint64_t seed) {
  const Scratch scratch;
  const std::string runs = (scratch / "runs").string();
  const std::vector<std::string> ids = {"power", "attention", "graphs", "engines"};
  const std::vector<std::string> fresh = {
      "run",    "--only", "power,attention,graphs,engines", "--seq", "64", "--heads", "1", "--causal", "no",
      "--runs", runs};
  const Seconds start = monotonic_now();
  EXPECT_EQ(redline(fresh).status, 0);
  const double length = (monotonic_now() - start).count;

  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> moment(0, 1.2 * length);
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
    const Finished ended = redline_killed_after(arguments, moment(engine));
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
    for (const std::string& id : ids) {
      const std::size_t line = ended.err.find(id + " ");
      if (line != std::string::npos && ended.err.find(" done", line) < ended.err.find('\n', line))
        tally.lost += !now.contains(id);
    }
    before = now;
    if (killed) {
      ++tally.at[std::min(now.size(), tally.at.size() - 1)];
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
  std::printf("kills with 0 to 4 of 4 experiments in the store: %d %d %d %d %d\n", tally.at[0], tally.at[1],
              tally.at[2], tally.at[3], tally.at[4]);
  std::printf("%d kills, %d runs came to their end, %d finished experiments kept, %d lost, %d doubled, %d damaged\n",
              tally.kills, tally.finished_runs, tally.kept, tally.lost, tally.doubled, tally.damaged);
}

}  // namespace rl::e2e
