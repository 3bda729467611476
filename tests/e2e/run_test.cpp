// A run from command to files: the record, the report, the history.

#include <gmock/gmock.h>

#include "base/sha256.h"
#include "check/result.h"
#include "e2e/program.h"
#include "record/integrity.h"
#include "record/json.h"
#include "record/write_run.h"

namespace rl::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

class RunTest : public testing::Test {
 protected:
  Finished run(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--runs", (scratch_ / "runs").string()});
    return redline(arguments);
  }
  // The only run there is.
  std::filesystem::path folder() const {
    for (const auto& entry : std::filesystem::directory_iterator(scratch_ / "runs"))
      if (entry.is_directory()) return entry.path();
    return {};
  }
  Scratch scratch_;
};

TEST_F(RunTest, OneExperimentLeavesRecordReportAndHistory) {
  const Finished finished =
      run({"experiment", "attention", "--seq", "64,128,256", "--heads", "2", "--max-foreign-load", "1"});
  ASSERT_EQ(finished.status, 0) << finished.err;
  EXPECT_THAT(finished.out, HasSubstr("attention"));
  for (const char* file : {"record.json", "report.html", "report.md", "results.csv"})
    EXPECT_GT(std::filesystem::file_size(folder() / file), 100u) << file;

  ASSERT_VALUE(const record::Run record, record::from_json(read_text(folder() / "record.json"), "record.json"));
  EXPECT_EQ(record.mode, "custom");
  EXPECT_THAT(record.command, HasSubstr("redline experiment attention --seq 64,128,256"));
  ASSERT_EQ(record.experiments.size(), 1u);
  const record::Experiment& attention = record.experiments[0];
  EXPECT_EQ(attention.state, record::State::done);
  EXPECT_EQ(attention.rows.size(), 12u) << "3 lengths, causal or not, 2 variants";
  for (const record::Row& row : attention.rows) {
    EXPECT_TRUE(row.validity.valid);
    EXPECT_FALSE(row.path.empty());
    EXPECT_GE(row.metrics.at(0).samples.size(), 5u);
  }
  EXPECT_EQ(attention.comparisons.size(), 6u);
  EXPECT_GT(attention.peak_memory_bytes, 0);
  for (const record::Hypothesis& hypothesis : attention.hypotheses)
    if (hypothesis.id == "attention.speed") {
      EXPECT_EQ(hypothesis.outcome, record::Outcome::inconclusive) << "no long sequence was measured";
    }

  const std::string id = folder().filename().string();
  EXPECT_THAT(run({"history"}).out, HasSubstr(id));
  EXPECT_THAT(run({"report", id}).out, HasSubstr("attention"));
  EXPECT_THAT(run({"report", id, "-o", "md"}).out, HasSubstr("# "));
}

TEST_F(RunTest, TheListNamesEveryRowOfThePlan) {
  const Finished list = run({"run", "--list"});
  EXPECT_EQ(list.status, 0);
  for (const char* id : {"baseline", "attention", "fragmentation", "quantization", "graphs", "streams", "batching",
                         "power", "tensor-cores", "engines", "combined"})
    EXPECT_THAT(list.out, HasSubstr(id));
  EXPECT_THAT(list.out, Not(HasSubstr("not built yet")));
  const std::string dry = run({"run", "--dry-run"}).out;
  EXPECT_THAT(dry, HasSubstr("seq 256"));
  EXPECT_THAT(dry, HasSubstr("8 points, about 8.00 s"));
  EXPECT_THAT(dry, HasSubstr("in all about "));
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "runs")) << "nothing was measured, nothing is written";
}

