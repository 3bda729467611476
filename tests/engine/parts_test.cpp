// Parts of the engine that need no model: the memory plan, the plan cache, buckets, step inputs, stop strings.

#include <cstring>
#include <random>

#include "check/result.h"
#include "device/memory.h"
#include "engine/memory_plan.h"
#include "engine/step_inputs.h"
#include "engine/step_plan.h"
#include "engine/stop_filter.h"
#include "engine/time_histogram.h"

namespace rl::engine {
namespace {

using namespace literals;

TEST(MemoryPlan, TotalLeavesOutPinnedMemoryAndTheTableShowsIt) {
  MemoryPlan plan;
  plan.lines = {{"weights", 3_MiB, "bf16"}, {"kv pages", 1_MiB, ""}, {"step inputs", 2_MiB, "host copy", true}};
  EXPECT_EQ(plan.total(), 4_MiB);
  EXPECT_EQ(plan.of("kv pages"), 1_MiB);
  EXPECT_EQ(plan.of("nothing"), Bytes{0});
  const std::string table = plan.table();
  EXPECT_NE(table.find("4.00 MiB"), std::string::npos) << table;
  EXPECT_NE(table.find("host copy"), std::string::npos) << table;
}

TEST(TimeHistogram, TellsQuantilesOfWhatWasAddedSince) {
  TimeHistogram times;
  for (int i = 0; i < 1000; ++i) times.add({1e-3});
  const TimeHistogram before = times;
  EXPECT_EQ(times.quantile_since(before, kMedian).count, 0);
  for (int i = 0; i < 51; ++i) times.add({3e-6 * (1 + i * 1e-4)});
  for (int i = 0; i < 50; ++i) times.add({0.5});
  EXPECT_NEAR(times.quantile_since(before, kMedian).count, 3e-6, 0.03 * 3e-6);
  times.add({1e-6});
  EXPECT_NEAR(times.quantile_since(before, 0).count, 1e-6, 0.03 * 1e-6);
  EXPECT_NEAR(times.quantile_since(before, kLeastTenth).count, 3e-6, 0.03 * 3e-6);
  times.add({0.5});
  times.add({1e9});
  EXPECT_NEAR(times.quantile_since(before, kMedian).count, 0.25, 0.03);
  EXPECT_NEAR(times.quantile_since({}, kMedian).count, 1e-3, 3e-5);
  times.add({0});
  times.add({-1});
}

TEST(PlanCache, DropsThePlanUnusedForLongest) {
  PlanCache cache(2);
  const auto bucket = [](std::int64_t tokens) { return step_shape(tokens, 1, 1, true); };
  cache.insert({.bucket = bucket(1)});
  cache.insert({.bucket = bucket(2)});
  EXPECT_NE(cache.find(bucket(1)), nullptr);
  const StepPlan* third = cache.insert({.bucket = bucket(3)});
  EXPECT_EQ(cache.size(), 2u);
  EXPECT_EQ(cache.find(bucket(2)), nullptr);
  EXPECT_NE(cache.find(bucket(1)), nullptr);
  EXPECT_EQ(cache.find(bucket(3)), third);
}

TEST(Buckets, PowersOfTwoCoverTheStepWithinTheLimits) {
  const StepBucket limits{.tokens = 100, .seqs = 6, .max_q = 100, .head_rows = 50};
  for (std::int64_t tokens = 1; tokens <= 100; ++tokens)
    for (std::int64_t seqs = 1; seqs <= std::min<std::int64_t>(6, tokens); ++seqs) {
      const StepBucket step = step_shape(tokens, seqs, seqs - 1, true);
      const StepBucket bucket = power_of_two_buckets().bucket_for(step, limits);
      EXPECT_TRUE(bucket.tokens >= tokens && bucket.tokens <= 100);
      EXPECT_TRUE(bucket.seqs >= seqs && bucket.seqs <= 6);
      EXPECT_TRUE(bucket.max_q >= step.max_q && bucket.max_q <= 100);
      EXPECT_TRUE(bucket.head_rows >= seqs - 1 && bucket.head_rows <= 6);
      EXPECT_EQ(bucket.head_rows == 0, seqs == 1);
      EXPECT_EQ(exact_buckets().bucket_for(step, limits), step);
    }
}

// The host's memory is the device's.
class HostStream final : public Stream {
 public:
  Status copy_to_device(void* device, const void* host, Bytes bytes) override {
    std::memcpy(device, host, static_cast<std::size_t>(bytes.count));
    return ok();
  }
  Status copy_to_host(void* host, const void* device, Bytes bytes) override {
    return copy_to_device(host, device, bytes);
  }
  Status record(Event&) override { return ok(); }
  Status begin_capture() override { return none(); }
  Result<std::unique_ptr<CapturedStep>> end_capture(const CaptureOptions&) override { return none(); }
  Status replay(CapturedStep&) override { return none(); }

