#include "base/file_lock.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "check/result.h"

namespace rl {
namespace {

class FileLockTest : public testing::Test {
 protected:
  ~FileLockTest() override { std::filesystem::remove(file_); }
  std::filesystem::path file_ = std::filesystem::temp_directory_path() / fmt::format("redline-lock-{}", ::getpid());
};

TEST_F(FileLockTest, OneHoldsItAndTheFileGoesWithIt) {
  {
    ASSERT_VALUE(const FileLock lock, FileLock::take(file_));
    EXPECT_TRUE(std::filesystem::exists(file_));
    const auto second = FileLock::take(file_);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().rule, "file.locked");
  }
  EXPECT_FALSE(std::filesystem::exists(file_));
  EXPECT_OK(FileLock::take(file_));
  EXPECT_EQ(FileLock::take(file_ / "x").error().kind, ErrorKind::io);
}

TEST_F(FileLockTest, AFileRemovedBetweenOpeningAndLockingIsNotWhatIsHeld) {
  auto first = FileLock::take(file_);
  ASSERT_TRUE(first);
  std::optional<FileLock> holder(std::move(*first));
  int openings = 0;
  ASSERT_VALUE(const FileLock second, FileLock::take(file_, [&] {
                 ++openings;
                 holder.reset();
               }));
  EXPECT_EQ(openings, 2) << "the first opened the file that the holder removed";
  EXPECT_TRUE(std::filesystem::exists(file_));
  const auto third = FileLock::take(file_);
  ASSERT_FALSE(third) << "two hold it";
  EXPECT_EQ(third.error().rule, "file.locked");
}

}  // namespace
}  // namespace rl
