// Kernel times at model shapes: each variant that supports a shape, from a captured graph of calls over several sets of
// random inputs in rotation, beside the card's read bandwidth and cuBLASLt's matrix rate of the same run.
// usage: redline_cuda_bench [linear|linear:FORMAT|attention|decode|small|ceilings ...]

#include <cstdio>
#include <cstring>

#include "base/clock.h"
#include "cuda/catalog.h"
#include "cuda/host/cuda_device.h"
#include "cuda/host/error.h"
#include "cuda/host/probes.h"
#include "cuda/kernels/probe/probe.h"
#include "num/random.h"
#include "ops/case.h"
#include "ops/codes.h"
#include "tensor/buffer.h"

namespace rl::cuda {
namespace {

constexpr int kSamples = 15;

struct Bench {
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;

  Result<Buffer> random(std::int64_t bytes) {
    RL_ASSIGN(Buffer buffer, Buffer::make(device->memory(), {std::max<std::int64_t>(bytes, 4)}));
    RL_TRY(check(fill_random(buffer.data(), bytes, static_cast<std::uint32_t>(bytes), handle_of(*stream)), "fill"));
    return buffer;
  }

  // Median seconds of one call, of `calls` in a captured graph.
  Result<double> time(int calls, const std::function<Status(int)>& call) {
    for (int i = 0; i < 2; ++i) RL_TRY(call(i));
    RL_TRY(stream->synchronize());
    RL_TRY(stream->begin_capture());
    Status status = ok();
    for (int i = 0; i < calls && status; ++i) status = call(i);
    RL_ASSIGN(const std::unique_ptr<CapturedStep> graph, stream->end_capture({}));
    RL_TRY(std::move(status));
    RL_ASSIGN(const std::unique_ptr<Event> begin, device->make_timed_event());
    RL_ASSIGN(const std::unique_ptr<Event> end, device->make_timed_event());
    std::vector<double> seconds;
    for (int i = 0; i < kSamples + 3; ++i) {
      RL_TRY(stream->record(*begin));
      RL_TRY(stream->replay(*graph));
      RL_TRY(stream->record(*end));
      RL_TRY(stream->synchronize());
      RL_ASSIGN(const Seconds elapsed, device->elapsed(*begin, *end));
      if (i >= 3) seconds.push_back(elapsed.count / calls);
    }
    std::nth_element(seconds.begin(), seconds.begin() + kSamples / 2, seconds.end());
    return seconds[kSamples / 2];
  }
};

Status ceilings(Bench& bench) {
  for (const Probe& probe : probes()) {
    auto run = probe.prepare(*bench.device);
    if (!run) {
      std::printf("%-18s %s\n", probe.name, run.error().what.c_str());
      continue;
    }
    RL_TRY((*run)->run());
    std::vector<double> rates;
    for (int i = 0; i < 7; ++i) {
      const Seconds start = monotonic_now();
      RL_TRY((*run)->run());
      rates.push_back((*run)->amount() / (monotonic_now() - start).count);
    }
    std::nth_element(rates.begin(), rates.begin() + 3, rates.end());
    std::printf("%-18s %.4g %s\n", probe.name, rates[3], probe.unit);
  }
  RL_ASSIGN(const double launch, bench.time(300, [&](int) { return check(empty(handle_of(*bench.stream)), "empty"); }));
  std::printf("%-18s %.3g us a kernel in a graph\n", "empty kernel", launch * 1e6);
  return ok();
}

quant::PackedWeight weight_over(const Buffer& data, float* scales, quant::Format format, std::int64_t rows,
                                std::int64_t cols) {
  return {.format = format,
          .layout = quant::Layout::row_major,
          .rows = rows,
          .cols = cols,
          .padded_rows = rows,
          .padded_cols = cols,
          .data = data.data(),
          .scales = quant::scales_of(format) == quant::Scales::none ? nullptr : scales};
}

Status linear(Bench& bench, const std::function<bool(std::string)>& wanted) {
  struct Shape {
    std::int64_t rows, cols;
  };
  constexpr Shape kShapes[] = {{28672, 4096}, {4096, 14336}, {6144, 4096}, {4096, 4096}, {128256, 4096}};
  using quant::Format;
  RL_ASSIGN(const Buffer scales, bench.random(128256 * 4 * 4));
  RL_ASSIGN(const Buffer workspace, Buffer::make(bench.device->memory(), {std::int64_t{1} << 30}));
  for (const Format format :
       {Format::bf16, Format::fp8, Format::fp8_block, Format::int8, Format::int8_wo, Format::fp8_wo}) {
    if (!wanted("linear") && !wanted(std::string("linear:") + name_of(format))) continue;
    std::printf("\nlinear: variant, format, tokens, rows x cols: us, TB/s of weights, TFLOP/s\n");
    for (const Shape shape : kShapes) {
      const std::int64_t bytes = shape.rows * shape.cols * size_of(quant::element_type(format));
      const int sets = static_cast<int>(std::clamp<std::int64_t>(400'000'000 / bytes, 2, 12));
      std::vector<Buffer> weights;
      for (int i = 0; i < sets; ++i) {
        RL_ASSIGN(Buffer w, bench.random(bytes));
        weights.push_back(std::move(w));
      }
      for (const std::int64_t tokens : {1, 4, 16, 64, 512, 2048}) {
        if (tokens > 16 && shape.rows > 100000) continue;
        if (tokens == 4 && format != Format::bf16) continue;
        RL_ASSIGN(const Buffer x, bench.random(tokens * shape.cols * 2));
        RL_ASSIGN(const Buffer out, bench.random(tokens * shape.rows * 2));
        for (const auto& variant : catalog().linear) {
          if (std::strcmp(variant.name, "linear/cuda.simple") == 0) continue;
          if (tokens <= 16 && std::strcmp(variant.name, "linear/cuda.tiled") == 0) continue;
          const auto args_of = [&](int i) {
            return ops::LinearArgs{.x = tensor(x.data(), DType::bf16, {tokens, shape.cols}),
                                   .weight = weight_over(weights[static_cast<std::size_t>(i % sets)],
                                                         scales.as<float>(), format, shape.rows, shape.cols),
                                   .out = tensor(out.data(), DType::bf16, {tokens, shape.rows})};
          };
          if (!variant.supports(args_of(0), bench.device->info().arch)) continue;
          const int calls = tokens > 64 ? 4 : 24;
          const auto seconds =
              bench.time(calls, [&](int i) { return variant.launch(args_of(i), workspace.data(), *bench.stream); });
          if (!seconds) {
            std::printf("%-22s %-10s %4ld %6ld x %5ld: %s\n", variant.name, name_of(format), tokens, shape.rows,
                        shape.cols, seconds.error().message().c_str());
            continue;
          }
          std::printf("%-22s %-10s %4ld %6ld x %5ld: %8.2f %6.3f %7.1f\n", variant.name, name_of(format), tokens,
                      shape.rows, shape.cols, *seconds * 1e6, static_cast<double>(bytes) / *seconds / 1e12,
                      2.0 * static_cast<double>(tokens * shape.rows * shape.cols) / *seconds / 1e12);
        }
      }
      std::fflush(stdout);
    }
  }
  return ok();
}

struct AttentionShape {
  std::int64_t seqs, queries, keys, heads, kv_heads, head_dim;
  bool causal;
  DType type = DType::bf16, cache = DType::bf16;
  std::int64_t chunk = 0;  // queries of one sequence more, of as many keys
};

Status attention_one(Bench& bench, const AttentionShape& s) {
  const std::int64_t seqs = s.seqs + (s.chunk > 0 ? 1 : 0), tokens = s.seqs * s.queries + s.chunk;
  const std::int64_t pages = (s.keys + 63) / 64;
  RL_ASSIGN(const Buffer out, bench.random(tokens * s.heads * s.head_dim * 2));
  const std::int64_t kv_bytes = seqs * pages * 64 * s.kv_heads * s.head_dim * size_of(s.cache);
  const int sets = s.queries > 1 ? 2 : static_cast<int>(std::clamp<std::int64_t>(200'000'000 / kv_bytes, 2, 16));
  std::vector<Buffer> q, k, v;
  for (int i = 0; i < sets; ++i) {
    RL_ASSIGN(Buffer queries, bench.random(tokens * s.heads * s.head_dim * 2));
    q.push_back(std::move(queries));
    RL_ASSIGN(Buffer keys, bench.random(kv_bytes));
    RL_ASSIGN(Buffer values, bench.random(kv_bytes));
    k.push_back(std::move(keys)), v.push_back(std::move(values));
  }
  std::vector<std::int32_t> table, kv_len, cu_q{0};
  for (std::int64_t i = 0; i < seqs; ++i) {
    for (std::int64_t p = 0; p < pages; ++p) table.push_back(static_cast<std::int32_t>(i * pages + p));
    kv_len.push_back(static_cast<std::int32_t>(s.keys));
    cu_q.push_back(static_cast<std::int32_t>(i < s.seqs ? (i + 1) * s.queries : tokens));
  }
  const auto upload = [&](const std::vector<std::int32_t>& values) -> Result<Buffer> {
    RL_ASSIGN(Buffer buffer, Buffer::make(bench.device->memory(), {std::ssize(values) * 4}));
    RL_TRY(bench.stream->copy_to_device(buffer.data(), values.data(), buffer.size()));
    return buffer;
  };
  RL_ASSIGN(const Buffer d_table, upload(table));
  RL_ASSIGN(const Buffer d_len, upload(kv_len));
  RL_ASSIGN(const Buffer d_cu, upload(cu_q));
  RL_TRY(bench.stream->synchronize());
  const auto args_of = [&](int i) {
    const auto set = static_cast<std::size_t>(i % sets);
    return ops::AttentionArgs{.q = tensor(q[set].data(), s.type, {tokens, s.heads, s.head_dim}),
                              .kv = {.k = tensor(k[set].data(), s.cache, {seqs * pages, s.kv_heads, 64, s.head_dim}),
                                     .v = tensor(v[set].data(), s.cache, {seqs * pages, s.kv_heads, 64, s.head_dim})},
                              .index = {.page_table = tensor(d_table.data(), DType::i32, {seqs, pages}),
                                        .kv_len = tensor(d_len.data(), DType::i32, {seqs}),
                                        .cu_q = tensor(d_cu.data(), DType::i32, {seqs + 1})},
                              .causal = s.causal,
                              .scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim)),
                              .max_kv = s.keys,
                              .max_q = std::max(s.queries, s.chunk),
                              .out = tensor(out.data(), s.type, {tokens, s.heads, s.head_dim})};
  };
  for (const auto& variant : catalog().attention) {
    const std::string_view name = variant.name;
    if (name.ends_with(".simple") || (s.queries == 1 && s.chunk == 0 && name.find(".flash") != name.npos) ||
        (s.chunk > 0 && name.ends_with(".standard")))
      continue;
    if (!variant.supports(args_of(0), bench.device->info().arch)) continue;
    auto workspace = Buffer::make(bench.device->memory(), variant.workspace(args_of(0)));
    if (!workspace) continue;
    const auto seconds = bench.time(s.queries > 1 ? 4 : 2 * std::max(sets, 8), [&](int i) {
      return variant.launch(args_of(i), workspace->data(), *bench.stream);
    });
    if (!seconds) {
      std::printf("%-24s %s\n", variant.name, seconds.error().message().c_str());
      continue;
    }
    const double flops = 4.0 * static_cast<double>(s.seqs * s.heads * s.head_dim) * static_cast<double>(s.queries) *
                         static_cast<double>(s.keys) * (s.causal && s.queries > 1 ? 0.5 : 1);
    std::printf(
        "%-24s %-8s D %3ld heads %2ld/%2ld seqs %2ld q %5ld+%-4ld kv %6ld %s %-7s: %9.2f us %7.1f TFLOP/s %6.3f TB/s, "
        "workspace %.0f MiB\n",
        variant.name, name_of(s.type), s.head_dim, s.heads, s.kv_heads, s.seqs, s.queries, s.chunk, s.keys,
        s.causal ? "causal" : "full  ", name_of(s.cache), *seconds * 1e6, flops / *seconds / 1e12,
        2.0 * static_cast<double>(kv_bytes) / *seconds / 1e12,
        static_cast<double>(workspace->size().count) / 1048576.0);
  }
  std::fflush(stdout);
  return ok();
}

