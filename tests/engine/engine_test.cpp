// What the engine promises beside the right numbers: memory as planned, nothing allocated in a step, batches that do
// not change anybody's tokens, failures that stay with their request.

#include <cstring>
#include <set>
#include <thread>

#include "check/late_backend.h"
#include "engine/fixture.h"

namespace rl::engine {
namespace {

using namespace literals;

struct EngineTest : testing::Test {
  TestBackend backend{false};
  CountingResource memory{host_memory()};
  std::optional<Golden> golden;

  std::vector<TokenId> prompt(int n) { return golden->ids(fmt::format("len{}.input_ids", n)); }
  std::vector<TokenId> greedy(int n) { return golden->ids(fmt::format("len{}.greedy_new_ids", n)); }
  void SetUp() override { ASSERT_VALUE(golden, Golden::open(folder_of("llama2"))); }
};

TEST_F(EngineTest, TheMemoryPlanIsWhatTheAllocatorCounts) {
  for (const char* model : kFixtureModels)
    for (const Precision precision : {Precision::f32, Precision::bf16, Precision::f16})
      for (const BucketPolicy* buckets : {&exact_buckets(), &power_of_two_buckets()}) {
        CountingResource counted(host_memory());
        ASSERT_VALUE(
            const auto engine,
            make_engine(model, *backend,
                        {.precision = precision, .max_context = 100, .max_seqs = 3, .buckets = buckets}, counted));
        EXPECT_EQ(engine->memory_plan().total(), counted.live()) << model << "\n" << engine->memory_plan().table();
        EXPECT_EQ(engine->memory_plan().pages, 6);  // 3 sequences of 2 pages
      }
}

TEST_F(EngineTest, FormatsShrinkTheWeightsAndKeepTheModel) {
  const auto make = [&](const char* name,
                        std::map<std::string, std::string> force = {}) -> Result<std::unique_ptr<Engine>> {
    RL_ASSIGN(const NumberFormat format, format_from(name));
    return make_engine("llama2", *backend,
                       {.precision = format.precision,
                        .weights = format.weights,
                        .max_context = 128,
                        .max_seqs = 1,
                        .force = std::move(force)},
                       memory);
  };
  std::map<std::string, Bytes> weights;
  std::map<std::string, std::vector<float>> logits;
  for (const char* name : {"fp32", "bf16", "fp16", "int8", "fp8", "fp8-tensor", "fp8-block", "int8-wo", "fp8-wo"}) {
    ASSERT_VALUE(const auto engine, make(name));
    weights[name] = engine->memory_plan().of("weights");
    const bool native = std::string_view("fp32 bf16 fp16 int8").find(name) != std::string_view::npos;
    EXPECT_EQ(engine->emulated(), !native) << name;
    if (const auto forced = make(name, {{"linear", "linear/cpu.ref"}}); forced)
      EXPECT_EQ((*forced)->emulated(), std::string_view("fp32 bf16 fp16").find(name) == std::string_view::npos)
          << name << ", by plain loops over double";
    else
      ADD_FAILURE() << forced.error().message();
    ASSERT_OK(engine->score(prompt(64), [&](std::int64_t, const TensorRef& part) -> Status {
      logits[name].insert(logits[name].end(), part.as<const float>(), part.as<const float>() + part.elements());
      return ok();
    }));
  }
  EXPECT_LT(weights["int8"], weights["bf16"]);
  EXPECT_EQ(weights["fp16"], weights["bf16"]);
  EXPECT_LT(weights["bf16"], weights["fp32"]);
  const auto error = [&](const char* name) {
    double noise = 0, signal = 0;
    for (std::size_t i = 0; i < logits["fp32"].size(); ++i) {
      const double base = static_cast<double>(logits["fp32"][i]);
      noise += std::pow(static_cast<double>(logits[name][i]) - base, 2);
      signal += base * base;
    }
    return std::sqrt(noise / signal);
  };
  // Rounding steps of a weight: 2^-9 (bf16), 2^-12 (fp16), about 1/254 of the largest (int8).
  EXPECT_GT(error("bf16"), 1e-4);
  EXPECT_LT(error("bf16"), 0.02);
  EXPECT_LT(error("fp16"), error("bf16") / 3) << "weights and activations";
  EXPECT_GT(error("int8"), error("bf16"));
  EXPECT_LT(error("int8"), 0.1);
  EXPECT_GT(error("fp8"), error("int8")) << "3 bits against 7 of the largest value's";
  for (const char* name : {"fp8", "fp8-tensor", "fp8-block", "int8-wo", "fp8-wo"}) {
    EXPECT_LT(weights[name], weights["bf16"]) << name;
    EXPECT_GT(error(name), 1e-3) << name;
    EXPECT_LT(error(name), 0.2) << name;
  }
  EXPECT_LT(error("int8-wo"), error("int8"));
  EXPECT_LT(error("fp8-wo"), error("fp8"));

  EXPECT_EQ(format_from("fp7").error().rule, "engine.format");
  ASSERT_VALUE(const auto bf16, make("bf16"));
  ASSERT_VALUE(const NumberFormat int8, format_from("int8"));
  const auto beside = Engine::make_beside(*bf16, *backend, memory, {.weights = int8.weights});
  ASSERT_FALSE(beside);
  EXPECT_EQ(beside.error().rule, "engine.beside");
}

TEST_F(EngineTest, TheKvMemoryGivenIsTheKvMemoryTaken) {
  ASSERT_VALUE(const auto engine, make_engine("llama2", *backend, {.kv_memory = 1_MiB}, memory));
  const Bytes kv = engine->memory_plan().of("kv pages"), page = {engine->kv_bytes_per_token().count * 64};
  EXPECT_LE(kv, 1_MiB);
  EXPECT_GT(kv + page, 1_MiB);
}

TEST_F(EngineTest, AnEngineBesideAnotherSharesItsWeightsAndOutlivesIt) {
  const EngineOptions options{.max_context = 256, .max_seqs = 2};
  ASSERT_VALUE(auto first, make_engine("llama2", *backend, options, memory));
  const Bytes weights = first->memory_plan().of("weights"), before = memory.live();
  EXPECT_GT(weights, Bytes{0});

  ASSERT_VALUE(const auto share, backend.device().make_share(0, 1));
  ops::Backend part = *backend;
  part.device = share.get();
  ASSERT_VALUE(const auto beside, Engine::make_beside(*first, part, memory, options));
  EXPECT_EQ(beside->memory_plan().of("weights"), Bytes{0});
  EXPECT_EQ(memory.live() - before, before - weights) << "as much again, without the weights";
  EXPECT_EQ(beside->memory_plan().total(), memory.live() - before);

  const std::vector<Request> requests{{.prompt = prompt(64), .max_tokens = 16}};
  ASSERT_VALUE(const auto tokens, run_all(*first, requests));
  first.reset();
  ASSERT_VALUE(const auto again, run_all(*beside, requests));
  EXPECT_EQ(again, tokens);

  const auto other = Engine::make_beside(*beside, *backend, memory, {.precision = Precision::f32});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().rule, "engine.beside");
}

TEST_F(EngineTest, EnginesSideBySideGiveTheTokensOfOne) {
  const EngineOptions options{.max_context = 256, .max_seqs = 1};
  ASSERT_VALUE(const auto alone, make_engine("llama2", *backend, options, memory));
  std::vector<Request> requests;
  for (const int n : {7, 64, 130, 1}) requests.push_back({.prompt = prompt(n), .max_tokens = 24});
  ASSERT_VALUE(const auto expected, run_all(*alone, requests));

  const auto whole = cpu::make_device({.threads = 4});
  std::vector<std::unique_ptr<Device>> shares;
  std::vector<std::unique_ptr<Engine>> engines;
  for (int i = 0; i < 4; ++i) {
    ASSERT_VALUE(shares.emplace_back(), whole->make_share(i, 4));
    ops::Backend part = *backend;
    part.device = shares.back().get();
    ASSERT_VALUE(engines.emplace_back(), Engine::make_beside(*alone, part, memory, options));
  }
  std::vector<Result<std::vector<std::vector<TokenId>>>> found(4, std::vector<std::vector<TokenId>>{});
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 4; ++i) threads.emplace_back([&, i] { found[i] = run_all(*engines[i], {requests[i]}); });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < 4; ++i) {
    ASSERT_OK(found[i]);
    EXPECT_EQ(found[i]->at(0), expected[i]) << i;
  }
}

