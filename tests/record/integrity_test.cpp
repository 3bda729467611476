// One changed byte, wherever it is, is found.

#include "record/integrity.h"

#include <fstream>

#include <gmock/gmock.h>

#include "check/result.h"
#include "folder.h"
#include "outside.h"
#include "random_run.h"
#include "record/store.h"
#include "record/write_run.h"

namespace rl::record {
namespace {

using testing::HasSubstr;

std::string content(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
}

// No two become equal by one flipped bit.
constexpr const char *kRuns[] = {"run-1", "run-second", "the-third"},
                     *kExperiments[] = {"attention", "baseline", "streams"};

void fill(const std::filesystem::path& folder) {
  ASSERT_VALUE(Store store, Store::open(folder));
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    Run run = RandomRun(seed).run();
    run.id = kRuns[seed - 1];
    run.started = "2026-11-23T14:05:09Z";
    run.mode = run.model.name = run.environment.gpu = "text";
    ASSERT_OK(store.begin(run));
    for (int i = 0; i < 3; ++i) {
      Experiment experiment = RandomRun(seed * 10 + static_cast<std::uint64_t>(i)).experiment();
      experiment.id = kExperiments[i];
      ASSERT_OK(store.append(run, experiment));
    }
    ASSERT_OK(store.finish(run));
  }
  ASSERT_OK(store.save_baseline("monday", "run-1", "2026-11-23T15:00:00Z"));
  ASSERT_VALUE(const auto intact, store.check());
  ASSERT_TRUE(intact.empty()) << intact[0].where << " " << intact[0].what;
}

TEST(StoreIntegrity, FindsOneFlippedBitInEachOfAThousandRows) {
  const TemporaryFolder folder;
  fill(folder.path());
  Outside outside(folder.path());
  ASSERT_VALUE(const Store store, Store::open(folder.path()));
  std::mt19937_64 engine(1);
  int missed = 0;
  for (int i = 0; i < 1000; ++i) {
    const Cell& cell = kCells[static_cast<std::size_t>(i) % std::size(kCells)];
    const int row = 1 + static_cast<int>(engine() % static_cast<std::uint64_t>(outside.count(cell.table)));
    const std::string before = outside.get(cell.table, cell.column, row);
    std::string after = before;
    flip(after, engine);
    outside.set(cell.table, cell.column, row, after);
    const auto found = store.check();
    const bool detected = !found || !found->empty();
    missed += !detected;
    EXPECT_TRUE(detected) << cell.table << "." << cell.column << " of row " << row;
    outside.set(cell.table, cell.column, row, before);
  }
  EXPECT_EQ(missed, 0);
  ASSERT_VALUE(const auto intact, store.check());
  EXPECT_TRUE(intact.empty()) << "the rows were not put back";
}

TEST(StoreIntegrity, FindsEveryFlippedBitOfTheFileThatChangesARow) {
  const TemporaryFolder folder;
  fill(folder.path());
  const std::string rows = "SELECT * FROM runs", more = "SELECT * FROM experiments", names = "SELECT * FROM baselines";
  const std::filesystem::path file = folder.path() / "redline.db";
  const std::string intact = content(file);
  const auto dump = [&] {
    Outside outside(folder.path());
    return outside.all(rows) + "\n" + outside.all(more) + "\n" + outside.all(names);
  };
  const std::string expected = dump();
  std::mt19937_64 engine(2);
  int changed = 0;
  for (int i = 0; i < 300; ++i) {
    std::string damaged = intact;
    flip(damaged, engine);
    write(file, damaged);
    if (dump() == expected) continue;  // space that holds no row
    ++changed;
    const auto store = Store::open(folder.path());
    if (!store) continue;
    const auto found = store->check();
    EXPECT_TRUE(!found || !found->empty()) << "flip " << i;
  }
  EXPECT_GT(changed, 100) << "the flips hit no rows";
}

TEST(StoreIntegrity, FindsLostAndDoubledRows) {
  const TemporaryFolder folder;
  fill(folder.path());
  const std::string intact = content(folder.path() / "redline.db");
  for (const char* change :
       {"DELETE FROM experiments WHERE rowid = 2", "UPDATE experiments SET position = 7 WHERE rowid = 1",
        "INSERT INTO experiments SELECT run, 9, 'twin', body, digest FROM experiments WHERE rowid = 1",
        "DELETE FROM runs WHERE rowid = 1", "UPDATE runs SET finished = 0 WHERE rowid = 3"}) {
    write(folder.path() / "redline.db", intact);
    Outside(folder.path()).all(change);
    ASSERT_VALUE(const Store store, Store::open(folder.path()));
    ASSERT_VALUE(const auto found, store.check());
    EXPECT_FALSE(found.empty()) << change;
  }
}

TEST(StoreIntegrity, ADamagedRunIsNotLoaded) {
  const TemporaryFolder folder;
  fill(folder.path());
  Outside(folder.path()).all("UPDATE experiments SET body = replace(body, '1', '2') WHERE run = 'run-second'");
  ASSERT_VALUE(const Store store, Store::open(folder.path()));
  EXPECT_TRUE(store.load("run-1"));
  const auto damaged = store.load("run-second");
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().rule, "store.digest");
  EXPECT_THAT(damaged.error().what, HasSubstr("run run-second"));
}

