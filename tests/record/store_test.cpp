#include "record/store.h"

#include <fstream>

#include <gmock/gmock.h>
#include <sqlite3.h>

#include "check/result.h"
#include "folder.h"
#include "kill_writer.h"
#include "random_run.h"
#include "same.h"

namespace rl::record {
namespace {

using testing::HasSubstr;

// Runs SQL on the database from outside, as another program would; the first value of the first row.
std::string sql(const TemporaryFolder& folder, const char* text) {
  sqlite3* db = nullptr;
  RL_CHECK(sqlite3_open((folder.path() / "redline.db").c_str(), &db) == SQLITE_OK);
  std::string value;
  auto keep = [](void* out, int columns, char** values, char**) {
    if (columns > 0 && values[0]) *static_cast<std::string*>(out) = values[0];
    return 0;
  };
  EXPECT_EQ(sqlite3_exec(db, text, keep, &value, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  sqlite3_close(db);
  return value;
}

Run run_named(std::string id, std::string started = "2026-11-23T14:05:09Z") {
  record::Run run;
  run.id = std::move(id);
  run.started = std::move(started);
  run.mode = "quick";
  run.model.name = "demo";
  run.environment.cpu = "AMD EPYC";
  return run;
}

TEST(Store, LoadsWhatWasAppended) {
  const TemporaryFolder folder;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    ASSERT_VALUE(Store store, Store::open(folder.path()));
    record::Run run = RandomRun(seed).run();
    run.id = std::to_string(seed);
    for (std::size_t i = 0; i < run.experiments.size(); ++i) run.experiments[i].id = std::to_string(i);
    ASSERT_OK(store.begin(run));
    for (const Experiment& experiment : run.experiments) ASSERT_OK(store.append(run, experiment));
    run.finished = "2026-11-23T15:00:00Z";
    run.validity = {.valid = false, .reasons = {"the load was 3"}};
    ASSERT_OK(store.finish(run));
    ASSERT_VALUE(const Store reader, Store::open(folder.path()));
    ASSERT_VALUE(const record::Run back, reader.load(run.id));
    EXPECT_TRUE(same(run, back)) << seed;
  }
}

TEST(Store, ListsRunsNewestFirst) {
  const TemporaryFolder folder;
  ASSERT_VALUE(Store store, Store::open(folder.path() / "not" / "yet"));
  ASSERT_VALUE(const auto none, store.list());
  EXPECT_TRUE(none.empty());
  record::Run old = run_named("old", "2026-11-22T10:00:00Z"), young = run_named("young");
  young.environment.gpu = "NVIDIA H100";
  ASSERT_OK(store.begin(young));
  ASSERT_OK(store.begin(old));
  ASSERT_OK(store.append(old, {.id = "baseline"}));
  ASSERT_OK(store.append(old, {.id = "attention"}));
  ASSERT_OK(store.finish(old));
  ASSERT_VALUE(const auto entries, store.list());
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].id, "young");
  EXPECT_EQ(entries[0].device, "NVIDIA H100");
  EXPECT_FALSE(entries[0].finished);
  EXPECT_EQ(entries[1].id, "old");
  EXPECT_EQ(entries[1].started, "2026-11-22T10:00:00Z");
  EXPECT_EQ(entries[1].mode, "quick");
  EXPECT_EQ(entries[1].model, "demo");
  EXPECT_EQ(entries[1].device, "AMD EPYC");
  EXPECT_EQ(entries[1].experiments, 2);
  EXPECT_TRUE(entries[1].finished);
}

TEST(Store, AnExperimentAppendedAgainReplacesItselfInPlace) {
  const TemporaryFolder folder;
  ASSERT_VALUE(Store store, Store::open(folder.path()));
  const record::Run run = run_named("r");
  ASSERT_OK(store.begin(run));
  ASSERT_OK(store.append(run, {.id = "baseline", .title = "first"}));
  ASSERT_OK(store.append(run, {.id = "attention"}));
  ASSERT_OK(store.append(run, {.id = "baseline", .title = "second"}));
  ASSERT_VALUE(const record::Run back, store.load("r"));
  ASSERT_EQ(back.experiments.size(), 2u);
  EXPECT_EQ(back.experiments[0].title, "second");
  EXPECT_EQ(back.experiments[1].id, "attention");
}

TEST(Store, RefusesUnknownAndRepeatedRuns) {
  const TemporaryFolder folder;
  ASSERT_VALUE(Store store, Store::open(folder.path()));
  EXPECT_EQ(store.load("no").error().rule, "store.no_run");
  EXPECT_EQ(store.load("no").error().kind, ErrorKind::invalid_input);
  EXPECT_EQ(store.append(run_named("no"), {}).error().rule, "store.no_run");
  EXPECT_EQ(store.finish(run_named("no")).error().rule, "store.no_run");
  EXPECT_EQ(sql(folder, "SELECT count(*) FROM experiments"), "0") << "a refused append leaves nothing";
  ASSERT_OK(store.begin(run_named("twice")));
  EXPECT_EQ(store.begin(run_named("twice")).error().rule, "store.run_exists");
}

TEST(Store, QuotesAndNulInNamesAreOnlyText) {
  const TemporaryFolder folder;
  ASSERT_VALUE(Store store, Store::open(folder.path()));
  const record::Run run = run_named("'); DROP TABLE runs; --");
  ASSERT_OK(store.begin(run));
  ASSERT_OK(store.append(run, {.id = std::string("a\0b", 3)}));
  ASSERT_VALUE(const record::Run back, store.load(run.id));
  EXPECT_EQ(back.experiments.at(0).id, std::string("a\0b", 3));
}

TEST(Store, UsesTheRollbackJournalAndSyncsFully) {
  const TemporaryFolder folder;
  {
    ASSERT_VALUE(Store store, Store::open(folder.path()));
    ASSERT_OK(store.begin(run_named("r")));
    EXPECT_FALSE(std::filesystem::exists(folder.path() / "redline.db-wal"));
  }
  EXPECT_EQ(sql(folder, "PRAGMA journal_mode"), "delete");
  EXPECT_EQ(sql(folder, "PRAGMA application_id"), "1380207694");  // "RDLN"
  EXPECT_EQ(sql(folder, "PRAGMA user_version"), "2");
  EXPECT_EQ(sql(folder, "PRAGMA integrity_check"), "ok");
}

TEST(Store, TurnsAWriteAheadLogBackIntoARollbackJournal) {
  const TemporaryFolder folder;
  { ASSERT_VALUE(Store store, Store::open(folder.path())); }
  EXPECT_EQ(sql(folder, "PRAGMA journal_mode=WAL"), "wal");
  { ASSERT_VALUE(Store store, Store::open(folder.path())); }
  EXPECT_EQ(sql(folder, "PRAGMA journal_mode"), "delete");
}

TEST(Store, RefusesWhatANewerOrAnotherProgramWrote) {
  {
    const TemporaryFolder folder;
    { ASSERT_VALUE(Store store, Store::open(folder.path())); }
    sql(folder, "PRAGMA user_version=3");
    const auto newer = Store::open(folder.path());
    ASSERT_FALSE(newer);
    EXPECT_EQ(newer.error().kind, ErrorKind::unsupported);
    EXPECT_EQ(newer.error().rule, "store.version");
    EXPECT_EQ(newer.error().found, "3");
  }
  {
    const TemporaryFolder folder;
    sql(folder, "CREATE TABLE recipes (name TEXT)");
    const auto foreign = Store::open(folder.path());
    ASSERT_FALSE(foreign);
    EXPECT_EQ(foreign.error().rule, "store.application");
    EXPECT_EQ(sql(folder, "SELECT count(*) FROM sqlite_schema"), "1") << "it was written to";
  }
  {
    const TemporaryFolder folder;
    std::ofstream(folder.path() / "redline.db") << std::string(4096, 'x');
    const auto garbage = Store::open(folder.path());
    ASSERT_FALSE(garbage);
    EXPECT_EQ(garbage.error().kind, ErrorKind::io);
    EXPECT_THAT(garbage.error().hint, HasSubstr("move the file away"));
  }
}

TEST(Store, ADamagedRecordIsReportedWithItsPlace) {
  const TemporaryFolder folder;
  ASSERT_VALUE(Store store, Store::open(folder.path()));
  const record::Run run = run_named("r");
  ASSERT_OK(store.begin(run));
  ASSERT_OK(store.append(run, {.id = "attention"}));
  sql(folder, "UPDATE experiments SET body = '{}'");
  const auto result = store.load("r");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().rule, "store.digest");
  EXPECT_THAT(result.error().what, HasSubstr("run r"));
}

