// Runs that were interrupted, and runs with names.

#include <gmock/gmock.h>

#include "check/result.h"
#include "kill_runs.h"

namespace rl::e2e {
namespace {

using testing::HasSubstr;

TEST(Resume, KillsLoseAndDoubleNothing) { expect_nothing_lost(kill_runs(6, 1)); }

class ResumeTest : public testing::Test {
 protected:
  Finished run(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--runs", (scratch_ / "runs").string()});
    return redline(arguments);
  }
  Result<record::Store> store() { return record::Store::open(scratch_ / "runs"); }

  // Measured once for all tests.
  static Result<record::Run> whole_run() {
    static const Result<record::Run> whole = []() -> Result<record::Run> {
      const Scratch scratch;
      const std::string runs = (scratch / "runs").string();
      redline({"run", "--only", "power,attention", "--seq", "64", "--heads", "1", "--causal", "no", "--runs", runs});
      RL_ASSIGN(const record::Store store, record::Store::open(runs));
      RL_ASSIGN(const auto list, store.list());
      return store.load(list.at(0).id);
    }();
    return whole;
  }
  // A run of two experiments, the second of which was never begun.
  void interrupt() {
    ASSERT_VALUE(record::Run whole, whole_run());
    ASSERT_VALUE(record::Store store, this->store());
    whole.id = "interrupted";
    whole.started = "2030-01-01T00:00:00Z";
    whole.finished.clear();
    whole.validity = {};
    ASSERT_OK(store.begin(whole));
    ASSERT_OK(store.append(whole, whole.experiments[0]));
  }
  Scratch scratch_;
};

TEST_F(ResumeTest, GoesOnWithWhatIsMissingAndSaysSo) {
  interrupt();
  const Finished resumed = run({"run", "--resume"});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  ASSERT_VALUE(const record::Run record,
               record::from_json(read_text(scratch_ / "runs" / "interrupted" / "record.json"), "record.json"));
  ASSERT_EQ(record.experiments.size(), 2u);
  EXPECT_EQ(record.experiments[1].id, "attention");
  EXPECT_EQ(record.experiments[1].rows.size(), 2u) << "the axes of the interrupted run are kept";
  ASSERT_FALSE(record.validity.warnings.empty());
  EXPECT_THAT(record.validity.warnings[0], HasSubstr("resumed at"));
  EXPECT_EQ(run({"verify"}).status, 0);
  const Finished again = run({"run", "--resume", "interrupted"});
  EXPECT_EQ(again.status, 10);
  EXPECT_THAT(again.err, HasSubstr("run.finished"));
}

TEST_F(ResumeTest, TakesTheDrawnModelOfTheRun) {
  ASSERT_EQ(run({"run", "--only", "power", "-m", "synthetic:llama-3.2-1b"}).status, 0);
  const Finished again = run({"run", "--resume"});
  EXPECT_THAT(again.err, HasSubstr("run.finished")) << "not run.resume: the model is the same";
}

TEST_F(ResumeTest, WritesTheFilesOfARunThatWasKilledWhileItWroteThem) {
  ASSERT_EQ(run({"run", "--only", "power,graphs"}).status, 0);
  std::filesystem::path folder;
  for (const auto& entry : std::filesystem::directory_iterator(scratch_ / "runs"))
    if (entry.is_directory()) folder = entry.path();
  std::filesystem::remove(folder / "SHA256SUMS");
  std::filesystem::remove(folder / "report.html");
  EXPECT_EQ(run({"verify", "last"}).status, 3);
  EXPECT_EQ(run({"run", "--resume"}).status, 0);
  EXPECT_EQ(run({"verify", "last"}).status, 0);
}

void set(record::Run& run, const std::string& name, const std::string& value) {
  for (auto& [key, text] : run.settings)
    if (key == name) text = value;
}

TEST_F(ResumeTest, KeepsTheLimitsOfTheInterruptedRun) {
  interrupt();
  {
    ASSERT_VALUE(record::Store store, this->store());
    ASSERT_VALUE(record::Run record, store.load("interrupted"));
    set(record, "max-kld", "0.05");
    set(record, "max-ppl-loss", "0.25");
    ASSERT_OK(store.append(record, record.experiments[0]));
  }
  const Finished resumed = run({"run", "--resume"});
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  ASSERT_VALUE(const record::Store store, this->store());
  ASSERT_VALUE(const record::Run record, store.load("interrupted"));
  EXPECT_THAT(record.settings, testing::Contains(testing::Pair("max-kld", "0.05")));
  EXPECT_THAT(record.settings, testing::Contains(testing::Pair("max-ppl-loss", "0.25")));
}

struct Other {
  const char* name;
  void (*change)(record::Run&);
  std::vector<std::string> flags;
};
class ResumeRefuses : public ResumeTest, public testing::WithParamInterface<Other> {};

TEST_P(ResumeRefuses, AnotherHalf) {
  interrupt();
  if (GetParam().change) {
    ASSERT_VALUE(record::Store store, this->store());
    ASSERT_VALUE(record::Run record, store.load("interrupted"));
    GetParam().change(record);
    ASSERT_OK(store.append(record, record.experiments[0]));
  }
  std::vector<std::string> arguments = {"run", "--resume", "interrupted"};
  arguments.insert(arguments.end(), GetParam().flags.begin(), GetParam().flags.end());
  const Finished refused = run(arguments);
  EXPECT_EQ(refused.status, 10) << refused.out;
  EXPECT_THAT(refused.err, HasSubstr("run.resume"));
  EXPECT_THAT(refused.err, HasSubstr(std::string(GetParam().name) + ": '"));
  ASSERT_VALUE(const record::Store store, this->store());
  ASSERT_VALUE(const record::Run kept, store.load("interrupted"));
  EXPECT_EQ(kept.experiments.size(), 1u) << "something was measured";
}

INSTANTIATE_TEST_SUITE_P(
    Cases, ResumeRefuses,
    testing::Values(
        Other{"commit", [](record::Run& run) { run.environment.commit = "0000000000"; }, {}},
        Other{"model", [](record::Run& run) { run.model.fingerprint = "another"; }, {}},
        Other{"machine", [](record::Run& run) { run.environment.cpu = "another"; }, {}},
        Other{"seed", nullptr, {"--seed", "2"}}, Other{"--seq", nullptr, {"--seq", "128"}},
        Other{"mode", nullptr, {"--full"}}, Other{"threads", nullptr, {"-t", "1"}},
        Other{"max-kld", nullptr, {"--max-kld", "0.05"}},
        // A flag that says the default is given all the same.
        Other{"max-ppl-loss", [](record::Run& run) { set(run, "max-ppl-loss", "0.25"); }, {"--max-ppl-loss", "0.01"}},
        Other{"experiments", nullptr, {"--only", "attention"}}),
    [](const auto& instance) {
      std::string name = instance.param.name;
      std::erase(name, '-');
      return name;
    });

TEST_F(ResumeTest, BaselinesNameRunsToCompareWith) {
  const std::vector<std::string> small = {"run",      "--only", "attention",          "--seq", "64", "--heads", "1",
                                          "--causal", "no",     "--max-foreign-load", "1"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), small.begin(), small.end());
    return run(more);
  };
  EXPECT_EQ(with({"--save-baseline", "last"}).status, 4);
  EXPECT_EQ(with({"--baseline", "monday"}).status, 10) << "refused before anything is measured";
  ASSERT_EQ(with({"--save-baseline", "monday"}).status, 0);
  EXPECT_THAT(run({"history", "--baselines"}).out, HasSubstr("monday"));
  const Finished compared = with({"--baseline", "monday"});
  EXPECT_LE(compared.status, 2) << compared.err;  // what it finds depends on the machine
  EXPECT_THAT(compared.out, HasSubstr("A (baseline)"));
  // The name and "last~1" are the same run; how wide its intervals are depends on the machine.
  const Finished itself = run({"compare", "monday", "last~1"});
  EXPECT_TRUE(itself.status == 0 || itself.status == 2) << itself.out << itself.err;
  const Finished other = with({"--baseline", "monday", "--seed", "2"});
  EXPECT_EQ(other.status, 3);
  EXPECT_THAT(other.out, HasSubstr("UNLIKE        seed: 1 | 2"));
  const std::string trend = run({"history", "--trend"}).out;
  EXPECT_THAT(trend, HasSubstr("attention\n"));
  EXPECT_THAT(trend, HasSubstr("no long sequence"));
  EXPECT_EQ(run({"history", "--drop-baseline", "monday"}).status, 0);
  EXPECT_EQ(run({"history", "--drop-baseline", "monday"}).status, 10);
  EXPECT_EQ(run({"compare", "monday", "last"}).status, 10);
}

TEST_F(ResumeTest, ADamagedBaselineIsRefusedBeforeAnythingIsMeasured) {
  ASSERT_EQ(run({"run", "--only", "power,graphs", "--save-baseline", "monday"}).status, 0);
  ASSERT_VALUE(const record::Store store, this->store());
  ASSERT_VALUE(const auto list, store.list());
  const std::filesystem::path file = scratch_ / "runs" / list.at(0).id / "record.json";
  std::string text = read_text(file);
  const std::size_t at = text.find("\"started\": \"2");
  ASSERT_NE(at, text.npos);
  text[at + 12] ^= 1;
  write_text(file, text);
  const Finished refused = run({"run", "--only", "power,graphs", "--baseline", "monday"});
  EXPECT_EQ(refused.status, 3) << refused.out;
  EXPECT_THAT(refused.err, HasSubstr("record.json was changed"));
  ASSERT_VALUE(const auto after, store.list());
  EXPECT_EQ(after.size(), 1u) << "a run was made";
}

}  // namespace
}  // namespace rl::e2e
