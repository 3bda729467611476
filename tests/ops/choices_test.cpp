// The file of measured choices: what comes back, and what is ignored.

#include "ops/choices.h"

#include <fstream>

#include <unistd.h>

#include "check/result.h"

namespace rl::ops {
namespace {

class ChoicesTest : public testing::Test {
 protected:
  static Choice choice(const char* variant, double seconds) {
    return {.timed = {{.variant = variant, .seconds = {seconds}}, {.variant = "linear/slow", .seconds = {1}}}};
  }
  std::string content() const {
    std::ifstream stream(file);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  }
  void write(const std::string& text) const { std::ofstream(file) << text; }

  void TearDown() override { std::filesystem::remove_all(folder); }

  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) /
      fmt::format("choices-{}-{}", ::getpid(), testing::UnitTest::GetInstance()->current_test_info()->name());
  const std::filesystem::path file = folder / "a" / "variants.tsv";
};

TEST_F(ChoicesTest, ComeBackFromTheFileOfTheSameIdentity) {
  {
    Choices choices(file, "card, driver 1, build 2");
    EXPECT_FALSE(choices.find("linear 1 x 2 x 3"));
    choices.insert("linear 1 x 2 x 3", choice("linear/fast", 1.25e-6));
    ASSERT_OK(choices.save());
  }
  const Choices again(file, "card, driver 1, build 2");
  const auto found = again.find("linear 1 x 2 x 3");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->best(), "linear/fast");
  EXPECT_EQ(found->timed.front().seconds.count, 1.25e-6);
  EXPECT_EQ(found->timed.back().variant, "linear/slow");
  EXPECT_FALSE(again.find("linear 1 x 2 x 4"));
}

TEST_F(ChoicesTest, OfAnotherIdentityAreIgnoredAndReplaced) {
  Choices first(file, "card, driver 1");
  first.insert("shape", choice("linear/fast", 1));
  ASSERT_OK(first.save());
  Choices second(file, "card, driver 2");
  EXPECT_FALSE(second.find("shape"));
  second.insert("shape", choice("linear/other", 1));
  ASSERT_OK(second.save());
  EXPECT_EQ(Choices(file, "card, driver 2").find("shape")->best(), "linear/other");
}

TEST_F(ChoicesTest, ARetuneStartsAnew) {
  Choices first(file, "card");
  first.insert("shape", choice("linear/fast", 1));
  ASSERT_OK(first.save());
  EXPECT_FALSE(Choices(file, "card", true).find("shape"));
  EXPECT_TRUE(Choices(file, "card").find("shape")) << "nothing was measured: the file stays";
}

TEST_F(ChoicesTest, DamagedFilesAreIgnored) {
  Choices first(file, "card");
  for (int i = 0; i < 3; ++i) first.insert("shape " + std::to_string(i), choice("linear/fast", 1));
  ASSERT_OK(first.save());
  const std::string whole = content();
  ASSERT_TRUE(Choices(file, "card").find("shape 2"));
  std::vector<std::string> damaged{"", "\n", "something else\n", whole + "more\n", "\xff\xfe\n\n"};
  for (std::size_t n = 1; n + 1 < whole.size(); ++n) damaged.push_back(whole.substr(0, n));
  for (const char* seconds : {"0", "-1", "nan", "inf", "1e999", "x", ""}) {
    std::string text = whole;
    text.replace(text.find("\t1\t"), 3, fmt::format("\t{}\t", seconds));
    damaged.push_back(text);
  }
  for (const std::string& text : damaged) {
    write(text);
    const Choices choices(file, "card");
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(choices.find("shape " + std::to_string(i))) << text;
  }
  write(whole);
  EXPECT_TRUE(Choices(file, "card").find("shape 2"));
}

TEST_F(ChoicesTest, WithoutAFileNothingIsWritten) {
  Choices choices({}, "card");
  choices.insert("shape", choice("linear/fast", 1));
  ASSERT_OK(choices.save());
  EXPECT_EQ(choices.find("shape")->best(), "linear/fast");
}

TEST_F(ChoicesTest, AFolderThatCannotBeWrittenIsAnError) {
  std::filesystem::create_directories(file);  // a folder in the file's place
  Choices choices(file, "card");
  choices.insert("shape", choice("linear/fast", 1));
  const Status saved = choices.save();
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().kind, ErrorKind::io);
}

}  // namespace
}  // namespace rl::ops
