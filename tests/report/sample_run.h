#pragma once
// A run as a two-core machine might record it: two experiments done, one skipped, one failed, two not built. The
// numbers are invented and belong to these tests alone; samples are scattered around them by a fixed rule.

#include <cmath>
#include <string>

#include "record/record.h"

namespace rl::report {

inline record::Metric sampled(std::string name, std::string unit, record::Better better, double value,
                              double noise = 0.01, int count = 25) {
  record::Metric m{.name = std::move(name), .unit = std::move(unit), .better = better, .value = value};
  for (int i = 0; i < count; ++i) m.samples.push_back(value * (1 + noise * std::sin(12.9898 * (i + 1) + value)));
  m.ci95 = record::Interval{value * (1 - 0.6 * noise), value * (1 + 0.7 * noise)};
  m.noise = noise / std::sqrt(2.0);
  m.timing = record::Timing::hot;
  m.stop = record::Stop::converged;
  m.warmup = 3;
  return m;
}

inline record::Metric counted(std::string name, std::string unit, double value) {
  return {.name = std::move(name),
          .unit = std::move(unit),
          .better = record::Better::lower,
          .value = value,
          .statistic = "count"};
}

inline record::Experiment sample_baseline() {
  using namespace record;
  Experiment e{
      .id = "baseline",
      .title = "What this machine reaches",
      .plan = "0",
      .question =
          "Which read bandwidth and matrix rate does this machine reach, and what does the engine make of them before "
          "any "
          "optimisation?",
      .baseline = "the machine's own ceilings, measured in this run",
      .state = State::done,
      .measured = "12.4 GB/s, 913 tok/s",
      .meaning = "Decode reads weights at 87% of the machine's bandwidth; prefill runs at 78% of its bf16 matrix rate.",
      .advice = "Every later ratio refers to this record: repeat it after a change of machine or clocks.",
      .elapsed_seconds = 21.4,
      .peak_memory_bytes = 61 << 20};
  const auto probe = [&](const char* name, const char* unit, double value) {
    e.rows.push_back({.axes = {{"part", name}, {"depth", "0"}},
                      .metrics = {sampled(name, unit, Better::higher, value, 0.008)},
                      .path = {std::string("probe/") + name}});
  };
  probe("read_bandwidth", "B/s", 12.42e9);
  probe("matrix_rate_bf16", "FLOP/s", 412e9);
  probe("matrix_rate_fp32", "FLOP/s", 131.7e9);
  probe("matrix_rate_int8", "OP/s", 790e9);
  for (const auto& [depth, prefill, decode] : {std::tuple{"0", 5120.0, 913.4}, std::tuple{"512", 4871.0, 871.0}}) {
    Row row{.axes = {{"part", "engine"}, {"depth", depth}},
            .metrics = {sampled("prefill_throughput", "tok/s", Better::higher, prefill, 0.02),
                        sampled("decode_throughput", "tok/s", Better::higher, decode, 0.012),
                        counted("memory_bytes", "B", 61 << 20)},
            .path = {"embed/cpu.fast", "norm_in/cpu.fast_avx512", "qkv/cpu.panel64_bf16", "attention/cpu.flash_avx512",
                     "linear_out/cpu.panel64_bf16", "gate_up/cpu.panel64_bf16", "head/cpu.panel64_bf16",
                     "sample/cpu.greedy"}};
    e.rows.push_back(std::move(row));
  }
  e.rows.back().validity.warnings = {"load average 1.2 on 2 cores while this row ran"};
  e.charts = {{.title = "Engine throughput before any optimisation",
               .x = "depth",
               .y = "decode_throughput",
               .series = "part",
               .bars = true}};
  e.notes = {"Read bandwidth: all threads sum a buffer of eight times the last cache level.",
             "Matrix rates: the best of three shapes, 1024 to 4096 wide."};
  return e;
}

inline record::Experiment sample_attention() {
  using namespace record;
  Experiment e{
      .id = "attention",
      .title = "Flash attention against standard attention",
      .plan = "1.1",
      .question = "What is attention without the score matrix worth in time and memory, and from which length on?",
      .baseline = "standard attention: scores in memory, softmax over whole rows",
      .state = State::done,
      .expected = "2-4x faster, 10-20x less",
      .measured = "2.31x [2.25, 2.38], 34x",
      .outcome = Outcome::holds,
      .meaning = "At 2048 tokens and more, flash attention is 2.31 times as fast and needs 34 times less workspace.",
      .advice = "Use flash attention from 256 tokens on; below that the two do not differ.",
      .elapsed_seconds = 48.2,
      .peak_memory_bytes = 700LL << 20};
  const double base = 9.1e-6;
  for (const char* causal : {"no", "yes"})
    for (const int seq : {128, 256, 512, 1024, 2048, 4096})
      for (const char* variant : {"standard", "flash"}) {
        const bool flash = std::string_view(variant) == "flash", masked = std::string_view(causal) == "yes";
        const double scale = static_cast<double>(seq) / 128;
        const double gain = flash ? 1 + 0.28 * std::log2(scale) : 1;
        const double time = base * scale * scale * (masked ? (flash ? 0.55 : 0.93) : 1.0) / gain * 8;
        const double flops = 4.0 * seq * seq * 64 * 8 * (masked ? 0.5 : 1.0);
        const double scores = flash ? 8.0 * 64 * 64 * 4 * 2 : 8.0 * seq * seq * 4;
        Row row{.axes = {{"variant", variant},
                         {"seq", std::to_string(seq)},
                         {"batch", "1"},
                         {"heads", "8"},
                         {"head_dim", "64"},
                         {"causal", causal}},
                .metrics = {sampled("time", "s", Better::lower, time, seq < 512 ? 0.06 : 0.015),
                            sampled("throughput", "tok/s", Better::higher, seq / time, seq < 512 ? 0.06 : 0.015),
                            sampled("attention_rate", "FLOP/s", Better::higher, flops / time, seq < 512 ? 0.06 : 0.015),
                            counted("workspace_bytes", "B", scores)},
                .path = {flash ? "attention/cpu.flash_avx512" : "attention/cpu.standard"}};
        row.note = "6 tokens against the oracle, relative error " + std::string(flash ? "2.2e-03" : "2.3e-03");
        if (seq == 4096 && masked && !flash) {
          row.validity = {.valid = false, .reasons = {"the processor's clock fell by 12% while this row ran"}};
          row.metrics[0] = sampled("time", "s", Better::lower, 1.35 * time, 0.2);
          row.metrics[0].stop = Stop::timeout;
          row.metrics[0].outliers = 3;
        }
        e.rows.push_back(std::move(row));
      }
  e.hypotheses = {{.id = "attention.speed",
                   .claim = "2-4x speedup for long sequences",
                   .metric = "time",
                   .where = "seq >= 2048, causal no",
                   .expected = {2, 4},
                   .measured = Interval{2.25, 2.38},
                   .measured_value = 2.31,
                   .outcome = Outcome::holds},
                  {.id = "attention.memory",
                   .claim = "10-20 times memory reduction for attention layers",
                   .metric = "workspace_bytes",
                   .where = "seq >= 2048",
                   .expected = {10, 20},
                   .measured = Interval{31, 37},
                   .measured_value = 34,
                   .outcome = Outcome::exceeds},
                  {.id = "attention.scaling",
                   .claim = "Better scaling with sequence length",
                   .metric = "growth_exponent",
                   .where = "standard over flash, seq 128 to 4096",
                   .expected = {1.02, INFINITY},
                   .measured = Interval{0.98, 1.06},
                   .measured_value = 1.02,
                   .outcome = Outcome::inconclusive,
                   .reason = "too few lengths to tell"},
                  {.id = "attention.energy",
                   .claim = "Less energy per token",
                   .metric = "energy",
                   .where = "all",
                   .expected = {1.5, 3},
                   .outcome = Outcome::skipped,
                   .reason = "this machine has no energy counter"}};
  for (const int seq : {128, 512, 2048, 4096}) {
    const double ratio = 1 + 0.28 * std::log2(seq / 128.0);
    e.comparisons.push_back({.baseline = "standard, seq " + std::to_string(seq),
                             .candidate = "flash, seq " + std::to_string(seq),
                             .metric = "time",
                             .ratio = seq == 128 ? 1.004 : ratio,
                             .ci95 = seq == 128 ? Interval{0.97, 1.04} : Interval{ratio * 0.975, ratio * 1.03},
                             .smallest_effect = 0.02,
                             .verdict = seq == 128 ? Verdict::inconclusive : Verdict::better});
  }
  e.charts = {{.title = "Time over sequence length",
               .x = "seq",
               .y = "time",
               .series = "variant",
               .where = {{"causal", "no"}},
               .log_x = true,
               .log_y = true},
              {.title = "Time over sequence length, causal",
               .x = "seq",
               .y = "time",
               .series = "variant",
               .where = {{"causal", "yes"}},
               .log_x = true,
               .log_y = true},
              {.title = "Workspace of the attention layer",
               .x = "seq",
               .y = "workspace_bytes",
               .series = "variant",
               .where = {{"causal", "no"}},
               .log_x = true,
               .log_y = true},
              {.title = "Share of arithmetic reached",
               .x = "seq",
               .y = "attention_rate",
               .series = "variant",
               .where = {{"causal", "no"}},
               .log_x = true}};
  e.notes = {"Outputs of both variants were compared with the oracle before any time was taken.",
             "Workspace is counted by the allocator; Q, K, V and the output are not part of it."};
  return e;
}

inline record::Run sample_run() {
  using namespace record;
  Run run{.id = "20261123-140509-quick",
          .command = "redline run --quick",
          .mode = "quick",
          .started = "2026-11-23T14:05:09Z",
          .finished = "2026-11-23T14:07:23Z",
          .seed = 1,
          .elapsed_seconds = 134};
  run.environment = {.os = "Debian GNU/Linux 12",
                     .kernel = "6.1.0",
                     .cpu = "Intel Xeon Platinum 8481C",
                     .cores = 2,
                     .memory_bytes = 8LL << 30,
                     .last_cache_bytes = 105LL << 20,
                     .isa = "avx512_bf16 avx512_vnni avx512 avx2",
                     .cpu_hz = 2.7e9,
                     .load_before = 0.12,
                     .load_after = 1.84,
                     .backends = {"cpu"},
                     .version = "0.1.0",
                     .commit = "a1b2c3d",
                     .build = "Release g++ 12.2"};
  run.model = {.name = "demo",
               .family = "llama",
               .fingerprint = "5f1c2a90b4d7e813",
               .tokenizer_fingerprint = "c0ffee1234567890",
               .parameters = 3'213'568,
               .stored_as = "bf16",
               .computed_as = "bf16"};
  run.experiments = {sample_baseline(), sample_attention()};
  run.experiments.push_back({.id = "power_limit",
                             .title = "Power limits",
                             .plan = "4.1",
                             .question = "How much speed does a lower power limit cost?",
                             .state = State::skipped,
                             .reasons = {"needs an NVIDIA GPU whose power limit can be set"},
                             .remedy = "Run it on a machine with such a GPU: `redline doctor` says what is missing.",
                             .expected = "10-15% less energy"});
  run.experiments.push_back({.id = "fragmentation",
                             .title = "Memory fragmentation",
                             .plan = "1.2",
                             .question = "How much memory is lost between allocations?",
                             .state = State::failed,
                             .reasons = {"the allocator ran out of memory at 7.2 GiB"},
                             .remedy = "Free memory or pass --limit.",
                             .expected = "-"});
  run.experiments.push_back({.id = "quantization",
                             .title = "FP8, FP16 and INT8 weights",
                             .plan = "2.1",
                             .question = "What do narrower weights win, and what do they cost in quality?",
                             .state = State::not_built,
                             .expected = "1.5-2x faster"});
  run.experiments.push_back({.id = "speculative",
                             .title = "Speculative decoding",
                             .plan = "3.2",
                             .question = "How many tokens does a draft save?",
                             .state = State::not_built,
                             .expected = "1.5-2.5x faster"});
  return run;
}

}  // namespace rl::report
