// The fragmentation experiment on a card: here one whose memory is the host's, with a driver's ways to hand it out.

#include <sys/mman.h>

#include "check/result.h"
#include "experiments/list.h"
#include "lab/conclude.h"
#include "lab/runner.h"

namespace rl::experiments {
namespace {

using namespace literals;
using testing::HasSubstr;

// Addresses of the host without memory behind what nobody touches.
void* take_addresses(std::int64_t bytes) {
  void* const data = ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  RL_CHECK(data != MAP_FAILED);
  return data;
}

// Counts like a driver: what is held, and that no more than the card has is given out.
class HostCard final : public Device {
 public:
  explicit HostCard(Bytes memory) {
    info_ = {.name = "a card of host memory", .arch = {.family = Arch::Family::cuda, .version = 90}, .memory = memory};
  }
  ~HostCard() override { EXPECT_EQ(used_, 0) << "everything was given back"; }
  const DeviceInfo& info() const override { return info_; }
  Bytes available_memory() const override { return info_.memory - Bytes{used_}; }
  MemoryResource& memory() override { return direct_; }
  MemoryResource& pinned_memory() override { return host_memory(); }
  VirtualMemory* virtual_memory() override { return &virtual_; }
  bool can_capture() const override { return false; }
  bool host_reads_memory() const override { return false; }
  Result<std::unique_ptr<Event>> make_timed_event() override { return Error{.kind = ErrorKind::unsupported}; }
  Result<Seconds> elapsed(const Event&, const Event&) const override { return Error{.kind = ErrorKind::unsupported}; }
  Result<std::unique_ptr<Event>> make_event() override { return Error{.kind = ErrorKind::unsupported}; }
  Result<std::unique_ptr<Device>> make_share(int, int) override { return Error{.kind = ErrorKind::unsupported}; }
  Result<std::unique_ptr<Stream>> make_stream() override { return std::unique_ptr<Stream>(std::make_unique<Copies>()); }
  Result<std::unique_ptr<PoolResource>> make_pool(Stream&, const PoolOptions& options) override {
    return std::unique_ptr<PoolResource>(std::make_unique<Pool>(*this, options.most));
  }
  Bytes peak() const { return {peak_}; }

 private:
  Status take(std::int64_t bytes) {
    if (used_ + bytes > info_.memory.count) return Error{.kind = ErrorKind::out_of_memory, .what = "no memory left"};
    used_ += bytes;
    peak_ = std::max(peak_, used_);
    return ok();
  }

  struct Copies final : Stream {
    Status wait_for_all() override { return ok(); }
    Status copy_to_device(void* to, const void* from, Bytes bytes) override { return copy(to, from, bytes); }
    Status copy_to_host(void* to, const void* from, Bytes bytes) override { return copy(to, from, bytes); }
    static Status copy(void* to, const void* from, Bytes bytes) {
      std::memcpy(to, from, static_cast<std::size_t>(bytes.count));
      return ok();
    }
    Status record(Event&) override { return ok(); }
    Status begin_capture() override { return Error{.kind = ErrorKind::unsupported}; }
    Result<std::unique_ptr<CapturedStep>> end_capture(const CaptureOptions&) override {
      return Error{.kind = ErrorKind::unsupported};
    }
    Status replay(CapturedStep&) override { return Error{.kind = ErrorKind::unsupported}; }
  };
  struct Direct final : MemoryResource {
    explicit Direct(HostCard& host) : card(host) {}
    Result<void*> allocate(Bytes bytes) override {
      RL_TRY(card.take(bytes.count));
      return take_addresses(bytes.count);
    }
    void deallocate(void* data, Bytes bytes) noexcept override {
      ::munmap(data, static_cast<std::size_t>(bytes.count));
      card.used_ -= bytes.count;
    }
    std::string name() const override { return "host card"; }
    HostCard& card;
  };
  // Keeps every block it ever made, and gives one out again to a request of the same size only.
  struct Pool final : PoolResource {
    Pool(HostCard& host, Bytes limit) : card(host), most(limit) {}
    ~Pool() override { (void)trim({}); }
    Result<void*> allocate(Bytes bytes) override {
      if (const auto again = kept.find(bytes.count); again != kept.end()) {
        void* const data = again->second;
        kept.erase(again);
        return data;
      }
      if (reserved + bytes.count > most.count) return Error{.kind = ErrorKind::out_of_memory, .what = "pool full"};
      RL_ASSIGN(void* const data, card.direct_.allocate(bytes));
      reserved += bytes.count;
      return data;
    }
    void deallocate(void* data, Bytes bytes) noexcept override { kept.emplace(bytes.count, data); }
    std::string name() const override { return "pool"; }
    Result<State> state() const override { return State{.reserved = {reserved}, .used = {}}; }
    Status trim(Bytes) override {
      for (const auto& [bytes, data] : kept) {
        reserved -= bytes;
        card.direct_.deallocate(data, {bytes});
      }
      kept.clear();
      return ok();
    }
    HostCard& card;
    Bytes most;
    std::multimap<std::int64_t, void*> kept;
    std::int64_t reserved = 0;
  };
  struct Virtual final : VirtualMemory {
    explicit Virtual(HostCard& host) : card(host) {}
    std::int64_t granularity() const override { return 2 << 20; }
    Result<alloc::Address> reserve(std::int64_t bytes) override {
      return reinterpret_cast<alloc::Address>(take_addresses(bytes));
    }
    void free_addresses(alloc::Extent extent) noexcept override {
      ::munmap(reinterpret_cast<void*>(extent.address), static_cast<std::size_t>(extent.bytes));
    }
    Result<Block> create(std::int64_t bytes) override {
      RL_TRY(card.take(bytes));
      return ++last;
    }
    void destroy(Block) noexcept override {}  // here a block is always mapped first
    Status map(alloc::Extent, Block) override { return ok(); }
    void unmap(alloc::Extent extent) noexcept override { card.used_ -= extent.bytes; }
    Status allow_access(alloc::Extent) override { return ok(); }
    HostCard& card;
    Block last = 0;
  };