TEST_F(RunTest, BenchPrintsRowsInLlamaBenchsTerms) {
  const Finished bench =
      redline({"bench", "-p", "64", "-n", "16", "-d", "64", "-b", "2", "-r", "2", "--pdl", "on,off", "--check"});
  ASSERT_EQ(bench.status, 0) << bench.err;
  for (const char* row : {"logits checked against attention/cpu.ref, linear/cpu.ref: 24 tokens", "| on |", "| off |",
                          "inputs: feed", "pp64", "tg16 @ d64 x 2", "read bandwidth", "matrix rate"})
    EXPECT_THAT(bench.out, HasSubstr(row));
  const Finished json = redline({"bench", "-p", "0", "-n", "16", "-r", "2", "-o", "jsonl"});
  for (const char* key :
       {"\"n_prompt\"", "\"n_gen\"", "\"n_depth\"", "\"avg_ts\"", "\"samples_ts\"", "\"host_seconds_per_step\"",
        "\"host_seconds_per_step_least_tenth\"", "\"peak_memory_bytes\"", "\"logits_checked\": null"})
    EXPECT_THAT(json.out, HasSubstr(key));
  const Finished csv = redline({"bench", "-p", "0", "-n", "16", "-r", "2", "-o", "csv"});
  const std::size_t head = csv.out.find('\n');
  ASSERT_NE(head, std::string::npos) << csv.out;
  EXPECT_EQ(std::count(csv.out.begin(), csv.out.begin() + static_cast<std::ptrdiff_t>(head), ','),
            std::count(csv.out.begin() + static_cast<std::ptrdiff_t>(head), csv.out.end(), ','))
      << csv.out;
}

TEST_F(RunTest, RecordsHoldNoHomeFolder) {
  const char* home = ::getenv("HOME");
  ASSERT_NE(home, nullptr);
  const Finished finished = run({"experiment", "attention", "--seq", "64", "--heads", "1", "--causal", "no"});
  ASSERT_EQ(finished.status, 0) << finished.err;
  EXPECT_THAT(read_text(folder() / "record.json"), testing::Not(HasSubstr(std::string(home) + "/")));
}

TEST_F(RunTest, VerifyAsksNoOtherProgramsRecordForItsOwnConclusions) {
  const std::string record = REDLINE_SOURCE_DIR "/docs/results/2026-11-29-h200/full";
  const Finished verified = redline({"verify", record});
  EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
  EXPECT_THAT(verified.out, HasSubstr("491 metrics, 110 comparisons, 35 outcomes, 0 conclusions"));
  EXPECT_THAT(verified.out, HasSubstr("those of the program at commit 8c6f334cdf"));
}

TEST_F(RunTest, VerifyComputesARunAgainAndFindsOneFlippedByte) {
  ASSERT_EQ(run({"experiment", "attention", "--seq", "64,128,256", "--heads", "2", "--max-foreign-load", "1"}).status,
            0);
  ASSERT_EQ(run({"experiment", "baseline", "--load", "prefill,decode", "--tokens", "32"}).status, 0);
  const Finished fine = run({"verify"});
  EXPECT_EQ(fine.status, 0) << fine.out << fine.err;
  for (const char* text : {"store  verified", "-custom  verified", "6 comparisons", "1 conclusions"})
    EXPECT_THAT(fine.out, HasSubstr(text));

  // White space, a digit of a sample, a letter of a page.
  const std::filesystem::path folder = this->folder();
  for (const char* name : {"record.json", "report.html", "results.csv", "SHA256SUMS"}) {
    const std::string intact = read_text(folder / name);
    std::string damaged = intact;
    damaged[intact.find(' ', intact.size() / 2) == intact.npos ? intact.size() / 2
                                                               : intact.find(' ', intact.size() / 2)] ^= 1;
    write_text(folder / name, damaged);
    const Finished found = run({"verify", folder.string()});
    EXPECT_EQ(found.status, 3) << name;
    EXPECT_THAT(found.out, HasSubstr(name));
    EXPECT_THAT(found.out, HasSubstr("DIFFERS"));
    write_text(folder / name, intact);
  }

  // Somebody who changes a result and its sum as well meets the computation and the store.
  const std::string intact = read_text(folder / "record.json"), sums = read_text(folder / "SHA256SUMS");
  std::string better = intact;
  const std::size_t outliers = better.find("\"outliers\": ") + 12;
  better.insert(outliers, "9");
  write_text(folder / "record.json", better);
  write_text(folder / "SHA256SUMS", sha256_hex(better) + sums.substr(64));
  const Finished forged = run({"verify", folder.string(), "--json"});
  EXPECT_EQ(forged.status, 3);
  EXPECT_THAT(forged.out, HasSubstr("by computation"));
  EXPECT_THAT(forged.out, HasSubstr("differs from the store's copy of the run at line"));
  write_text(folder / "record.json", intact);
  write_text(folder / "SHA256SUMS", sums);
  EXPECT_EQ(run({"verify", folder.string()}).status, 0);
}

