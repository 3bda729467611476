// A run whose device is lost on the way ends with what it has.

#include <filesystem>

#include "app/cmd_run.h"
#include "app/exit_code.h"
#include "app/find_run.h"
#include "check/result.h"

namespace rl::app {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// The CPU, until its n-th stream: from then on everything fails, as after a sticky error of CUDA's.
class Mortal final : public Device {
 public:
  Mortal(std::unique_ptr<Device> device, int streams) : device_(std::move(device)), streams_(streams), memory_(*this) {}
  const DeviceInfo& info() const override { return device_->info(); }
  Bytes available_memory() const override { return device_->available_memory(); }
  MemoryResource& memory() override { return memory_; }
  MemoryResource& pinned_memory() override { return memory_; }
  Result<std::unique_ptr<Stream>> make_stream() override {
    if (!lost_ && --streams_ < 0)
      lost_ = Error{.kind = ErrorKind::device,
                    .what = "cudaStreamSynchronize failed: the GPU is lost to this process",
                    .rule = kDeviceLost,
                    .found = "cudaErrorIllegalAddress: an illegal memory access was encountered",
                    .hint = "start the program again"};
    if (lost_) return *lost_;
    return device_->make_stream();
  }
  Result<std::unique_ptr<Event>> make_event() override {
    if (lost_) return *lost_;
    return device_->make_event();
  }
  Result<std::unique_ptr<Event>> make_timed_event() override { return device_->make_timed_event(); }
  Result<Seconds> elapsed(const Event& first, const Event& last) const override {
    return device_->elapsed(first, last);
  }
  bool can_capture() const override { return device_->can_capture(); }
  Result<std::unique_ptr<Device>> make_share(int index, int count) override {
    return device_->make_share(index, count);
  }
  std::optional<Error> lost() const override { return lost_; }

 private:
  struct Memory final : MemoryResource {
    explicit Memory(Mortal& mortal) : device(mortal) {}
    Result<void*> allocate(Bytes bytes) override {
      if (device.lost_) return *device.lost_;
      return device.device_->memory().allocate(bytes);
    }
    void deallocate(void* data, Bytes bytes) noexcept override { device.device_->memory().deallocate(data, bytes); }
    std::string name() const override { return "mortal memory"; }
    Mortal& device;
  };
  std::unique_ptr<Device> device_;
  int streams_;
  std::optional<Error> lost_;
  Memory memory_;
};

class LostDevice : public testing::Test {
 protected:
  LostDevice() : folder_(fs::temp_directory_path() / fmt::format("redline-lost-{}", ::getpid())) {}
  ~LostDevice() override { fs::remove_all(folder_); }
  // Runs the three experiments; `streams` are made before the device is lost.
  Result<int> run(int streams) {
    RunOptions options{.model = "demo",
                       .quick = true,
                       .only = {"fragmentation", "streams", "attention"},
                       .axes = {{"trace", {"plan"}}, {"seq", {"64"}}},
                       .runs_folder = folder_.string()};
    std::FILE* out = std::tmpfile();
    testing::internal::CaptureStderr();
    auto code = cmd_run(options, out, [&](const DeviceOptions& device) -> Result<OpenBackend> {
      DeviceOptions cpu = device;
      cpu.device = "cpu";
      RL_ASSIGN(OpenBackend open, open_backend(cpu));
      open.device = std::make_unique<Mortal>(std::move(open.device), streams);
      open.backend.device = open.device.get();
      return open;
    });
    std::fclose(out);
    errors_ = testing::internal::GetCapturedStderr();
    return code;
  }
  fs::path folder_;
  std::string errors_;
};

TEST_F(LostDevice, WhatWasDoneStaysTheRestSaysWhyAndTheReportIsThere) {
  ASSERT_VALUE(const int code, run(0));
  EXPECT_EQ(code, exit_code(ErrorKind::device));
  std::vector<std::string> damage;
  ASSERT_VALUE(const record::Run run, read_checked_run("last", folder_.string(), damage));
  EXPECT_TRUE(damage.empty());
  ASSERT_EQ(run.experiments.size(), 3u);
  EXPECT_EQ(run.experiments[0].state, record::State::done);
  EXPECT_FALSE(run.experiments[0].rows.empty());
  EXPECT_EQ(run.experiments[1].state, record::State::failed);
  EXPECT_THAT(run.experiments[1].reasons.at(0), HasSubstr("the GPU is lost to this process: cudaErrorIllegalAddress"));
  EXPECT_LE(run.experiments[1].rows.size(), 1u) << "no further point was tried";
  EXPECT_EQ(run.experiments[2].state, record::State::skipped);
  EXPECT_THAT(run.experiments[2].reasons.at(0), HasSubstr("the device was lost before it began"));
  EXPECT_EQ(run.experiments[2].remedy, "start the program again");
  EXPECT_FALSE(run.validity.valid);
  EXPECT_FALSE(run.finished.empty());
  EXPECT_TRUE(fs::exists(folder_ / run.id / "report.html"));
  const std::size_t said = errors_.find("the run ended early, with what it had");
  ASSERT_NE(said, std::string::npos);
  EXPECT_EQ(errors_.find("the run ended early", said + 1), std::string::npos) << "once";
}

// One stream later: in the middle of an experiment, with an engine of its own.
TEST_F(LostDevice, LaterInTheRunItEndsInOrderToo) {
  ASSERT_VALUE(const int code, run(1));
  EXPECT_EQ(code, exit_code(ErrorKind::device));
  std::vector<std::string> damage;
  ASSERT_VALUE(const record::Run run, read_checked_run("last", folder_.string(), damage));
  EXPECT_TRUE(damage.empty());
  ASSERT_EQ(run.experiments.size(), 3u);
  bool lost = false;
  for (const record::Experiment& experiment : run.experiments) {
    EXPECT_EQ(experiment.state == record::State::skipped, lost) << experiment.id;
    lost = lost || experiment.state == record::State::failed;
  }
  EXPECT_TRUE(lost);
}

}  // namespace
}  // namespace rl::app