TEST_F(EngineTest, AStepAllocatesNothing) {
  ASSERT_VALUE(const auto engine,
               make_engine("llama2", *backend, {.max_context = 256, .max_seqs = 4, .step_tokens = 48}, memory));
  const std::int64_t allocations = memory.allocations();
  std::vector<Request> requests;
  for (const int n : {1, 7, 64, 130}) requests.push_back({.prompt = prompt(n), .max_tokens = 32});
  ASSERT_OK(run_all(*engine, requests));
  ASSERT_OK(engine->score(prompt(130), [](std::int64_t, const TensorRef&) { return ok(); }));
  EXPECT_EQ(memory.allocations(), allocations);
}

TEST_F(EngineTest, EveryAllocationThatFailsIsAnErrorWithoutALeak) {
  std::int64_t n = 1;
  for (;; ++n) {
    CountingResource counted(host_memory());
    FailingResource failing(counted, n);
    const auto engine = make_engine("llama2", *backend, {.max_context = 64, .max_seqs = 1}, failing);
    if (engine) break;
    EXPECT_EQ(engine.error().kind, ErrorKind::out_of_memory);
    EXPECT_NE(engine.error().what.find("kv pages"), std::string::npos) << "the plan is part of the message";
    EXPECT_EQ(counted.live(), Bytes{0});
    ASSERT_LT(n, 1000);
  }
  EXPECT_GT(n, 5);
}