 private:
  static Error none() { return {.kind = ErrorKind::unsupported, .what = "not of this stream"}; }
  Status wait_for_all() override { return ok(); }
};

struct StepInputsTest : testing::Test {
  HostStream stream;
  StepLimits limits{.tokens = 16, .seqs = 3, .head_rows = 16, .context = 20, .page_tokens = 8};
  Sequence decoding, prefilling;
  StepInputsTest() {
    decoding.tokens = {10, 11, 12, 13, 14, 15, 16, 17, 18};
    decoding.prompt_tokens = 7;
    decoding.cached = 8;
    decoding.pages.pages = {4, 2};
    decoding.sampling = {.temperature = 0.5f, .repetition_penalty = 1.1f, .seed = 9};
    prefilling.tokens = {20, 21, 22, 23, 24};
    prefilling.prompt_tokens = 5;
    prefilling.pages.pages = {7};
  }
  StepInputParts written(StepInputs& inputs, std::span<const Chunk> chunks, const StepBucket& bucket) const {
    inputs.write(chunks, bucket);
    return step_input_parts(bucket, limits, inputs.addresses().host[inputs.turn()]);
  }
};

TEST_F(StepInputsTest, HoldsWhatTheChunksSay) {
  ASSERT_VALUE(StepInputs inputs, StepInputs::make(limits, 99, host_memory(), host_memory(), stream));
  const Chunk chunks[] = {{&decoding, 8, 1, true}, {&prefilling, 0, 3, false}};
  const StepInputParts p = written(inputs, chunks, step_shape(4, 2, 1, true));
  EXPECT_EQ(std::vector(p.ids, p.ids + 4), (std::vector<std::int32_t>{18, 20, 21, 22}));
  EXPECT_EQ(std::vector(p.positions, p.positions + 4), (std::vector<std::int32_t>{8, 0, 1, 2}));
  EXPECT_EQ(std::vector(p.seq_of, p.seq_of + 4), (std::vector<std::int32_t>{0, 1, 1, 1}));
  EXPECT_EQ(std::vector(p.cu_q, p.cu_q + 3), (std::vector<std::int32_t>{0, 1, 4}));
  EXPECT_EQ(std::vector(p.kv_len, p.kv_len + 2), (std::vector<std::int32_t>{9, 3}));
  EXPECT_EQ(p.head_rows[0], 0);
  EXPECT_EQ(p.page_table[0], 4);
  EXPECT_EQ(p.page_table[1], 2);
  EXPECT_EQ(p.page_table[limits.max_pages()], 7);
  EXPECT_EQ(p.rows[0].counter, 2u);
  EXPECT_EQ(p.rows[0].seed, 9u);
  EXPECT_EQ(std::vector(p.history + p.rows[0].history_begin, p.history + p.rows[0].history_end), decoding.tokens);
  EXPECT_EQ(p.header[0], 0);
  EXPECT_EQ(p.header[1], 9);
  EXPECT_EQ(p.history, p.header + p.words);
}

TEST_F(StepInputsTest, PaddingBelongsToNoSequence) {
  ASSERT_VALUE(StepInputs inputs, StepInputs::make(limits, 99, host_memory(), host_memory(), stream));
  const Chunk chunks[] = {{&prefilling, 0, 5, true}};
  const StepInputParts p = written(inputs, chunks, {.tokens = 8, .seqs = 2, .max_q = 8, .head_rows = 2});
  for (int i = 5; i < 8; ++i) {
    EXPECT_EQ(p.ids[i], 0);
    EXPECT_EQ(p.positions[i], 0);
    EXPECT_EQ(p.seq_of[i], 2);
  }
  EXPECT_EQ(std::vector(p.cu_q, p.cu_q + 3), (std::vector<std::int32_t>{0, 5, 5}));
  EXPECT_EQ(std::vector(p.kv_len, p.kv_len + 2), (std::vector<std::int32_t>{5, 0}));
  EXPECT_EQ(p.page_table[2 * limits.max_pages()], 99);
  EXPECT_EQ(p.head_rows[0], 4);
  EXPECT_EQ(p.head_rows[1], 0);
  EXPECT_EQ(p.rows[1].temperature, 0);
}

TEST_F(StepInputsTest, AScoringStepWantsEveryRow) {
  ASSERT_VALUE(StepInputs inputs, StepInputs::make(limits, 99, host_memory(), host_memory(), stream));
  const Chunk chunks[] = {{&prefilling, 1, 3, false}};
  const StepInputParts p = written(inputs, chunks, step_shape(3, 1, 3, false));
  EXPECT_EQ(std::vector(p.head_rows, p.head_rows + 3), (std::vector<std::int32_t>{0, 1, 2}));
  EXPECT_EQ(p.positions[0], 1);
  EXPECT_EQ(p.kv_len[0], 4);
}

// The token that the step before draws is named by its row there, among the ids and in the history.
TEST_F(StepInputsTest, AnUnknownTokenIsARowOfTheStepBefore) {
  ASSERT_VALUE(StepInputs inputs, StepInputs::make(limits, 99, host_memory(), host_memory(), stream));
  decoding.tokens.back() = kUnknown;
  const Chunk chunks[] = {{&decoding, 8, 1, true, 2}};
  const StepInputParts p = written(inputs, chunks, step_shape(1, 1, 1, true));
  EXPECT_EQ(p.ids[0], -3);
  EXPECT_EQ(p.history[7], 17);
  EXPECT_EQ(p.history[8], -3);
  EXPECT_EQ(p.rows[0].counter, 2u);
}

TEST_F(StepInputsTest, TheBlocksTakeTurns) {
  ASSERT_VALUE(StepInputs inputs, StepInputs::make(limits, 99, host_memory(), host_memory(), stream));
  const StepAddresses& at = inputs.addresses();
  const Chunk chunks[] = {{&prefilling, 0, 5, true}};
  for (int step = 0; step < 4; ++step) {
    EXPECT_EQ(inputs.turn(), step % 2);
    const StepInputParts p = written(inputs, chunks, step_shape(5, 1, 1, true));
    EXPECT_EQ(p.header, at.host[step % 2]);
    EXPECT_EQ(p.header[0], step % 2);
    inputs.next_turn();
  }
  inputs.next_turn();
  ASSERT_OK(inputs.restart(stream));
  EXPECT_EQ(*at.turn, 1);
}

TEST_F(StepInputsTest, ADecodeStepOfOneSequenceIsLessThanAKilobyte) {
  limits = {.tokens = 2048, .seqs = 64, .head_rows = 512, .context = 8192, .page_tokens = 64};
  ASSERT_VALUE(StepInputs inputs, StepInputs::make(limits, 99, host_memory(), host_memory(), stream));
  decoding.sampling.repetition_penalty = 1;
  const Chunk chunks[] = {{&decoding, 8, 1, true}};
  inputs.write(chunks, step_shape(1, 1, 1, true));
  EXPECT_LT(inputs.used().count, 1000);
  EXPECT_LE(step_input_parts(step_shape(64, 64, 64, true), limits, nullptr).words * 4, step_input_bytes(limits).count);
}

std::pair<std::string, bool> filtered(std::vector<std::string> stops, const std::vector<std::string>& pieces) {
  StopFilter filter(std::move(stops));
  std::string text;
  for (const std::string& piece : pieces) text += filter.push(piece) + "|";
  return {text + filter.finish(), filter.stopped()};
}

TEST(StopFilter, HoldsBackWhatMayBecomeAStopString) {
  using Pair = std::pair<std::string, bool>;
  EXPECT_EQ(filtered({}, {"ab", "c"}), Pair("ab|c|", false));
  EXPECT_EQ(filtered({"END"}, {"xE", "N", "Dy", "z"}), Pair("x||||", true));
  EXPECT_EQ(filtered({"END"}, {"xE", "N", "dy"}), Pair("x||ENdy|", false));
  EXPECT_EQ(filtered({"END"}, {"xEN"}), Pair("x|EN", false));
  EXPECT_EQ(filtered({"aab"}, {"aa", "ab"}), Pair("|a|", true));
  EXPECT_EQ(filtered({"bc", "abcd"}, {"a", "bc"}), Pair("|a|", true));
  EXPECT_EQ(filtered({"\n\n", "é"}, {"a\n", "b\xC3\xA9", "c"}), Pair("a|\nb||", true));
}

// Whatever the cuts, the text given out is the text before the first stop string.
TEST(StopFilter, CutsDoNotMatter) {
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 30; ++i) text += static_cast<char>('a' + random() % 2);
    std::vector<std::string> stops;
    for (unsigned i = 0; i < 1 + random() % 2; ++i) stops.push_back(text.substr(random() % 20, 3 + random() % 6));
    StopFilter filter(stops);
    std::string out;
    std::size_t at = 0;
    while (at < text.size() && !filter.stopped()) {
      const std::size_t n = std::min<std::size_t>(1, text.size() - at);
      out += filter.push(text.substr(at, n));
      at += n;
    }
    out += filter.finish();
    // Byte by byte, the first stop string to be complete ends the text.
    std::size_t end = std::string::npos, begin = text.size();
    for (const std::string& stop : stops)
      if (const std::size_t found = text.find(stop); found != std::string::npos) {
        const std::size_t finish = found + stop.size();
        if (finish < end || (finish == end && found < begin)) end = finish, begin = found;
      }
    EXPECT_EQ(out, text.substr(0, begin)) << text;
    EXPECT_EQ(filter.stopped(), end != std::string::npos);
  }
}

}  // namespace
}  // namespace rl::engine
