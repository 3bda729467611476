// What surroundings do to a run: outputs that are closed, full or not read, full disks, signals, narrow terminals.

#include <gmock/gmock.h>
#include <sys/mount.h>

#include "e2e/program.h"

namespace rl::e2e {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class Surroundings : public testing::Test {
 protected:
  // One experiment of half a second.
  std::vector<std::string> run() const { return run_of("fragmentation"); }
  std::vector<std::string> run_of(const std::string& experiments) const {
    return {"run",    "--only",  experiments, "--trace", "plan",        "--policy",
            "direct", "--space", "1",         "--runs",  runs_.string()};
  }
  std::vector<std::string> report(const std::string& format) const {
    return {"report", "last", "-o", format, "--runs", runs_.string()};
  }
  // As many runs are there with all of their files, and everything is as it was written.
  void expect_whole(int runs) const {
    const Finished verified = redline({"verify", "--runs", runs_.string()});
    EXPECT_EQ(verified.status, 0) << verified.out;
    int whole = 0;
    const std::string_view files = "checked: files against their sums, store";
    for (std::size_t at = 0; (at = verified.out.find(files, at)) != std::string::npos; at += files.size()) ++whole;
    EXPECT_EQ(whole, runs) << verified.out;
  }

  Scratch scratch_;
  fs::path runs_ = scratch_ / "runs";
};

TEST_F(Surroundings, AnAnswerThatCannotBeWrittenIsAnErrorAndTheRunIsKept) {
  std::vector<std::string> as_json = run();
  as_json.push_back("--json");
  // More than a buffer of the library, and less.
  for (const std::vector<std::string>& arguments : {as_json, run(), {"run", "--list"}, {"--help"}, {"--version"}}) {
    const Finished finished = redline_into(arguments, {.out = "/dev/full"});
    EXPECT_EQ(finished.status, 13) << arguments[0];
    EXPECT_THAT(finished.err, HasSubstr("cannot write standard output\n  found:    No space left on device"));
  }
  EXPECT_EQ(redline_into(run(), {.out = kClosed}).status, 13);
  expect_whole(3);
}

TEST_F(Surroundings, WhoeverReadsTheReportMayGoAwayAndTheRunIsKept) {
  const Finished finished = redline_into(run(), {.out = kBrokenPipe});
  EXPECT_EQ(finished.status, -SIGPIPE);
  EXPECT_THAT(finished.err, Not(HasSubstr("redline:")));
  expect_whole(1);
  EXPECT_EQ(redline_into(report("json"), {.out = kBrokenPipe}).status, -SIGPIPE);
}

TEST_F(Surroundings, ARunGoesOnWhereNobodyCanBeTold) {
  for (const char* err : {"/dev/full", kBrokenPipe}) {
    const Finished finished = redline_into(run(), {.err = err});
    EXPECT_EQ(finished.status, 0) << err;
    EXPECT_THAT(finished.out, HasSubstr("fragmentation")) << err;
  }
  expect_whole(2);
}

TEST_F(Surroundings, ASignalEndsARunWithTheCommandThatGoesOn) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    runs_ = scratch_ / ("runs of " + std::to_string(signal));
    // The second experiment takes 10 seconds.
    const Finished ended = redline_killed_at(run_of("fragmentation,streams"), {.line = "fragmentation "}, signal);
    EXPECT_EQ(ended.status, -signal) << ended.err;
    std::string id;  // there is one
    for (const auto& entry : fs::directory_iterator(runs_))
      if (entry.is_directory()) id = entry.path().filename().string();
    EXPECT_THAT(ended.err, HasSubstr("redline: interrupted; the experiments that were finished are kept\n"
                                     "hint: redline run --resume " +
                                     id + " --runs '" + runs_.string() + "'\n"));
    const Finished again = redline({"run", "--resume", id, "--runs", runs_.string(), "--dry-run"});
    EXPECT_EQ(again.status, 0) << again.err;
    EXPECT_EQ(redline({"report", id, "--runs", runs_.string()}).status, 0) << "what was finished";
  }
}

class FullDisk : public Surroundings, public testing::WithParamInterface<const char*> {};

// In a small file system of its own, which only this process and its children see.
TEST_P(FullDisk, LosesNothingThatWasReportedAsDone) {
  fs::create_directory(runs_);
  if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("tmpfs", runs_.c_str(), "tmpfs", 0, GetParam()) != 0)
    GTEST_SKIP() << "no file system can be mounted here: " << std::strerror(errno);
  std::vector<std::string> arguments = run_of("fragmentation,attention");
  arguments.insert(arguments.end(), {"--seq", "64", "--heads", "1", "--causal", "no"});
  const Finished full = redline(arguments);
  EXPECT_EQ(full.status, 13) << full.err;
  EXPECT_THAT(full.err, testing::AnyOf(HasSubstr("database or disk is full"), HasSubstr("No space left on device")));
  ASSERT_EQ(::mount(nullptr, runs_.c_str(), nullptr, MS_REMOUNT, "size=10m"), 0);
  const Finished resumed = redline({"run", "--resume", "--runs", runs_.string()});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  for (const char* id : {"fragmentation ", "attention "})
    EXPECT_EQ((full.err.find(id) != full.err.npos) + (resumed.err.find(id) != resumed.err.npos), 1) << id;
  expect_whole(1);
  ASSERT_EQ(::umount(runs_.c_str()), 0);
}

// No place for the second experiment; none for the files.
INSTANTIATE_TEST_SUITE_P(Sizes, FullDisk, testing::Values("size=64k", "size=300k"));

// Columns that a line takes: without escapes; of UTF-8's bytes the first counts, no character here is wider than one.
std::size_t columns_taken(std::string_view line) {
  std::size_t columns = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b')
      i = std::min(line.find_first_of("mK", i), line.size());
    else
      columns += (static_cast<unsigned char>(line[i]) & 0xC0) != 0x80;
  }
  return columns;
}

// The widest line that has `part` and not `other`.
std::size_t widest(std::string_view text, std::string_view part, std::string_view other) {
  std::size_t most = 0;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find_first_of("\r\n"));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.find(part) != line.npos && line.find(other) == line.npos) most = std::max(most, columns_taken(line));
  }
  return most;
}

TEST_F(Surroundings, ATerminalGetsLinesThatFitIt) {
  const Finished narrow = redline_on_terminal(run(), 40);
  ASSERT_EQ(narrow.status, 0) << narrow.out;
  EXPECT_EQ(widest(narrow.out, " of about ", "none"), 39u) << "the last column would wrap" << narrow.out;
  const std::string folder = scratch_.path().string();  // its name is given whole
  using Case = std::pair<int, std::size_t>;
  for (const auto& [columns, most] : {Case{40, 40}, Case{80, 80}, Case{100, 100}, Case{200, 120}}) {
    const Finished finished = redline_on_terminal(report("terminal"), columns);
    ASSERT_EQ(finished.status, 0) << finished.out;
    EXPECT_EQ(widest(finished.out, "", folder), most) << finished.out;
    EXPECT_THAT(finished.out, HasSubstr("\x1b["));
  }
  const Finished piped = redline(report("terminal"));
  EXPECT_EQ(widest(piped.out, "", folder), 80u) << "whatever the terminal";
  EXPECT_THAT(piped.out, Not(HasSubstr("\x1b[")));
}

}  // namespace
}  // namespace rl::e2e
