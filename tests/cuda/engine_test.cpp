// The engine on a card: every fixture model against transformers, every format against the CPU's emulation, captured
// steps against launched ones, and what a step must not do.

#include "card.h"
#include "engine/fixture.h"
#include "engine/step_plan.h"
#include "quality/perplexity.h"

namespace rl::engine {
namespace {

class CudaEngine : public testing::Test {
 protected:
  void SetUp() override {
    RL_NEED_CARD();
    ASSERT_VALUE(card, cuda::open_card());
    backend = card.backend();
  }
  cuda::Card card;
  ops::Backend backend;
};

class CudaParity : public CudaEngine, public testing::WithParamInterface<const char*> {
 protected:
  const std::string model = GetParam();
  const std::vector<int> lengths{1, 7, 64, 130};
  static std::string key(int n, const char* what) { return "len" + std::to_string(n) + "." + what; }
};

TEST_P(CudaParity, Fp32LogitsAndGreedyTokensAreTransformers) {
  ASSERT_VALUE(const Golden golden, Golden::open(folder_of(model)));
  std::vector<Request> requests;
  for (const int n : lengths) requests.push_back({.prompt = golden.ids(key(n, "input_ids")), .max_tokens = 32});
  for (const std::int64_t step_tokens : {512, 48}) {
    ASSERT_VALUE(
        const auto engine,
        make_engine(model, backend,
                    {.precision = Precision::f32, .max_context = 256, .max_seqs = 4, .step_tokens = step_tokens},
                    card.device->memory()));
    for (const int n : lengths) {
      ASSERT_VALUE(const double difference,
                   largest_difference(*engine, golden.ids(key(n, "input_ids")), golden.floats(key(n, "logits"))));
      EXPECT_LE(difference, tolerance_of(model)) << n << " tokens in chunks of " << step_tokens;
    }
    ASSERT_VALUE(const auto tokens, run_all(*engine, requests));
    for (std::size_t i = 0; i < lengths.size(); ++i)
      EXPECT_EQ(tokens[i], golden.ids(key(lengths[i], "greedy_new_ids"))) << lengths[i] << ", steps of " << step_tokens;
  }
}

// As on the CPU: bf16 has 8 bits, and each of a few dozen roundings on the way moves a value by up to 2^-9 of it.
TEST_P(CudaParity, Bf16IsClose) {
  ASSERT_VALUE(const Golden golden, Golden::open(folder_of(model)));
  ASSERT_VALUE(const auto engine,
               make_engine(model, backend, {.precision = Precision::bf16, .max_context = 256}, card.device->memory()));
  ASSERT_VALUE(const auto result, quality::perplexity(*engine, golden.ids("ppl.input_ids"), {.window = 256}));
  EXPECT_NEAR(std::log(result.ppl()), std::log(perplexity_of(model)), 0.02);
  ASSERT_VALUE(const double difference,
               largest_difference(*engine, golden.ids("len64.input_ids"), golden.floats("len64.logits")));
  EXPECT_LE(difference, 0.5);
}

INSTANTIATE_TEST_SUITE_P(Models, CudaParity, testing::ValuesIn(kFixtureModels), [](const auto& param) {
  std::string name = param.param;
  std::erase(name, '-');
  return name;
});

// Perplexity of the demo model's text, on the card and by the CPU's fast kernels, whose emulation of 8 bits is exact.
class CudaFormats : public CudaEngine, public testing::WithParamInterface<const char*> {};

TEST_P(CudaFormats, PerplexityIsTheEmulations) {
  std::string name = GetParam();
  const auto plus = name.find('+');
  const KvCacheType kv_cache = plus == name.npos ? KvCacheType::automatic : KvCacheType::fp8;
  name.resize(std::min(name.size(), plus));
  ASSERT_VALUE(const NumberFormat format, format_from(name));
  ASSERT_VALUE(const model::ModelSource source, model::find_model("demo"));
  ASSERT_VALUE(const model::Tokenizer tokenizer, model::Tokenizer::load(*source.files));
  ASSERT_VALUE(const FileView text, source.files->open("eval.txt"));
  ASSERT_VALUE(std::vector<TokenId> ids, tokenizer.encode(text.text().substr(0, 24000), true));
  ASSERT_GT(ids.size(), 4096U);
  ids.resize(4096);
  const EngineOptions options{
      .precision = format.precision, .weights = format.weights, .kv_cache = kv_cache, .max_context = 512};
  const TestBackend cpu(false);
  ASSERT_VALUE(const auto here, make_engine("demo", *cpu, options));
  ASSERT_VALUE(const auto there, make_engine("demo", backend, options, card.device->memory()));
  EXPECT_FALSE(there->emulated());
  ASSERT_VALUE(const auto expected, quality::perplexity(*here, ids, {.window = 256}));
  ASSERT_VALUE(const auto found, quality::perplexity(*there, ids, {.window = 256}));
  std::printf("%s: perplexity %.6f, the CPU's %.6f, %+.4f%%\n", GetParam(), found.ppl(), expected.ppl(),
              100 * (found.ppl() / expected.ppl() - 1));
  const double allowed = GetParam() == std::string_view("bf16") ? 0.001 : 0.003;
  EXPECT_NEAR(found.ppl() / expected.ppl(), 1, allowed);
}

INSTANTIATE_TEST_SUITE_P(All, CudaFormats,
                         testing::Values("bf16", "fp16", "fp32", "fp8", "fp8-tensor", "fp8-block", "int8", "int8-wo",
                                         "fp8-wo", "bf16+fp8kv", "fp16+fp8kv", "fp32+fp8kv", "fp8+fp8kv"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::erase(name, '-');
                           std::ranges::replace(name, '+', '_');
                           return name;
                         });

// Codes that norms and SiLU write are those that the products would have made of the numbers: the same logits, to the
// bit, in steps of many tokens and of one.
TEST_F(CudaEngine, CodesWrittenByNormAndSiluChangeNoBit) {
  ASSERT_VALUE(const Golden golden, Golden::open(demo_folder()));
  const std::vector<TokenId> ids = golden.ids("prompt0.greedy_ids");  // 73
  for (const char* name : {"int8", "fp8", "fp8-tensor", "fp8-block"}) {
    ASSERT_VALUE(const NumberFormat format, format_from(name));
    for (const std::int64_t step_tokens : {73, 1}) {
      std::vector<float> logits[2];
      for (const bool codes : {false, true}) {
        EngineOptions options{.precision = format.precision,
                              .weights = format.weights,
                              .max_context = 128,
                              .max_seqs = 1,
                              .step_tokens = step_tokens};
        if (!codes) options.force = {{"rms_norm", "rms_norm/cuda.rows"}, {"silu_mul", "silu_mul/cuda.rows"}};
        ASSERT_VALUE(const auto engine, make_engine("demo", backend, options, card.device->memory()));
        ASSERT_OK(engine->score(ids, [&](std::int64_t, const TensorRef& part) -> Status {
          logits[codes].insert(logits[codes].end(), part.as<const float>(), part.as<const float>() + part.elements());
          return ok();
        }));
        if (step_tokens == 1) continue;  // products take norms and SiLU in
        const std::vector<std::string> path = engine->path();
        for (const char* line : {"attention_norm: rms_norm/cuda.rows_codes", "gate_up: silu_mul/cuda.rows_codes"})
          EXPECT_EQ(std::find(path.begin(), path.end(), line) != path.end(), codes) << name << ": " << line;
      }
      EXPECT_EQ(logits[0], logits[1]) << name << " in steps of " << step_tokens;
    }
  }
}

// Products that take the ops around them in give the logits, to the bit, that the ops give one by one.
TEST_F(CudaEngine, FusedProductsChangeNoBit) {
  ASSERT_VALUE(const Golden golden, Golden::open(demo_folder()));
  const auto compare = [&](const std::string& model, const char* name, std::vector<TokenId> ids) {
    SCOPED_TRACE(model + " in " + name);
    ASSERT_VALUE(const NumberFormat format, format_from(name));
    std::vector<float> logits[2];
    for (const bool fused : {false, true}) {
      EngineOptions options{
          .precision = format.precision, .weights = format.weights, .max_context = 64, .max_seqs = 1, .step_tokens = 1};
      if (!fused) options.force = {{"linear", "linear/cuda.skinny"}};
      ASSERT_VALUE(const auto engine, make_engine(model, backend, options, card.device->memory()));
      ASSERT_OK(engine->score(ids, [&](std::int64_t, const TensorRef& part) -> Status {
        logits[fused].insert(logits[fused].end(), part.as<const float>(), part.as<const float>() + part.elements());
        return ok();
      }));
      const std::vector<std::string> path = engine->path();
      EXPECT_EQ(std::any_of(path.begin(), path.end(),
                            [](const std::string& line) { return line.find("fused_linear/") != line.npos; }),
                fused);
    }
    EXPECT_EQ(logits[0], logits[1]);
  };
  std::vector<TokenId> ids = golden.ids("prompt0.greedy_ids");
  ids.resize(32);
  for (const char* name : {"bf16", "fp16", "int8", "fp8", "fp8-tensor", "int8-wo", "fp8-wo"})
    compare("demo", name, ids);
  for (const char* model : kFixtureModels) compare(model, "bf16", {1, 5, 9, 2, 7, 4});
}

// Products chosen by their time: any choice is a right one, and the second engine finds what the first has measured.
TEST_F(CudaEngine, ProductsAreChosenByTheirTimeOnceForAShape) {
  ASSERT_VALUE(const Golden golden, Golden::open(demo_folder()));
  ops::Choices choices({}, "this card");
  backend.choices = &choices;
  for (const char* name : {"bf16", "fp8", "int8"}) {
    ASSERT_VALUE(const NumberFormat format, format_from(name));
    std::vector<std::string> paths[2];
    std::vector<float> logits[2];
    for (const bool again : {false, true}) {
      ASSERT_VALUE(
          const auto engine,
          make_engine("demo", backend, {.precision = format.precision, .weights = format.weights, .max_context = 256},
                      card.device->memory()));
      ASSERT_OK(engine->score(golden.ids("prompt0.input_ids"), [&](std::int64_t, const TensorRef& part) -> Status {
        logits[again].insert(logits[again].end(), part.as<const float>(), part.as<const float>() + part.elements());
        return ok();
      }));
      paths[again] = engine->path();
    }
    EXPECT_EQ(paths[0], paths[1]) << name;
    EXPECT_EQ(logits[0], logits[1]) << name;
    EXPECT_TRUE(std::any_of(paths[0].begin(), paths[0].end(), [](const std::string& line) {
      return line.ends_with("(measured)");
    })) << name;
    const std::vector<float> expected = golden.floats("prompt0.logits");
    ASSERT_EQ(logits[0].size(), expected.size());
    if (std::string_view(name) == "bf16") {
      for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(logits[0][i], expected[i], 0.5) << i;
    }
  }
}

std::vector<Request> sixteen(const Golden& golden) {
  std::vector<Request> requests;
  const std::vector<TokenId> prompt = golden.ids("prompt0.input_ids");
  for (int i = 0; i < 16; ++i)
    requests.push_back({.prompt = {prompt.begin(), prompt.begin() + 1 + i % std::ssize(prompt)}, .max_tokens = 40});
  return requests;
}

TEST_F(CudaEngine, CapturedAndLaunchedStepsGiveTheSameTokens) {
  ASSERT_VALUE(const Golden golden, Golden::open(demo_folder()));
  std::vector<std::vector<TokenId>> tokens[2];
  for (const bool graphs : {false, true}) {
    ASSERT_VALUE(const auto engine,
                 make_engine("demo", backend,
                             {.max_context = 256, .max_seqs = 16, .graphs = graphs, .buckets = &capture_buckets()},
                             card.device->memory()));
    ASSERT_VALUE(tokens[graphs], run_all(*engine, sixteen(golden)));
    EXPECT_EQ(engine->captured_steps() > 0, graphs);
  }
  EXPECT_EQ(tokens[0], tokens[1]);
}

TEST_F(CudaEngine, ASequenceAloneHasTheTokensItHasAmongSixteen) {
  ASSERT_VALUE(const Golden golden, Golden::open(demo_folder()));
  const std::vector<Request> requests = sixteen(golden);
  // Our own kernels promise equal bits in any batch; the library's do not.
  for (const KvCacheType kv_cache : {KvCacheType::automatic, KvCacheType::fp8}) {
    const EngineOptions options{
        .kv_cache = kv_cache, .max_context = 256, .max_seqs = 16, .force = {{"linear", "linear/cuda.tiled"}}};
    ASSERT_VALUE(const auto engine, make_engine("demo", backend, options, card.device->memory()));
    ASSERT_VALUE(const auto together, run_all(*engine, requests));
    EXPECT_TRUE(engine->batch_invariant());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      ASSERT_VALUE(const auto alone, run_all(*engine, {requests[i]}));
      EXPECT_EQ(alone[0], together[i]) << i;
    }
  }
}

TEST_F(CudaEngine, AStepAllocatesNothing) {
  ASSERT_VALUE(const Golden golden, Golden::open(demo_folder()));
  CountingResource memory(card.device->memory());
  ASSERT_VALUE(const auto engine, make_engine("demo", backend, {.max_context = 256, .max_seqs = 16}, memory));
  const std::int64_t before = memory.allocations();
  ASSERT_OK(run_all(*engine, sixteen(golden)));
  EXPECT_EQ(memory.allocations(), before);
}

TEST_F(CudaEngine, EveryAllocationThatFailsIsAnErrorWithoutALeak) {
  CountingResource counted(card.device->memory());
  { ASSERT_OK(make_engine("demo", backend, {.max_context = 128}, counted)); }
  const std::int64_t allocations = counted.allocations();
  ASSERT_GT(allocations, 10);
  for (std::int64_t n = 1; n <= allocations; ++n) {
    CountingResource live(card.device->memory());
    FailingResource failing(live, n);
    const auto engine = make_engine("demo", backend, {.max_context = 128}, failing);
    ASSERT_FALSE(engine.has_value()) << n;
    EXPECT_EQ(engine.error().kind, ErrorKind::out_of_memory) << n;
    EXPECT_EQ(live.live().count, 0) << n;
  }
}

TEST_F(CudaEngine, TimedEventsTellTheTimeBetweenThem) {
  constexpr Bytes kBytes{64 << 20};
  ASSERT_VALUE(const Buffer there, Buffer::make(card.device->memory(), kBytes));
  ASSERT_VALUE(const Buffer host, Buffer::make(card.device->pinned_memory(), kBytes));
  std::unique_ptr<Event> events[3];
  for (auto& event : events) {
    ASSERT_VALUE(event, card.device->make_timed_event());
    ASSERT_OK(card.stream->record(*event));
    ASSERT_OK(card.stream->copy_to_device(there.data(), host.data(), kBytes));
  }
  ASSERT_OK(card.stream->synchronize());
  ASSERT_VALUE(const Seconds first, card.device->elapsed(*events[0], *events[1]));
  ASSERT_VALUE(const Seconds second, card.device->elapsed(*events[1], *events[2]));
  ASSERT_VALUE(const Seconds both, card.device->elapsed(*events[0], *events[2]));
  EXPECT_GT(first.count, 0);
  EXPECT_GT(second.count, 0);
  EXPECT_NEAR(both.count, first.count + second.count, 1e-5);
}

// A captured decode step is kernels alone, one after the other, each of which may begin while its predecessor ends;
// without programmatic edges the same kernels give the same tokens.
TEST_F(CudaEngine, ACapturedDecodeStepIsAChainOfKernelsWithProgrammaticEdges) {
  ASSERT_VALUE(const Golden golden, Golden::open(demo_folder()));
  const std::vector<Request> requests{sixteen(golden)[0]};
  std::vector<std::vector<TokenId>> tokens[2];
  cuda::CudaGraph::Counts counts[2];
  for (const bool programmatic : {false, true}) {
    ASSERT_VALUE(const auto engine,
                 make_engine("demo", backend, {.max_context = 256, .max_seqs = 16, .programmatic = programmatic},
                             card.device->memory()));
    ASSERT_VALUE(tokens[programmatic], run_all(*engine, requests));
    const auto* const step = static_cast<const cuda::CudaGraph*>(engine->captured_decode(1));
    ASSERT_NE(step, nullptr);
    ASSERT_VALUE(counts[programmatic], step->counts());
    std::printf("programmatic %d: %ld nodes, %ld edges, %ld of them programmatic\n", programmatic,
                counts[programmatic].nodes, counts[programmatic].edges, counts[programmatic].programmatic);
    EXPECT_EQ(counts[programmatic].kernels, counts[programmatic].nodes);
    EXPECT_EQ(counts[programmatic].edges, counts[programmatic].nodes - 1);
  }
  EXPECT_EQ(tokens[0], tokens[1]);
  EXPECT_EQ(counts[0].nodes, counts[1].nodes);
  EXPECT_EQ(counts[0].programmatic, 0);
  EXPECT_EQ(counts[1].programmatic, counts[1].edges);
}

// Steps ahead of the host against one at a time, captured and launched.
TEST_F(CudaEngine, StepsAheadGiveTheTokensOfStepsOneByOne) {
  ASSERT_VALUE(const Golden golden, Golden::open(demo_folder()));
  std::vector<Request> requests = sixteen(golden);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].max_tokens += static_cast<std::int64_t>(i);
    if (i % 3 == 1) requests[i].sampling = {.temperature = 0.8f, .top_k = 40, .repetition_penalty = 1.2f, .seed = i};
  }
  // Rows of the first kind of engine do not depend on the batch; the second kind is what runs by default.
  const std::map<std::string, std::string> invariant{{"linear", "linear/cuda.tiled"},
                                                     {"attention", "attention/cuda.flash"}};
  for (const auto& force : {invariant, std::map<std::string, std::string>()}) {
    std::vector<std::vector<TokenId>> expected;
    for (const bool graphs : {false, true})
      for (const bool ahead : {false, true}) {
        ASSERT_VALUE(const auto engine, make_engine("demo", backend,
                                                    {.max_context = 256,
                                                     .max_seqs = 16,
                                                     .step_tokens = 64,
                                                     .graphs = graphs,
                                                     .run_ahead = ahead,
                                                     .force = force,
                                                     .buckets = &capture_buckets()},
                                                    card.device->memory()));
        const std::int64_t waits = engine->synchronizations();
        ASSERT_VALUE(const auto tokens, run_all(*engine, requests));
        if (expected.empty()) expected = tokens;
        EXPECT_EQ(tokens, expected) << "graphs " << graphs << ", ahead " << ahead;
        EXPECT_EQ(engine->synchronizations(), waits);
        // Ends by a stop token, in the middle of the batch, which is larger for the step that was ahead.
        if (!engine->batch_invariant()) continue;
        std::vector<Request> stopping = requests;
        for (Request& request : stopping) request.stop_ids = {expected[0][7]};
        ASSERT_VALUE(const auto stopped, run_all(*engine, stopping));
        for (std::size_t i = 0; i < stopped.size(); ++i) {
          const auto stop = std::find(expected[i].begin(), expected[i].end(), expected[0][7]);
          const auto end = stop == expected[i].end() ? stop : stop + 1;
          EXPECT_TRUE(std::equal(stopped[i].begin(), stopped[i].end(), expected[i].begin(), end)) << i;
        }
      }
  }
}

