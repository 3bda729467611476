#include "experiments/batching_load.h"

#include "engine/fit.h"

namespace rl::experiments {
namespace {

record::Metric counted(std::string name, std::string unit, double value,
                       record::Better better = record::Better::neither) {
  return {.name = std::move(name), .unit = std::move(unit), .better = better, .value = value, .statistic = "count"};
}

// Percentiles of one latency that the samples allow; what they do not allow is said.
void add_percentiles(record::Row& row, const std::string& name, const std::vector<double>& samples, bool keep,
                     std::uint64_t seed) {
  for (const double p : {0.5, 0.9, 0.99}) {
    if (auto metric = loadgen::percentile(name, samples, p, keep, seed))
      row.metrics.push_back(std::move(*metric));
    else
      row.validity.warnings.push_back(fmt::format("{}_p{:g}: needs {} samples, {} were taken", name, 100 * p,
                                                  loadgen::samples_for_percentile(p), samples.size()));
  }
}

// A queue that grows has no latency of its own: it depends on how long one looks.
void warn_if_overloaded(record::Row& row, const loadgen::Latencies& steady) {
  const std::size_t half = steady.ttft.size() / 2;
  if (half < 16) return;
  const double early = measure::median(std::span(steady.ttft).first(half)),
               late = measure::median(std::span(steady.ttft).last(half));
  if (late > 2 * early)
    row.validity.warnings.push_back(
        fmt::format("the queue grew: the median TTFT of the second half is {} times the first's; at this load the "
                    "latencies depend on how long one measures",
                    format_significant(late / early, 2)));
}

}  // namespace

double output_tokens(std::span<const loadgen::Arrival> arrivals) {
  double tokens = 0;
  for (const loadgen::Arrival& arrival : arrivals) tokens += static_cast<double>(arrival.request.max_tokens);
  return tokens;
}

std::vector<loadgen::Arrival> spread_by_length(std::span<const loadgen::Arrival> arrivals, std::size_t n) {
  RL_CHECK(n >= 1 && n <= arrivals.size());
  std::vector<loadgen::Arrival> sorted(arrivals.begin(), arrivals.end()), chosen;
  std::ranges::stable_sort(sorted, {}, [](const loadgen::Arrival& arrival) { return arrival.request.max_tokens; });
  for (std::size_t i = 0; i < n; ++i) chosen.push_back(sorted[(2 * i + 1) * sorted.size() / (2 * n)]);
  return chosen;
}

Result<std::string> compare_batching_tokens(engine::Engine& engine, std::span<const loadgen::Arrival> arrivals,
                                            std::int64_t seqs) {
  std::vector<loadgen::Load> loads;
  for (const BatchingWay& way : kBatchingWays) {
    loadgen::EngineTarget target(engine);
    RL_ASSIGN(loadgen::Load load, loadgen::serve(target, arrivals, {.policy = way.policy, .batch = seqs}));
    loads.push_back(std::move(load));
  }
  std::size_t differ = 0;
  for (std::size_t i = 0; i < arrivals.size(); ++i) {
    const auto& expected = loads[kOneAtATime].requests[i].tokens;
    bool same = true;
    for (const std::size_t way : {kStaticBatch, kContinuous}) {
      if (loads[way].requests[i].tokens == expected) continue;
      same = false;
      if (engine.batch_invariant())
        return Error{.kind = ErrorKind::internal,
                     .what = fmt::format("request {} gets other tokens from {} than from {}", i,
                                         kBatchingWays[way].name, kBatchingWays[kOneAtATime].name),
                     .rule = "batching.gate"};
    }
    differ += !same;
  }
  if (engine.batch_invariant()) return fmt::format("all ways give the same tokens for {} requests", arrivals.size());
  return fmt::format("the variants do not promise equal output in a batch: {} of {} requests differ", differ,
                     arrivals.size());
}

Result<record::Row> measure_poisson(engine::Engine& engine, const PoissonLoad& load) {
  std::vector<loadgen::Arrival> arrivals =
      loadgen::make_requests(load.requests, load.lengths, engine.config().vocab, load.seed);
  loadgen::schedule_poisson(arrivals, load.per_second, load.seed);
  loadgen::EngineTarget target(engine);
  RL_ASSIGN(const loadgen::Load served, loadgen::serve(target, arrivals, {}));

  record::Row row{.path = engine.path()};
  const Seconds from{0.1 * arrivals.back().at.count};
  const loadgen::Latencies steady = loadgen::latencies_of(served, from, load.slo);
  add_percentiles(row, "ttft", steady.ttft, true, load.seed);
  add_percentiles(row, "tpot", steady.tpot, true, load.seed);
  add_percentiles(row, "itl", steady.itl, false, load.seed);
  add_percentiles(row, "e2e", steady.e2e, true, load.seed);
  const auto requests = static_cast<double>(steady.requests);
  row.metrics.push_back(counted("goodput", "req/s", steady.goodput(), record::Better::higher));
  row.metrics.push_back(
      counted("good_share", "1", static_cast<double>(steady.good) / requests, record::Better::higher));
  row.metrics.push_back(counted("offered_rate", "req/s", steady.offered()));
  row.metrics.push_back(counted("output_throughput", "tok/s", static_cast<double>(steady.tokens) / steady.span.count,
                                record::Better::higher));
  row.metrics.push_back(counted("completed", "1", static_cast<double>(steady.completed)));
  row.metrics.push_back(counted("failed", "1", static_cast<double>(steady.failed), record::Better::lower));
  row.metrics.push_back(
      counted("client_delay_p99", "s", loadgen::client_delay_p99(served).count, record::Better::lower));
  if (std::string why = loadgen::client_bound(served); !why.empty())
    record::invalidate(row.validity, std::move(why), "load.client_bound");
  warn_if_overloaded(row, steady);
  row.note = fmt::format(
      "{} requests in {}, open loop; latencies count from the scheduled arrival, of the {} requests after the first "
      "tenth of the time; within the SLO: TTFT at most {}, TPOT at most {}",
      load.requests, format_seconds(served.duration), steady.requests, format_seconds(load.slo.ttft),
      format_seconds(load.slo.tpot));
  return row;
}

Result<record::Row> try_largest_batch(const lab::Context& context, const engine::Engine& engine, Bytes weights,
                                      std::int64_t tokens, Bytes memory) {
  const engine::EngineOptions& options = engine.options();
  RL_ASSIGN(const engine::Fit fit, engine::largest_batch(engine.config(), context.backend, options, tokens, memory));
  record::Row row;
  row.metrics.push_back(counted("sequences", "1", static_cast<double>(fit.seqs), record::Better::higher));
  row.metrics.push_back(counted("memory", "B", static_cast<double>(memory.count)));
  row.metrics.push_back(counted("memory_predicted", "B", static_cast<double>(fit.plan.total().count)));
  const auto invalid = [&](std::string why) { record::invalidate(row.validity, std::move(why)); };
  LimitedResource limited(context.memory, memory - weights);
  const auto attempt = [&](std::int64_t seqs) -> Result<Bytes> {
    const Bytes before = context.memory.live();
    RL_ASSIGN(const auto tried,
              engine::Engine::make_beside(engine, context.backend, limited,
                                          engine::options_for(engine.config(), options, seqs, tokens)));
    return context.memory.live() - before;
  };
  if (fit.seqs > 0) {
    const Result<Bytes> taken = attempt(fit.seqs);
    if (!taken) {
      invalid(fmt::format("{} sequences were predicted to fit and did not: {}", fit.seqs, taken.error().what));
    } else {
      const Bytes counted_bytes = *taken + weights;
      row.metrics.push_back(counted("memory_counted", "B", static_cast<double>(counted_bytes.count)));
      if (counted_bytes != fit.plan.total())
        invalid(fmt::format("the allocator counted {} bytes where {} were predicted", counted_bytes.count,
                            fit.plan.total().count));
    }
  }
  const Result<Bytes> more = attempt(fit.seqs + 1);
  if (more)
    invalid(fmt::format("{} sequences fit, one more than predicted", fit.seqs + 1));
  else if (more.error().kind != ErrorKind::out_of_memory && more.error().kind != ErrorKind::usage)
    return more.error();
  const bool refused = !more && more.error().kind == ErrorKind::out_of_memory;
  row.note = fmt::format("{} sequences of {} tokens: predicted, then allocated; {}", fit.seqs, tokens,
                         refused ? "one more was refused" : "more than the engine takes were not tried");
  return row;
}

}  // namespace rl::experiments
