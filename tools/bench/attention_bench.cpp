// Times the attention variants of the CPU beside the machine's ceilings: in each round the register-only multiply-add
// loop (prefill) or the read loop over as many bytes (decode) runs before and after every variant, so that a slow
// second of the machine hits them alike. Decode reads cold caches: one cursor moves through a pool of 1 GiB of pages.
//
//   redline_attention_bench [--type bf16|f32] [--dim 64,128] [--seq 512,1024,2048,4096] [--heads 8/8] [--threads N]
//                           [--isa avx2] [--rounds 9] [--only prefill|decode|tiny]
//
// Prints the median time, GFLOP/s or GB/s, and the share of the ceiling: the median over the rounds of the ratio to the
// loops beside it, and the ratio of the best samples, the steadier one where other programs take turns on the cores.

#include <cstdlib>
#include <vector>

#include "base/checked.h"
#include "base/clock.h"
#include "cpu/fast/cpu_device.h"
#include "cpu/fast/probes.h"
#include "cpu/fast/variants.h"
#include "ops/case.h"
#include "tensor/buffer.h"

namespace rl {
namespace {

struct Options {
  DType type = DType::bf16;
  std::vector<std::int64_t> dims = {64, 128}, lengths = {512, 1024, 2048, 4096};
  std::int64_t heads = 8, kv_heads = 8;
  int threads = 0, rounds = 9;
  std::string isa, only;
};

[[noreturn]] void fail(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::exit(1);
}

template <class T>
T need(Result<T> result) {
  if (!result) fail(result.error().message());
  return std::move(result).value();
}

std::vector<std::int64_t> numbers(const std::string& text, char separator) {
  std::vector<std::int64_t> result;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    result.push_back(std::atoll(text.substr(at, end - at).c_str()));
    if (result.back() <= 0) fail("not a list of sizes: " + text);
    at = end + 1;
  }
  return result;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i], value = argv[i + 1];
    if (flag == "--type") {
      options.type = value == "f32" ? DType::f32 : DType::bf16;
    } else if (flag == "--dim") {
      options.dims = numbers(value, ',');
    } else if (flag == "--seq") {
      options.lengths = numbers(value, ',');
    } else if (flag == "--heads") {
      const auto heads = numbers(value, '/');
      options.heads = heads.front();
      options.kv_heads = heads.back();
    } else if (flag == "--threads") {
      options.threads = static_cast<int>(numbers(value, ',').front());
    } else if (flag == "--rounds") {
      options.rounds = static_cast<int>(numbers(value, ',').front());
    } else if (flag == "--isa") {
      options.isa = value;
    } else if (flag == "--only") {
      options.only = value;
    } else {
      fail("unknown flag " + flag);
    }
  }
  if (argc % 2 == 0) fail("every flag needs a value");
  return options;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <class F>
double seconds_of(F&& work) {
  const Seconds start = monotonic_now();
  work();
  return monotonic_now().count - start.count;
}