  DeviceInfo info_;
  std::int64_t used_ = 0, peak_ = 0;
  Direct direct_{*this};
  Virtual virtual_{*this};
};

class FragmentationOnACard : public testing::Test {
 protected:
  Result<record::Experiment> run(lab::AxisOverrides axes = {}) {
    lab::Context context{.backend = backend_,
                         .oracle = oracle_,
                         .memory = memory_,
                         .model = model_,
                         .effort = 0.02,
                         .axes = std::move(axes)};
    return lab::run_experiment(*find("fragmentation"), context);
  }
  static double value(const record::Row& row, const char* metric) { return lab::find_metric(row, metric)->value; }

  HostCard card_{16_GiB};
  ops::Backend backend_{.name = "cuda", .device = &card_, .catalog = {}, .probes = {}};
  ops::Oracle oracle_;
  CountingResource memory_{card_.memory()};
  model::ModelSource model_;
};

TEST_F(FragmentationOnACard, EveryPolicyRunsOnItsMemoryAndTheMarginStaysFree) {
  ASSERT_VALUE(const record::Experiment record, run());
  EXPECT_EQ(record.state, record::State::done);
  ASSERT_EQ(record.rows.size(), 14u) << "two traces of seven policies: the driver's pool is one";
  const double space = 15.0 * (1 << 30);  // a sixteenth is the margin
  for (const record::Row& row : record.rows) {
    const std::string &policy = *lab::find_axis(row, "policy"), &trace = *lab::find_axis(row, "trace");
    SCOPED_TRACE(policy + " " + trace);
    ASSERT_TRUE(row.validity.valid) << row.validity.reasons[0];
    EXPECT_EQ(*lab::find_axis(row, "space"), "card");
    EXPECT_NEAR((value(row, "requested_bytes") + value(row, "large_bytes")) / space, 0.95, 1e-3);
    EXPECT_EQ(value(row, "driver_taken_bytes"), value(row, "reserved_bytes")) << "the driver's count is the policy's";
    EXPECT_EQ(value(row, "driver_free_bytes"), 16.0 * (1 << 30) - value(row, "reserved_bytes"));
    EXPECT_EQ(value(row, "large_fits") == 1, value(row, "largest_free_bytes") >= value(row, "large_bytes"))
        << "two ways to the same answer";
    if (trace == "plan") {
      EXPECT_EQ(value(row, "large_fits"), policy == "caching-no-trim" ? 0 : 1);
      EXPECT_EQ(value(row, "failed_calls"), 0);
    }
    EXPECT_FALSE(lab::find_metric(row, "call_time")->samples.empty());
  }
  EXPECT_LE(card_.peak(), 15_GiB);
  EXPECT_THAT(record.meaning, HasSubstr("plan at the card"));
  EXPECT_THAT(record.notes.back(), HasSubstr("The memory is the card's"));
}

TEST_F(FragmentationOnACard, WhereNoPolicyFailsTheVerdictIsInconclusive) {
  ASSERT_VALUE(const record::Experiment record,
               run({{"trace", {"plan"}}, {"policy", {"direct", "pool", "expandable"}}}));
  EXPECT_EQ(record.outcome, record::Outcome::inconclusive);
}

TEST_F(FragmentationOnACard, ASizeIsAPartOfTheCardAndNotMore) {
  ASSERT_VALUE(const record::Experiment record,
               run({{"space", {"2", "16", "much"}}, {"trace", {"plan"}}, {"policy", {"expandable"}}}));
  ASSERT_EQ(record.rows.size(), 3u);
  EXPECT_TRUE(record.rows[0].validity.valid);
  EXPECT_LE(card_.peak(), 2_GiB);
  EXPECT_THAT(record.rows[1].validity.reasons.at(0), HasSubstr("less free memory, with a margin"));
  EXPECT_THAT(record.rows[2].validity.reasons.at(0), HasSubstr("no size of a device"));
}

}  // namespace
}  // namespace rl::experiments