TEST_F(EngineTest, APlanBeyondTheMachinesMemoryIsRefusedBeforeAnythingIsLoaded) {
  const auto engine = make_engine("llama2", *backend, {.kv_memory = {std::int64_t{1} << 50}}, memory);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().rule, "engine.memory");
  EXPECT_NE(engine.error().what.find("kv pages"), std::string::npos);
  EXPECT_EQ(memory.allocations(), 0);
}

// A request's tokens do not depend on what else is in the batch, nor on the batch's order.
TEST_F(EngineTest, SameSeedSameTokensAloneAndAmongSevenOthers) {
  for (const Precision precision : {Precision::f32, Precision::bf16, Precision::f16}) {
    ASSERT_VALUE(const auto engine,
                 make_engine("llama2", *backend,
                             {.precision = precision, .max_context = 256, .max_seqs = 8, .step_tokens = 64}, memory));
    const Request wanted{
        .prompt = prompt(64),
        .sampling = {.temperature = 0.9f, .top_k = 50, .top_p = 0.95f, .repetition_penalty = 1.1f, .seed = 42},
        .max_tokens = 48};
    ASSERT_VALUE(const auto alone, run_all(*engine, {wanted}));
    std::vector<Request> batch;
    for (std::uint64_t i = 0; i < 7; ++i) {
      Request other = wanted;
      other.prompt = prompt(i % 2 ? 7 : 130);
      other.sampling.seed = i;
      batch.push_back(other);
    }
    batch.insert(batch.begin() + 4, wanted);
    ASSERT_VALUE(const auto together, run_all(*engine, batch));
    EXPECT_EQ(together[4], alone[0]) << name_of(precision);
    EXPECT_NE(together[0], together[2]) << "other seeds, other tokens";
    ASSERT_VALUE(const auto again, run_all(*engine, {wanted}));
    EXPECT_EQ(again, alone);
    EXPECT_TRUE(engine->batch_invariant()) << "the equality above is luck";
  }
}