TEST(Store, TwoWritersTakeTurns) {
  const TemporaryFolder folder;
  ASSERT_VALUE(Store first, Store::open(folder.path()));
  ASSERT_VALUE(Store second, Store::open(folder.path()));
  ASSERT_OK(first.begin(run_named("1")));
  ASSERT_OK(second.begin(run_named("2")));
  for (int i = 0; i < 5; ++i) {
    ASSERT_OK(first.append(run_named("1"), numbered_experiment(i)));
    ASSERT_OK(second.append(run_named("2"), numbered_experiment(i)));
  }
  ASSERT_VALUE(const auto entries, first.list());
  EXPECT_EQ(entries.at(0).experiments, 5);
  EXPECT_EQ(entries.at(1).experiments, 5);
}

TEST(Store, KeepsWhatItAcknowledgedWhenKilled) {
  const TemporaryFolder folder;
  const KillCount count = kill_writers(folder.path(), 12, 1);
  EXPECT_EQ(count.lost, 0) << "of " << count.acknowledged;
  EXPECT_EQ(count.damaged, 0);
}

TEST(Store, SaysWhenItsFolderCannotBeMade) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "file").close();
  EXPECT_EQ(Store::open(folder.path() / "file" / "runs").error().kind, ErrorKind::io);
}

}  // namespace
}  // namespace rl::record