// tools/peers/attention.py prints PyTorch's rows of these shapes.
Status attention(Bench& bench) {
  std::printf("\nattention\n");
  for (const std::int64_t head_dim : {64, 128, 256})
    for (const bool causal : {false, true})
      for (const std::int64_t seq : {512, 2048, 8192})
        RL_TRY(attention_one(bench, {16384 / seq, seq, seq, 2048 / head_dim, 2048 / head_dim, head_dim, causal}));
  for (const std::int64_t seq : {512, 1024, 2048, 4096})  // a prefill of the engine
    RL_TRY(attention_one(bench, {1, seq, seq, 32, 8, 128, true}));
  for (const std::int64_t seq : {512, 1024, 2048, 4096, 8192})  // the plan's experiment
    RL_TRY(attention_one(bench, {8192 / seq, seq, seq, 16, 16, 128, false, DType::f16, DType::f16}));
  return ok();
}

Status decode(Bench& bench) {
  std::printf("\ndecode and mixed attention\n");
  for (const DType cache : {DType::bf16, DType::f8_e4m3}) {
    for (const std::int64_t keys : {512, 2048, 8192, 32768})
      for (const std::int64_t seqs : {1, 16, 64})
        if (seqs * keys <= 524288) RL_TRY(attention_one(bench, {seqs, 1, keys, 32, 8, 128, true, DType::bf16, cache}));
    RL_TRY(attention_one(bench, {1, 2048, 2048, 32, 8, 128, true, DType::bf16, cache}));
    RL_TRY(attention_one(bench, {1, 512, 8192, 32, 8, 128, true, DType::bf16, cache}));
    // A chunk of a prompt beside decoding sequences; the figures count the latter.
    RL_TRY(attention_one(bench, {15, 1, 2048, 32, 8, 128, true, DType::bf16, cache, 512}));
    RL_TRY(attention_one(bench, {63, 1, 2048, 32, 8, 128, true, DType::bf16, cache, 512}));
  }
  return ok();
}