TEST_F(EngineTest, APaddedBucketChangesNoToken) {
  ASSERT_VALUE(const auto engine, make_engine("llama2", *backend,
                                              {.precision = Precision::f32,
                                               .max_context = 256,
                                               .max_seqs = 6,
                                               .step_tokens = 40,
                                               .buckets = &power_of_two_buckets()},
                                              memory));
  std::vector<Request> requests;
  for (const int n : {7, 130, 64}) requests.push_back({.prompt = prompt(n), .max_tokens = 32});
  ASSERT_VALUE(const auto tokens, run_all(*engine, requests));
  EXPECT_EQ(tokens, (std::vector{greedy(7), greedy(130), greedy(64)}));
}

TEST_F(EngineTest, ASharedPrefixIsNotComputedAgainAndChangesNoToken) {
  for (const bool reuse : {true, false}) {
    ASSERT_VALUE(
        const auto engine,
        make_engine("llama2", *backend,
                    {.precision = Precision::f32, .max_context = 256, .max_seqs = 4, .prefix_reuse = reuse}, memory));
    std::vector<Request> requests;
    for (const int n : {130, 64, 130}) requests.push_back({.prompt = prompt(n), .max_tokens = 32});
    ASSERT_VALUE(const auto first, run_all(*engine, {requests[0]}));
    EXPECT_EQ(engine->reused_tokens(), 0);
    ASSERT_VALUE(const auto tokens, run_all(*engine, requests));
    EXPECT_EQ(tokens, (std::vector{greedy(130), greedy(64), greedy(130)}));
    // Two pages of 64 for each of the long prompts; the prompt of 64 tokens computes its only page.
    EXPECT_EQ(engine->reused_tokens(), reuse ? 256 : 0);
  }
}

TEST_F(EngineTest, ASharedPrefixOfAnFp8CacheChangesNoToken) {
  std::vector<std::vector<std::vector<TokenId>>> found;
  for (const bool reuse : {true, false}) {
    ASSERT_VALUE(const auto engine, make_engine("llama2", *backend,
                                                {.precision = Precision::f32,
                                                 .kv_cache = KvCacheType::fp8,
                                                 .max_context = 256,
                                                 .max_seqs = 4,
                                                 .prefix_reuse = reuse},
                                                memory));
    std::vector<Request> requests;
    for (const int n : {130, 64, 130}) requests.push_back({.prompt = prompt(n), .max_tokens = 32});
    ASSERT_VALUE(const auto alone, run_all(*engine, {requests[0]}));
    ASSERT_VALUE(const auto tokens, run_all(*engine, requests));
    EXPECT_EQ(tokens[0], alone[0]);
    EXPECT_EQ(tokens[2], alone[0]);
    EXPECT_EQ(engine->reused_tokens(), reuse ? 256 : 0);
    found.push_back(tokens);
  }
  EXPECT_EQ(found[0], found[1]);
}

TEST_F(EngineTest, ASequenceComputedAgainContinuesWithTheSameTokens) {
  // Each sequence ends with 3 pages of 64 tokens; 5 pages hold the prompts, not both ends.
  const Bytes page{2 * 3 * 4 * 16 * 64 * 4};
  ASSERT_VALUE(
      const auto engine,
      make_engine("llama2", *backend,
                  {.precision = Precision::f32, .max_context = 256, .max_seqs = 4, .kv_memory = {4 * page.count}},
                  memory));
  ASSERT_EQ(engine->memory_plan().pages, 4);
  std::vector<Request> requests;
  for (const int n : {64, 64, 64}) requests.push_back({.prompt = prompt(n), .max_tokens = 100});
  ASSERT_VALUE(const auto tokens, run_all(*engine, requests));
  EXPECT_GT(engine->preemptions(), 0);
  const auto expected = greedy(64);
  for (const auto& got : tokens) {
    ASSERT_EQ(got.size(), 100u);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), got.begin()));
    EXPECT_EQ(got, tokens[0]);
  }
}

