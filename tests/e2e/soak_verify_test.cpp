// A thousand flipped bits in the store, and a thousand in the files of a run: `redline verify` finds each.

#include <gtest/gtest.h>

#include "e2e/program.h"
#include "record/outside.h"

namespace rl::e2e {
namespace {

constexpr int kFlips = 1000;

class SoakVerify : public testing::Test {
 protected:
  // Two runs, one of them a baseline: every table has rows.
  void SetUp() override {
    ASSERT_EQ(redline({"run", "--only", "attention,power", "--seq", "64,2048", "--heads", "1", "--causal", "no",
                       "--save-baseline", "monday", "--runs", runs_})
                  .status,
              0);
    ASSERT_EQ(redline({"run", "--only", "graphs,power", "--runs", runs_}).status, 0);
    ASSERT_EQ(verify().status, 0);
  }
  Finished verify() { return redline({"verify", "--runs", runs_}); }
  // Verified is 0; a program that crashes found nothing.
  static bool finds(const Finished& verified) { return verified.status > 0; }

  Scratch scratch_;
  std::string runs_ = (scratch_ / "runs").string();
  std::mt19937_64 engine_{20261129};
};

TEST_F(SoakVerify, FindsAFlippedBitInEachOfAThousandRows) {
  int found = 0;
  for (int i = 0; i < kFlips; ++i) {
    const record::Cell& cell = record::kCells[static_cast<std::size_t>(i) % std::size(record::kCells)];
    int row = 0;
    std::string before;
    {
      record::Outside outside(runs_);
      row = 1 + static_cast<int>(engine_() % static_cast<std::uint64_t>(outside.count(cell.table)));
      before = outside.get(cell.table, cell.column, row);
      std::string after = before;
      record::flip(after, engine_);
      outside.set(cell.table, cell.column, row, after);
    }
    const Finished verified = verify();
    found += finds(verified);
    EXPECT_TRUE(finds(verified)) << cell.table << "." << cell.column << " of row " << row << ": " << verified.status;
    record::Outside(runs_).set(cell.table, cell.column, row, before);
  }
  EXPECT_EQ(verify().status, 0) << "the rows were not put back";
  std::printf("%d rows of the store with one flipped bit: %d found by redline verify\n", kFlips, found);
}

TEST_F(SoakVerify, FindsAThousandFlippedBitsOfTheFiles) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(runs_))
    if (entry.is_regular_file() && entry.path().filename() != "redline.db") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  ASSERT_EQ(files.size(), 10u) << "of two runs";
  int found = 0;
  for (int i = 0; i < kFlips; ++i) {
    const std::filesystem::path& file = files[static_cast<std::size_t>(i) % files.size()];
    const std::string intact = read_text(file);
    std::string damaged = intact;
    record::flip(damaged, engine_);
    write_text(file, damaged);
    const Finished verified = verify();
    found += finds(verified);
    EXPECT_TRUE(finds(verified)) << file << ": " << verified.status;
    write_text(file, intact);
  }
  EXPECT_EQ(verify().status, 0) << "the files were not put back";
  std::printf("%d flipped bits in %zu files: %d found by redline verify\n", kFlips, files.size(), found);
}

}  // namespace
}  // namespace rl::e2e
