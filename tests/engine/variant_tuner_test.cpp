// The choice of variants by their time, on a device whose clock the variants themselves move.

#include "engine/variant_tuner.h"

#include <numeric>
#include <set>

#include "check/result.h"
#include "ops/case_inputs.h"

namespace rl::engine {
namespace {

double now = 0;  // seconds, of the device
int launches[5];
bool shares_time = false;  // the first variant's with the op before it

class FakeEvent final : public Event {
 public:
  bool done() const override { return true; }
  Status wait() const override { return ok(); }
  double reached = 0;
};
class FakeStream final : public Stream {
 public:
  Status wait_for_all() override { return ok(); }
  Status copy_to_device(void* device, const void* host, Bytes bytes) override {
    std::memcpy(device, host, static_cast<std::size_t>(bytes.count));
    return ok();
  }
  Status copy_to_host(void*, const void*, Bytes) override { return ok(); }
  Status record(Event& event) override {
    static_cast<FakeEvent&>(event).reached = now;
    return ok();
  }
  Status begin_capture() override { return Error{}; }
  Result<std::unique_ptr<CapturedStep>> end_capture(const CaptureOptions&) override { return Error{}; }
  Status replay(CapturedStep&) override { return Error{}; }
};
class FakeDevice final : public Device {
 public:
  const DeviceInfo& info() const override { return info_; }
  Bytes available_memory() const override { return {}; }
  MemoryResource& memory() override { return host_memory(); }
  MemoryResource& pinned_memory() override { return host_memory(); }
  Result<std::unique_ptr<Stream>> make_stream() override { return Error{}; }
  Result<std::unique_ptr<Event>> make_event() override { return make_timed_event(); }
  Result<std::unique_ptr<Event>> make_timed_event() override {
    return std::unique_ptr<Event>(std::make_unique<FakeEvent>());
  }
  Result<Seconds> elapsed(const Event& first, const Event& last) const override {
    return Seconds{static_cast<const FakeEvent&>(last).reached - static_cast<const FakeEvent&>(first).reached};
  }
  bool can_capture() const override { return false; }
  Result<std::unique_ptr<Device>> make_share(int, int) override { return Error{}; }

 private:
  DeviceInfo info_;
};

using ops::LinearArgs;
constexpr double kSeconds[] = {10e-6, 5e-6, 4.95e-6, 100e-6, 1e-6};

template <int kIndex>
ops::Variant<LinearArgs> variant(const char* name) {
  return {.name = name,
          .facts = {},
          .supports = [](const LinearArgs& args, const Arch&) -> Status {
            if (kIndex == 0 && args.x.shape[0] > 8) return Error{.kind = ErrorKind::unsupported};
            return ok();
          },
          .workspace = [](const LinearArgs&) { return Bytes{}; },
          .launch = [](const LinearArgs&, void*, Stream&) -> Status {
            now += kSeconds[kIndex] - (kIndex == 0 && shares_time ? 8e-6 : 0);
            shares_time = false;
            ++launches[kIndex];
            return ok();
          }};
}
const ops::Variant<LinearArgs> kList[] = {variant<0>("linear/first"), variant<1>("linear/fast"),
                                          variant<2>("linear/hardly_faster"), variant<3>("linear/hopeless"),
                                          variant<4>("linear/naive")};

class VariantTunerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::fill(std::begin(launches), std::end(launches), 0);
    ASSERT_VALUE(inputs,
                 ops::make_inputs(ops::LinearCase{"", 0, 4, 16, 32}, ops::kLinearTypes[1], quant::Layout::row_major));
    candidates = ops::candidates<LinearArgs>(kList, inputs.args, {});
  }
  Result<std::string> chosen() {
    RL_ASSIGN(const auto* const variant, tuner.choose(candidates, {&inputs.args, 1}, nullptr));
    return std::string(variant->name);
  }
  int all_launches() const { return std::accumulate(std::begin(launches), std::end(launches), 0); }

  ops::CaseInputs<LinearArgs> inputs;
  std::vector<const ops::Variant<LinearArgs>*> candidates;
  FakeDevice device;
  FakeStream stream;
  ops::Choices choices{{}, "a device"};
  VariantTuner tuner{device, stream, choices};
};