// A model with NaN in one token's embedding: whoever uses it fails, and nobody else.
class PoisonedToken final : public model::WeightSource {
 public:
  PoisonedToken(std::unique_ptr<model::WeightSource> source, TokenId token)
      : source_(std::move(source)), token_(token) {}
  const std::map<std::string, Info>& tensors() const override { return source_->tensors(); }
  Result<TensorRef> rows(const std::string& name, std::int64_t first, std::int64_t n,
                         std::vector<std::byte>& scratch) const override {
    RL_ASSIGN(TensorRef rows, source_->rows(name, first, n, scratch));
    if (name != "model.embed_tokens.weight" || token_ < first || token_ >= first + n) return rows;
    const auto row_bytes = static_cast<std::size_t>(rows.shape[1] * size_of(rows.dtype));
    std::vector<std::byte> copy(row_bytes * static_cast<std::size_t>(n));
    std::memcpy(copy.data(), rows.data, copy.size());
    std::memset(copy.data() + static_cast<std::size_t>(token_ - first) * row_bytes, 0xFF, row_bytes);
    scratch = std::move(copy);
    rows.data = scratch.data();
    return rows;
  }

 private:
  std::unique_ptr<model::WeightSource> source_;
  TokenId token_;
};

TEST_F(EngineTest, LogitsThatAreNotNumbersEndTheirRequestAlone) {
  // The second backend has a step queued by the time it knows.
  const check::LateBackend late;
  for (const ops::Backend* on : {&*backend, &*late}) {
    ASSERT_VALUE(model::ModelSource source, model::find_model(folder_of("llama2")));
    std::vector<TokenId> clean = prompt(7);
    TokenId poisoned = 0;
    const auto used = [&](TokenId id) {
      const auto new_ids = greedy(7);
      return std::count(clean.begin(), clean.end(), id) + std::count(new_ids.begin(), new_ids.end(), id) > 0;
    };
    while (used(poisoned)) ++poisoned;
    source.weights = std::make_unique<PoisonedToken>(std::move(source.weights), poisoned);
    ASSERT_VALUE(const auto engine,
                 Engine::make(source, *on, memory, {.precision = Precision::f32, .max_context = 128, .max_seqs = 2}));
    ASSERT_VALUE(const RequestId bad, engine->submit({.prompt = {1, poisoned, 2}, .max_tokens = 32}));
    ASSERT_VALUE(const RequestId good, engine->submit({.prompt = clean, .max_tokens = 32}));
    std::vector<TokenId> tokens;
    bool failed = false;
    while (!engine->idle()) {
      ASSERT_VALUE(const auto events, engine->step());
      for (const TokenEvent& event : events) {
        if (event.request == bad) {
          EXPECT_EQ(event.finished, FinishReason::error);
          EXPECT_EQ(event.token, -1);
          failed = true;
        }
        if (event.request == good) tokens.push_back(event.token);
      }
    }
    EXPECT_TRUE(failed);
    EXPECT_EQ(tokens, greedy(7));
    // Its pages were used by nobody since: the next request gets them, NaN and all, and is not touched.
    ASSERT_VALUE(const auto after, run_all(*engine, {{.prompt = clean, .max_tokens = 32}}));
    EXPECT_EQ(after[0], greedy(7));
  }
}

