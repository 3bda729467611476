#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/cmd_history.h"
#include "app/cmd_report.h"
#include "check/result.h"
#include "record/json.h"
#include "record/store.h"
#include "report/report.h"
#include "sample_run.h"

namespace rl::app {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string read(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// A folder of runs with the sample run in the store, and what a verb prints.
class Verbs : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = (fs::temp_directory_path() / "redline_report.XXXXXX").string();
    ASSERT_NE(::mkdtemp(path.data()), nullptr);
    folder_ = path;
  }
  void TearDown() override { fs::remove_all(folder_); }

  void store(const record::Run& run) {
    ASSERT_VALUE(record::Store store, record::Store::open(runs()));
    ASSERT_OK(store.begin(run));
    for (const record::Experiment& e : run.experiments) ASSERT_OK(store.append(run, e));
    ASSERT_OK(store.finish(run));
  }
  std::string runs() const { return (folder_ / "runs").string(); }

  template <class Options>
  Result<std::string> printed(Status (*verb)(const Options&, std::FILE*), const Options& options) {
    const fs::path file = folder_ / "printed";
    std::FILE* out = std::fopen(file.c_str(), "w");
    Status status = verb(options, out);
    std::fclose(out);
    if (!status) return status.error();
    return read(file);
  }
  Result<std::string> show(ReportOptions options) {
    options.runs_folder = runs();
    return printed(&cmd_report, options);
  }

  fs::path folder_;
};

TEST_F(Verbs, ReportFindsARunByFolderFileIdAndLatest) {
  const record::Run run = report::sample_run();
  fs::create_directories(runs());
  store(run);
  ASSERT_OK(report::write_all(run, fs::path(runs()) / run.id));
  const fs::path run_folder = fs::path(runs()) / run.id;
  const std::string expected = report::terminal(run, {.folder = run_folder.string()});
  for (const std::string& name :
       {run_folder.string(), (run_folder / "record.json").string(), run.id, std::string("latest"), std::string()}) {
    ASSERT_VALUE(const std::string text, show({.run = name}));
    EXPECT_EQ(text, expected) << name;
  }
}

TEST_F(Verbs, ReportReadsTheStoreWhereTheFolderIsGone) {
  record::Run run = report::sample_run();
  fs::create_directories(runs());
  store(run);
  ASSERT_VALUE(const std::string text, show({.run = run.id}));
  EXPECT_EQ(text, report::terminal(run, {}));
}

TEST_F(Verbs, ReportPrintsEachForm) {
  const record::Run run = report::sample_run();
  ASSERT_OK(report::write_all(run, folder_ / "one"));
  const std::string name = (folder_ / "one").string();
  for (const auto& [format, expected] : {std::pair<const char*, std::string>{"md", report::markdown(run)},
                                         {"html", report::html(run)},
                                         {"csv", report::csv(run)},
                                         {"json", record::to_json(run) + "\n"}}) {
    ASSERT_VALUE(const std::string text, show({.run = name, .format = format}));
    EXPECT_TRUE(text == expected) << format;
  }
}

TEST_F(Verbs, ReportWritesAllFilesToAnotherFolder) {
  const record::Run run = report::sample_run();
  ASSERT_OK(report::write_all(run, folder_ / "one"));
  ASSERT_VALUE(const std::string text,
               show({.run = (folder_ / "one").string(), .out = (folder_ / "deep" / "two").string()}));
  EXPECT_THAT(text, HasSubstr("two/report.html"));
  for (const char* file : {"report.html", "report.md", "results.csv", "record.json"})
    EXPECT_TRUE(read(folder_ / "deep" / "two" / file) == read(folder_ / "one" / file)) << file;
}

TEST_F(Verbs, ReportRefusesWhatIsNotThereAndSaysWhatIs) {
  const auto missing = show({.run = "nope"});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().rule, "run.name");
  EXPECT_THAT(missing.error().hint, HasSubstr("redline run"));
  EXPECT_FALSE(fs::exists(runs())) << "looking for a run made a store";

  fs::create_directories(runs());
  store(report::sample_run());
  const auto other = show({.run = "nope"});
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().hint, HasSubstr(report::sample_run().id));

  std::ofstream(folder_ / "record.json") << "{\"schema_version\": 1";
  EXPECT_EQ(show({.run = folder_.string()}).error().kind, ErrorKind::invalid_input);
  EXPECT_EQ(show({.format = "pdf"}).error().kind, ErrorKind::usage);
}

TEST_F(Verbs, HistoryListsRunsNewestFirstAndMakesNoStore) {
  ASSERT_VALUE(const std::string none, printed(&cmd_history, {.runs_folder = runs()}));
  EXPECT_THAT(none, HasSubstr("redline run"));
  EXPECT_FALSE(fs::exists(runs()));

  fs::create_directories(runs());
  record::Run run = report::sample_run();
  store(run);
  run.id = "20261124-090000-full";
  run.started = "2026-11-24T09:00:00Z";
  store(run);
  ASSERT_VALUE(const std::string text, printed(&cmd_history, {.runs_folder = runs()}));
  EXPECT_LT(text.find("20261124-090000-full"), text.find("20261123-140509-quick"));
  EXPECT_THAT(text, HasSubstr("2026-11-23 14:05"));
}

}  // namespace
}  // namespace rl::app