struct Contender {
  const ops::Variant<ops::AttentionArgs>* variant;
  Buffer workspace;
  std::vector<double> seconds, share;
};

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options), device_(cpu::make_device({.threads = options.threads, .isa_limit = options.isa})) {
    stream_ = need(device_->make_stream());
    pool_ = &static_cast<cpu::CpuStream&>(*stream_).pool();
    k_ = need(Buffer::make(device_->memory(), kCache));
    v_ = need(Buffer::make(device_->memory(), kCache));
    const std::int64_t size = size_of(options_.type);
    for (const Buffer* cache : {&k_, &v_})
      pool_->parallel_for(cache->size().count / size, 4096,
                          [&](std::int64_t begin, std::int64_t end) { fill(cache->data(), begin, end); });
  }

  void run() {
    std::printf("%s, %s, %d threads\n", device_->info().name.c_str(), name_of(options_.type), pool_->threads());
    if (options_.only.empty() || options_.only == "prefill") prefill();
    if (options_.only.empty() || options_.only == "decode") {
      decode(16, 2048, 32, 8, 128);
      decode(1, 8192, 32, 8, 128);
      decode(1, 8192, 32, 32, 128);
      decode(16, 2048, 32, 8, 64);
    }
    if (options_.only.empty() || options_.only == "tiny") tiny();
  }

 private:
  static constexpr Bytes kCache{512 << 20};

  // Values around one whose products neither vanish nor grow: sin of the index, in the type.
  void fill(void* data, std::int64_t begin, std::int64_t end) const {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto value = static_cast<float>((i * 2654435761 >> 7) % 2048 - 1024) / 1024;
      if (options_.type == DType::f32) {
        static_cast<float*>(data)[i] = value;
      } else {
        std::uint32_t bits = 0;
        std::memcpy(&bits, &value, sizeof bits);
        static_cast<std::uint16_t*>(data)[i] = static_cast<std::uint16_t>(bits >> 16);
      }
    }
  }

  // One step of equal sequences, its pages from the cursor on in an order that no prefetcher guesses.
  struct Step {
    Buffer q, out;
    std::vector<std::int32_t> table, kv_len, cu_q;
    ops::AttentionArgs args;
    std::int64_t pages = 0;
  };
  Step make_step(std::int64_t seqs, std::int64_t q_len, std::int64_t kv, std::int64_t heads, std::int64_t kv_heads,
                 std::int64_t dim, bool causal) {
    Step step;
    const std::int64_t size = size_of(options_.type), tokens = seqs * q_len, max_pages = ceil_div(kv, ops::kPageTokens);
    const std::int64_t all_pages = kCache.count / (kv_heads * ops::kPageTokens * dim * size);
    step.pages = seqs * max_pages;
    step.q = need(Buffer::make(device_->memory(), Bytes{tokens * heads * dim * size}));
    step.out = need(Buffer::make(device_->memory(), Bytes{tokens * heads * dim * size}));
    fill(step.q.data(), 0, tokens * heads * dim);
    step.table.resize(static_cast<std::size_t>(step.pages));
    step.kv_len.assign(static_cast<std::size_t>(seqs), static_cast<std::int32_t>(kv));
    for (std::int64_t s = 0; s <= seqs; ++s) step.cu_q.push_back(static_cast<std::int32_t>(s * q_len));
    step.args = {.q = tensor(step.q.data(), options_.type, {tokens, heads, dim}),
                 .kv = {.k = tensor(k_.data(), options_.type, {all_pages, kv_heads, ops::kPageTokens, dim}),
                        .v = tensor(v_.data(), options_.type, {all_pages, kv_heads, ops::kPageTokens, dim})},
                 .index = {.page_table = tensor(step.table.data(), {seqs, max_pages}),
                           .kv_len = tensor(step.kv_len.data(), {seqs}),
                           .cu_q = tensor(step.cu_q.data(), {seqs + 1})},
                 .causal = causal,
                 .scale = 1 / std::sqrt(static_cast<float>(dim)),
                 .max_kv = kv,
                 .max_q = q_len,
                 .out = tensor(step.out.data(), options_.type, {tokens, heads, dim})};
    next_pages(step);
    return step;
  }

  void next_pages(Step& step) {
    const std::int64_t all = step.args.kv.k.shape[0];
    for (std::int64_t i = 0; i < step.pages; ++i)
      step.table[static_cast<std::size_t>(i)] = static_cast<std::int32_t>((cursor_ + (i * 7919) % step.pages) % all);
    cursor_ = (cursor_ + step.pages) % all;
  }

  std::vector<Contender> contenders(const ops::AttentionArgs& args) {
    std::vector<Contender> result;
    for (const auto& variant : cpu::attention_variants()) {
      if (!variant.supports(args, device_->info().arch)) continue;
      result.push_back({&variant, need(Buffer::make(device_->memory(), variant.workspace(args))), {}, {}});
    }
    return result;
  }

  void launch(const Contender& contender, const ops::AttentionArgs& args) {
    const Status status = contender.variant->launch(args, contender.workspace.data(), *stream_);
    if (!status) fail(status.error().message());
  }

  double peak_rate() {
    double operations = 0;
    const double seconds = seconds_of([&] {
      operations =
          cpu::multiply_add(*pool_, device_->info().arch,
                            options_.type == DType::bf16 ? cpu::MatrixRate::bf16 : cpu::MatrixRate::f32, 50'000);
    });
    return operations / seconds;
  }

  void prefill() {
    std::printf("prefill, heads %ld/%ld\n%5s %6s %7s %-24s %9s %8s %6s %6s  peak GFLOP/s\n",
                static_cast<long>(options_.heads), static_cast<long>(options_.kv_heads), "d", "seq", "mask", "variant",
                "ms", "GFLOP/s", "%peak", "best");
    for (const std::int64_t dim : options_.dims)
      for (const std::int64_t length : options_.lengths)
        for (const bool causal : {false, true}) {
          Step step = make_step(1, length, length, options_.heads, options_.kv_heads, dim, causal);
          auto all = contenders(step.args);
          const double flops = ops::flops(step.args);
          std::vector<double> peaks;
          for (int round = -1; round < options_.rounds; ++round) {
            double before = peak_rate();
            for (std::size_t i = 0; i < all.size(); ++i) {
              Contender& contender = all[round % 2 == 0 ? i : all.size() - 1 - i];
              const double seconds = seconds_of([&] { launch(contender, step.args); });
              const double after = peak_rate();
              if (round >= 0) {
                contender.seconds.push_back(seconds);
                contender.share.push_back(flops / seconds / ((before + after) / 2));
                peaks.push_back(after);
              }
              before = after;
            }
          }
          const double peak = *std::max_element(peaks.begin(), peaks.end());
          for (const Contender& c : all)
            std::printf("%5ld %6ld %7s %-24s %9.2f %8.0f %5.1f%% %5.1f%% %13.0f\n", static_cast<long>(dim),
                        static_cast<long>(length), causal ? "causal" : "none", c.variant->name, median(c.seconds) * 1e3,
                        flops / median(c.seconds) * 1e-9, median(c.share) * 100,
                        flops / *std::min_element(c.seconds.begin(), c.seconds.end()) / peak * 100, peak * 1e-9);
          std::fflush(stdout);
        }
  }

  void decode(std::int64_t seqs, std::int64_t kv, std::int64_t heads, std::int64_t kv_heads, std::int64_t dim) {
    Step step = make_step(seqs, 1, kv, heads, kv_heads, dim, true);
    auto all = contenders(step.args);
    const double bytes = ops::bytes(step.args);
    const Bytes each{seqs * kv * kv_heads * dim * size_of(options_.type)};  // of K, and of V
    std::int64_t offset = 0;
    const auto read_rate = [&] {
      if (offset + each.count > kCache.count) offset = 0;
      const double seconds = seconds_of([&] {
        cpu::read_all(*pool_, device_->info().arch, k_.as<char>() + offset, each);
        cpu::read_all(*pool_, device_->info().arch, v_.as<char>() + offset, each);
      });
      offset += each.count;
      return 2 * static_cast<double>(each.count) / seconds;
    };
    std::vector<double> reads;
    for (int round = -1; round < 3 * options_.rounds; ++round) {
      double before = read_rate();
      for (std::size_t i = 0; i < all.size(); ++i) {
        Contender& contender = all[round % 2 == 0 ? i : all.size() - 1 - i];
        next_pages(step);
        const double seconds = seconds_of([&] { launch(contender, step.args); });
        const double after = read_rate();
        if (round >= 0) {
          contender.seconds.push_back(seconds);
          contender.share.push_back(bytes / seconds / ((before + after) / 2));
          reads.push_back(after);
        }
        before = after;
      }
    }
    std::printf("decode %ld x %ld, heads %ld/%ld, d %ld\n", static_cast<long>(seqs), static_cast<long>(kv),
                static_cast<long>(heads), static_cast<long>(kv_heads), static_cast<long>(dim));
    const double best_read = *std::max_element(reads.begin(), reads.end());
    for (const Contender& c : all)
      std::printf("  %-24s %9.3f ms %6.1f GB/s, %5.1f%% of the read loop (best %5.1f%%), which reads %.1f GB/s\n",
                  c.variant->name, median(c.seconds) * 1e3, bytes / median(c.seconds) * 1e-9, median(c.share) * 100,
                  bytes / *std::min_element(c.seconds.begin(), c.seconds.end()) / best_read * 100,
                  median(reads) * 1e-9);
    std::fflush(stdout);
  }

  // The demo model's decode step, everything in the cache.
  void tiny() {
    for (const std::int64_t kv : {64, 512, 2048}) {
      Step step = make_step(1, 1, kv, ops::kDemo.heads, ops::kDemo.kv_heads, ops::kDemo.head_dim, true);
      for (Contender& c : contenders(step.args)) {
        for (int round = 0; round < 10 * options_.rounds; ++round)
          c.seconds.push_back(seconds_of([&] {
                                for (int i = 0; i < 100; ++i) launch(c, step.args);
                              }) /
                              100);
        std::printf("demo model's decode at %4ld: %-24s %7.2f us (best %.2f)\n", static_cast<long>(kv), c.variant->name,
                    median(c.seconds) * 1e6, *std::min_element(c.seconds.begin(), c.seconds.end()) * 1e6);
      }
    }
  }

  Options options_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  cpu::ThreadPool* pool_ = nullptr;
  Buffer k_, v_;
  std::int64_t cursor_ = 0;
};

}  // namespace
}  // namespace rl

int main(int argc, char** argv) {
  rl::Bench(rl::parse(argc, argv)).run();
  return 0;
}