TEST_F(EngineTest, AForcedVariantIsUsedOrRefusedByName) {
  const auto with = [&](std::map<std::string, std::string> force) {
    return make_engine("llama2", *backend, {.max_context = 128, .max_seqs = 1, .force = std::move(force)}, memory);
  };
  const std::string naive = (*backend).catalog.attention.back().name;
  ASSERT_VALUE(const auto engine, with({{"attention", naive}}));
  ASSERT_OK(run_all(*engine, {{.prompt = prompt(7), .max_tokens = 2}}));
  const std::vector<std::string> path = engine->path();
  EXPECT_EQ(std::count(path.begin(), path.end(), "attention: " + naive), 1);
  EXPECT_TRUE(std::is_sorted(path.begin(), path.end()));

  const auto no_op = with({{"attn", naive}});
  ASSERT_FALSE(no_op);
  EXPECT_EQ(no_op.error().rule, "force.op");
  const auto no_variant = with({{"attention", "attention/none"}});
  ASSERT_FALSE(no_variant);
  EXPECT_EQ(no_variant.error().kind, ErrorKind::usage);
  EXPECT_NE(no_variant.error().expected.find(naive), std::string::npos);
}

TEST_F(EngineTest, BadOptionsAndRequestsAreRefusedByRule) {
  const auto rule = [&](const EngineOptions& options) {
    const auto engine = make_engine("llama2", *backend, options, memory);
    return engine ? std::string("accepted") : engine.error().rule;
  };
  EXPECT_EQ(rule({.max_context = 513}), "engine.max_context");
  EXPECT_EQ(rule({.max_context = -1}), "engine.max_context");
  EXPECT_EQ(rule({.max_seqs = 0}), "engine.max_seqs");
  EXPECT_EQ(rule({.max_seqs = 16, .step_tokens = 15}), "engine.step_tokens");
  EXPECT_EQ(rule({.kv_memory = {100}}), "engine.kv_memory");

  ASSERT_VALUE(const auto engine, make_engine("llama2", *backend, {.max_context = 128, .max_seqs = 1}, memory));
  const auto refused = [&](const Request& request) {
    const auto id = engine->submit(request);
    return id ? std::string("accepted") : id.error().rule;
  };
  EXPECT_EQ(refused({.prompt = {320}}), "request.token_id");
  EXPECT_EQ(refused({.prompt = {-1}}), "request.token_id");
  EXPECT_EQ(refused({.prompt = {}}), "request.empty_prompt");
  EXPECT_EQ(refused({.prompt = {1}, .sampling = {.temperature = -1}}), "sampling.temperature");
  EXPECT_EQ(refused({.prompt = {1}, .sampling = {.top_p = std::nanf("")}}), "sampling.top_p");
  EXPECT_EQ(refused({.prompt = {1}, .sampling = {.repetition_penalty = 0}}), "sampling.repetition_penalty");
  EXPECT_TRUE(engine->idle());
  EXPECT_EQ(engine->score({}, nullptr).error().rule, "score.length");
  const TokenId outside[] = {5, 320};
  EXPECT_EQ(engine->score(outside, nullptr).error().rule, "request.token_id");
}

TEST_F(EngineTest, AStepIsOneListOfVariantsThatTheCertificateNames) {
  ASSERT_VALUE(const auto engine, make_engine("qwen3", *backend, {.max_context = 64, .max_seqs = 1}, memory));
  EXPECT_TRUE(engine->path().empty());
  ASSERT_OK(run_all(*engine, {{.prompt = {1, 2, 3}, .max_tokens = 2}}));
  std::set<std::string> sites;
  for (const std::string& line : engine->path()) sites.insert(line.substr(0, line.find('/')));
  for (const char* site : {"embed: embed", "attention_norm: rms_norm", "qkv: linear", "qkv: rope_append",
                           "attention: attention", "attention_out: linear", "gate_up: linear", "gate_up: silu_mul",
                           "down: linear", "final_norm: rms_norm", "head: linear", "sample: sample"})
    EXPECT_TRUE(sites.contains(site)) << site;
}

}  // namespace
}  // namespace rl::engine