// Two layers at Llama-3-8B's width, weights drawn: the card's bf16 logits are no farther from fp32's than the CPU's
// bf16 logits are, which round at the same places.
TEST_F(CudaEngine, WideLayersRoundNoWorseThanTheCpus) {
  ASSERT_VALUE(model::ModelSource source, model::find_model("synthetic:llama-3-8b"));
  source.config.layers = 2;
  std::vector<TokenId> ids;
  for (int i = 0; i < 544; ++i) ids.push_back((i * 7919 + 13) % 128000);
  const TestBackend cpu(false);
  const auto logits_of = [&](const ops::Backend& on, Precision precision, MemoryResource& memory,
                             std::int64_t step_tokens) -> Result<std::vector<float>> {
    RL_ASSIGN(const auto engine, Engine::make(source, on, memory,
                                              {.precision = precision,
                                               .weights = quant::ModelFormat{quant::Format::bf16, quant::Format::bf16},
                                               .max_context = 600,
                                               .max_seqs = 1,
                                               .step_tokens = step_tokens}));
    std::vector<float> last;
    RL_TRY(engine->score(ids, [&](std::int64_t first, const TensorRef& logits) -> Status {
      // The last 32 positions.
      for (std::int64_t i = 0; i < logits.shape[0]; ++i)
        if (first + i >= std::ssize(ids) - 32)
          last.insert(last.end(), logits.as<const float>() + i * logits.shape[1],
                      logits.as<const float>() + (i + 1) * logits.shape[1]);
      return ok();
    }));
    return last;
  };
  ASSERT_VALUE(const auto exact, logits_of(*cpu, Precision::f32, host_memory(), 512));
  ASSERT_VALUE(const auto bf16, logits_of(*cpu, Precision::bf16, host_memory(), 512));
  const auto distance = [&](const std::vector<float>& found) {
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      error += std::pow(static_cast<double>(found[i]) - static_cast<double>(exact[i]), 2);
      norm += std::pow(static_cast<double>(exact[i]), 2);
    }
    return std::sqrt(error / norm);
  };
  // In chunks of 512 tokens (prefill kernels), and of 1 (decode kernels).
  for (const std::int64_t step_tokens : {512, 1}) {
    ASSERT_VALUE(const auto found, logits_of(backend, Precision::bf16, card.device->memory(), step_tokens));
    ASSERT_EQ(found.size(), exact.size());
    std::printf("steps of %ld: error %.3e, the CPU's %.3e\n", step_tokens, distance(found), distance(bf16));
    EXPECT_LE(distance(found), 1.2 * distance(bf16)) << step_tokens;
  }
}

}  // namespace
}  // namespace rl::engine