TEST_F(VariantTunerTest, TakesTheFirstThatNoOtherGainsEnoughOn) {
  ASSERT_EQ(candidates.size(), 4U) << "all but the naive one";
  ASSERT_VALUE(const std::string name, chosen());
  EXPECT_EQ(name, "linear/fast");
  EXPECT_EQ(launches[3], 2) << "far behind after one call: not timed further";
  EXPECT_EQ(launches[4], 0);
  const auto kept = choices.find(shape_of(inputs.args, candidates));
  ASSERT_TRUE(kept);
  ASSERT_EQ(kept->timed.size(), 3U);
  EXPECT_EQ(kept->timed[1].variant, "linear/hardly_faster");
  EXPECT_NEAR(kept->timed[0].seconds.count, 5e-6, 1e-12);
  EXPECT_NEAR(kept->timed[2].seconds.count, 10e-6, 1e-12);
}

// After an op that shares its time with one of them, that one adds less to a step than it takes alone.
TEST_F(VariantTunerTest, CountsWhatAProductAddsToTheOpBeforeIt) {
  const std::vector<float> untouched(32, -1.0f);
  std::vector<float> input = untouched;
  const VariantTuner::Before before{.name = "silu_mul/some",
                                    .launch = [](Stream&) -> Status {
                                      now += 20e-6;
                                      shares_time = true;
                                      return ok();
                                    },
                                    .input = tensor(input.data(), {1, 32})};
  ASSERT_VALUE(const auto* const after, tuner.choose(candidates, {&inputs.args, 1}, nullptr, before));
  EXPECT_STREQ(after->name, "linear/first");
  EXPECT_NE(input, untouched);
  const auto kept = choices.find(shape_of(inputs.args, candidates, before));
  ASSERT_TRUE(kept);
  EXPECT_NEAR(kept->timed[0].seconds.count, 2e-6, 1e-12);
  EXPECT_NEAR(kept->timed[1].seconds.count, 4.95e-6, 1e-12);
  ASSERT_VALUE(const std::string alone, chosen());
  EXPECT_EQ(alone, "linear/fast");
}

TEST_F(VariantTunerTest, MeasuresAShapeOnce) {
  ASSERT_OK(chosen());
  const int before = all_launches();
  ASSERT_VALUE(const std::string name, chosen());
  EXPECT_EQ(name, "linear/fast");
  EXPECT_EQ(all_launches(), before);
}

TEST_F(VariantTunerTest, BelievesWhatIsKept) {
  choices.insert(shape_of(inputs.args, candidates), {.timed = {{"linear/first", {1}}}});
  ASSERT_VALUE(const std::string name, chosen());
  EXPECT_EQ(name, "linear/first");
  EXPECT_EQ(all_launches(), 0);
}

TEST_F(VariantTunerTest, AVariantThatIsKeptButNotThereIsNotUsed) {
  choices.insert(shape_of(inputs.args, candidates), {.timed = {{"linear/of_another_program", {1}}}});
  ASSERT_VALUE(const std::string name, chosen());
  EXPECT_EQ(name, "linear/first");
}

TEST_F(VariantTunerTest, OneCandidateIsNotTimed) {
  candidates.resize(1);
  ASSERT_VALUE(const std::string name, chosen());
  EXPECT_EQ(name, "linear/first");
  EXPECT_EQ(all_launches(), 0);
}

TEST_F(VariantTunerTest, TheNaiveOneIsACandidateWhereThereIsNoOther) {
  const auto only = ops::candidates<LinearArgs>(std::span(kList).last(1), inputs.args, {});
  ASSERT_EQ(only.size(), 1U);
  EXPECT_STREQ(only.front()->name, "linear/naive");
}

TEST_F(VariantTunerTest, ShapesAreToldApart) {
  std::set<std::string> shapes{shape_of(inputs.args, candidates)};
  const auto expect_new = [&](const auto& change) {
    LinearArgs args = inputs.args;
    change(args);
    EXPECT_TRUE(shapes.insert(shape_of(args, candidates)).second) << shape_of(args, candidates);
  };
  expect_new([](LinearArgs& a) { a.x.shape[0] = 5; });
  expect_new([](LinearArgs& a) { a.weight.rows = 17; });
  expect_new([](LinearArgs& a) { a.weight.cols = 33; });
  expect_new([](LinearArgs& a) { a.weight.format = quant::Format::f16; });
  expect_new([](LinearArgs& a) { a.x.dtype = DType::bf16; });
  expect_new([](LinearArgs& a) { a.x.strides[0] = 48; });
  expect_new([](LinearArgs& a) { a.out.dtype = DType::bf16; });
  expect_new([](LinearArgs& a) { a.accumulate = true; });
  expect_new([](LinearArgs& a) { a.bias = a.x; });
  candidates.pop_back();
  expect_new([](LinearArgs&) {});
}

}  // namespace
}  // namespace rl::engine