TEST(StoreIntegrity, AStoreOfVersionOneGetsItsDigests) {
  const TemporaryFolder folder;
  fill(folder.path());
  {
    Outside outside(folder.path());
    outside.all("DROP TABLE baselines");
    outside.all("ALTER TABLE runs DROP COLUMN digest");
    outside.all("ALTER TABLE experiments DROP COLUMN digest");
    outside.all("PRAGMA user_version=1");
  }
  ASSERT_VALUE(const Store store, Store::open(folder.path()));
  EXPECT_TRUE(store.load("the-third"));
  ASSERT_VALUE(const auto found, store.check());
  EXPECT_TRUE(found.empty()) << found[0].where << " " << found[0].what;
}

TEST(Store, KeepsBaselinesByName) {
  const TemporaryFolder folder;
  fill(folder.path());
  ASSERT_VALUE(Store store, Store::open(folder.path()));
  ASSERT_OK(store.save_baseline("monday", "run-second", "later"));
  ASSERT_OK(store.save_baseline("friday", "the-third", "later"));
  EXPECT_EQ(store.save_baseline("x", "no", "later").error().rule, "store.no_run");
  ASSERT_VALUE(const auto all, store.baselines());
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].name, "friday");
  EXPECT_EQ(all[1].run, "run-second") << "the name did not move";
  ASSERT_VALUE(const bool dropped, store.drop_baseline("monday"));
  EXPECT_TRUE(dropped);
  ASSERT_VALUE(const bool again, store.drop_baseline("monday"));
  EXPECT_FALSE(again);
}

class FolderIntegrity : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(write_run_folder(RandomRun(3).run(), folder_.path()));
    for (const char* name : {"report.html", "report.md", "results.csv"})
      write(folder_.path() / name, "text of a file\n");
    ASSERT_OK(write_sums(folder_.path()));
    ASSERT_TRUE(check_sums(folder_.path()).empty());
  }
  TemporaryFolder folder_;
};

TEST_F(FolderIntegrity, FindsOneFlippedBitInAnyFile) {
  std::mt19937_64 engine(3);
  for (const char* name : {"record.json", "report.html", "report.md", "results.csv", "SHA256SUMS"}) {
    const std::string intact = content(folder_.path() / name);
    for (int i = 0; i < 200; ++i) {
      std::string damaged = intact;
      flip(damaged, engine);
      write(folder_.path() / name, damaged);
      EXPECT_FALSE(check_sums(folder_.path()).empty()) << name;
    }
    write(folder_.path() / name, intact);
  }
  EXPECT_TRUE(check_sums(folder_.path()).empty());
}

TEST_F(FolderIntegrity, NamesTheFileThatDiffersOrIsMissing) {
  write(folder_.path() / "report.md", "text of a file \n");  // white space only
  std::filesystem::remove(folder_.path() / "results.csv");
  const auto findings = check_sums(folder_.path());
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].where, "report.md");
  EXPECT_THAT(findings[0].what, HasSubstr("was changed"));
  EXPECT_EQ(findings[1].where, "results.csv");
  EXPECT_THAT(findings[1].what, HasSubstr("is missing"));
  std::filesystem::remove(folder_.path() / "SHA256SUMS");
  EXPECT_EQ(check_sums(folder_.path()).at(0).where, "SHA256SUMS");
}

}  // namespace
}  // namespace rl::record