Status small(Bench& bench) {
  std::printf("\nsmall ops at Llama-3-8B's shape\n");
  constexpr ops::ModelShape m = ops::kLlama8b;
  for (const std::int64_t tokens : {1, 16, 64, 512, 2048}) {
    RL_ASSIGN(const Buffer x, bench.random(tokens * m.hidden * 4));
    RL_ASSIGN(const Buffer w, bench.random(m.hidden * 4));
    RL_ASSIGN(const Buffer gate_up, bench.random(tokens * m.ffn * 4));
    RL_ASSIGN(const Buffer scales, bench.random(tokens * 128 * 4));
    RL_ASSIGN(const Buffer out, bench.random(tokens * m.ffn * 4));
    const ops::RmsNormArgs norm{.x = tensor(x.data(), DType::f32, {tokens, m.hidden}),
                                .weight = tensor(w.data(), DType::f32, {m.hidden}),
                                .out = tensor(out.data(), DType::bf16, {tokens, m.hidden})};
    const ops::SiluMulArgs silu{.gate_up = tensor(gate_up.data(), DType::bf16, {tokens, 2 * m.ffn}),
                                .out = tensor(out.data(), DType::bf16, {tokens, m.ffn})};
    const Arch& arch = bench.device->info().arch;
    const auto seconds = [&](auto variants, const auto& args) -> Result<double> {
      RL_ASSIGN(const auto* const variant, ops::choose(variants, args, arch));
      return bench.time(40, [&](int) { return variant->launch(args, nullptr, *bench.stream); });
    };
    RL_ASSIGN(const double t_norm, seconds(catalog().rms_norm, norm));
    RL_ASSIGN(const double t_silu, seconds(catalog().silu_mul, silu));
    std::printf("tokens %4ld: rms_norm %.2f us, silu_mul %.2f us\n", tokens, t_norm * 1e6, t_silu * 1e6);
    // As codes, in one kernel.
    for (const quant::Format format : {quant::Format::int8, quant::Format::fp8, quant::Format::fp8_block}) {
      const DType type = quant::element_type(format);
      ops::RmsNormArgs norm_codes = norm;
      norm_codes.out = tensor(out.data(), type, {tokens, m.hidden});
      norm_codes.scales = tensor(scales.as<float>(), {tokens, ops::scale_groups(format, m.hidden)});
      ops::SiluMulArgs silu_codes = silu;
      silu_codes.out = tensor(out.data(), type, {tokens, m.ffn});
      silu_codes.scales = tensor(scales.as<float>(), {tokens, ops::scale_groups(format, m.ffn)});
      RL_ASSIGN(const double norm_seconds, seconds(catalog().rms_norm, norm_codes));
      RL_ASSIGN(const double silu_seconds, seconds(catalog().silu_mul, silu_codes));
      std::printf("tokens %4ld: %s codes of rms_norm %.2f us, of silu_mul %.2f us\n", tokens, name_of(format),
                  norm_seconds * 1e6, silu_seconds * 1e6);
    }
  }
  for (const std::int64_t rows : {1, 16, 64}) {
    // As a model's: a normal distribution, of deviation 3.
    std::vector<float> normal(static_cast<std::size_t>(rows * m.vocab));
    for (std::size_t i = 0; i < normal.size(); i += 4) {
      const auto four = num::normal4(1, 2, i);
      for (std::size_t j = 0; j < 4; ++j) normal[i + j] = 3 * four[j];
    }
    RL_ASSIGN(const Buffer logits, Buffer::make(bench.device->memory(), {std::ssize(normal) * 4}));
    RL_TRY(bench.stream->copy_to_device(logits.data(), normal.data(), logits.size()));
    RL_TRY(bench.stream->synchronize());
    RL_ASSIGN(const Buffer out, bench.random(rows * 4));
    struct Wish {
      const char* name;
      ops::SampleRow row;
    };
    const Wish kinds[] = {
        {"greedy", {}},
        {"temperature 0.8, top-k 40, top-p 0.95", {.temperature = 0.8f, .top_k = 40, .top_p = 0.95f}},
        {"temperature 0.8, top-p 0.95", {.temperature = 0.8f, .top_p = 0.95f}},
        {"temperature 1.5, top-p 0.9, min-p 0.05", {.temperature = 1.5f, .top_p = 0.9f, .min_p = 0.05f}},
        {"temperature 1", {.temperature = 1}}};
    for (const Wish& kind : kinds) {
      const std::vector<ops::SampleRow> wishes(static_cast<std::size_t>(rows), kind.row);
      RL_ASSIGN(const Buffer row,
                Buffer::make(bench.device->memory(), {std::ssize(wishes) * std::int64_t{sizeof(ops::SampleRow)}}));
      RL_TRY(bench.stream->copy_to_device(row.data(), wishes.data(), row.size()));
      RL_TRY(bench.stream->synchronize());
      const ops::SampleArgs args{.logits = tensor(logits.data(), DType::f32, {rows, m.vocab}),
                                 .row = row.as<ops::SampleRow>(),
                                 .out = tensor(out.data(), DType::i32, {rows})};
      RL_ASSIGN(const Buffer workspace, Buffer::make(bench.device->memory(), catalog().sample[0].workspace(args)));
      RL_ASSIGN(const double seconds,
                bench.time(10, [&](int) { return catalog().sample[0].launch(args, workspace.data(), *bench.stream); }));
      std::printf("sample %ld rows, %s: %.2f us\n", rows, kind.name, seconds * 1e6);
    }
  }
  return ok();
}

Status run(int argc, char** argv) {
  Bench bench;
  RL_ASSIGN(bench.device, make_device(0));
  RL_ASSIGN(bench.stream, bench.device->make_stream());
  const auto wanted = [&](const std::string& part) {
    for (int i = 1; i < argc; ++i)
      if (argv[i] == part) return true;
    return argc == 1;
  };
  std::printf("%s\n", bench.device->info().name.c_str());
  if (wanted("ceilings")) RL_TRY(ceilings(bench));
  RL_TRY(linear(bench, wanted));
  if (wanted("attention")) RL_TRY(attention(bench));
  if (wanted("decode")) RL_TRY(decode(bench));
  if (wanted("small")) RL_TRY(small(bench));
  return ok();
}

}  // namespace
}  // namespace rl::cuda

int main(int argc, char** argv) {
  if (const auto done = rl::cuda::run(argc, argv); !done) {
    std::fprintf(stderr, "%s\n", done.error().message().c_str());
    return 1;
  }
}