TEST_F(RunTest, CompareExitsByWhatItFinds) {
  ASSERT_EQ(run({"experiment", "attention", "--seq", "64", "--heads", "1", "--causal", "no", "--max-foreign-load", "1"})
                .status,
            0);
  ASSERT_VALUE(record::Run record, record::from_json(read_text(folder() / "record.json"), "record.json"));
  const std::string baseline = folder().string(), candidate = (scratch_ / "candidate").string();
  const auto compare = [&](std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"compare", baseline, candidate});
    return run(more);
  };
  const auto write = [&] {
    ASSERT_OK(record::write_run_folder(record, candidate));
    ASSERT_OK(record::write_sums(candidate));
  };
  // Samples of this test's making: no verdict depends on the machine.
  std::erase_if(record.experiments[0].rows[0].metrics,
                [](const record::Metric& metric) { return metric.name != "time" && !metric.samples.empty(); });
  record::Metric& time = record.experiments[0].rows[0].metrics[0];
  ASSERT_EQ(time.name, "time");
  time.samples.resize(40);
  for (std::size_t i = 0; i < 40; ++i) time.samples[i] = 1e-3 * (1 + 1e-4 * static_cast<double>(i * 7 % 40));
  record.experiments[0].rows.resize(1);
  record.experiments[0].peak_memory_bytes = 0;
  record::Metric anchor = time;
  anchor.name = "read_bandwidth";
  record.experiments.push_back(
      {.id = "baseline",
       .state = record::State::done,
       .rows = {{.axes = {{"load", "ceiling"}, {"probe", "read_bandwidth"}}, .metrics = {std::move(anchor)}}}});
  ASSERT_OK(record::write_run_folder(record, baseline));
  ASSERT_OK(record::write_sums(baseline));

  write();
  const Finished same = compare();
  EXPECT_EQ(same.status, 0) << same.out << same.err;
  EXPECT_THAT(same.out, HasSubstr("\nFINE\n"));

  for (double& sample : time.samples) sample *= 1.4;
  write();
  EXPECT_EQ(compare().status, 1);
  EXPECT_THAT(compare({"--json"}).out, HasSubstr("\"judgement\": \"worse\""));
  EXPECT_THAT(compare({"--md"}).out, HasSubstr("| WORSE | attention, variant standard"));

  for (std::size_t i = 0; i < 40; ++i) time.samples[i] *= i % 2 == 0 ? 0.3 : 1;
  write();
  EXPECT_EQ(compare().status, 2);

  record.model.fingerprint = "another";
  write();
  const Finished unlike = compare();
  EXPECT_EQ(unlike.status, 3);
  EXPECT_THAT(unlike.out, HasSubstr("UNLIKE        model: "));
  EXPECT_THAT(unlike.out, HasSubstr("--allow-differences model"));
  EXPECT_EQ(compare({"--allow-differences", "model"}).status, 2);
  EXPECT_EQ(compare({"--allow-differences", "weather"}).status, 4);

  record.mode = "changed behind its sum";
  ASSERT_OK(record::write_run_folder(record, candidate));
  EXPECT_THAT(compare().out, HasSubstr("record.json was changed"));
  EXPECT_EQ(run({"compare", "last", "nothing"}).status, 10);
}

}  // namespace
}  // namespace rl::e2e
