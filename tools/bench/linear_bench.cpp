// Times the linear variants of the CPU beside the machine's ceilings: in each round every variant, the read loop over
// the same number of bytes, and the register-only multiply-add loop take one turn, so that a slow second of the machine
// hits them alike. Weights are cold: one cursor moves through a pool of at least 1 GiB for all of them.
//
//   redline_linear_bench [--format bf16] [--m 1,4,16,512] [--shape 2048x2048,8192x2048,...] [--threads N] [--isa avx2]
//                        [--rounds 15] [--variants all] [--hot]
//
// Shapes are N x K (outputs x inputs). Prints per variant the median GB/s of weights and GFLOP/s, and its share of the
// read loop and of the multiply-add loop: the median over the rounds of the ratio to the same round, and the ratio of
// the best samples, which is the steadier one where other programs take turns on the cores.

#include <cstdlib>
#include <numeric>
#include <vector>

#include "base/clock.h"
#include "cpu/fast/cpu_device.h"
#include "cpu/fast/probes.h"
#include "cpu/fast/variants.h"
#include "quant/pack.h"
#include "tensor/buffer.h"

namespace rl {
namespace {

struct Options {
  quant::Format format = quant::Format::bf16;
  std::vector<std::int64_t> tokens = {1, 4, 16, 512};
  std::vector<std::pair<std::int64_t, std::int64_t>> shapes = {
      {2048, 2048}, {8192, 2048}, {2048, 8192}, {128256, 2048}};
  int threads = 0, rounds = 15;
  std::string isa, variants = "best";
  bool hot = false;
};

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (const char c : text)
    if (c == at)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

[[noreturn]] void fail(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::exit(1);
}

template <class T>
T need(Result<T> result) {
  if (!result) fail(result.error().message());
  return std::move(result).value();
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--hot") {
      options.hot = true;
      continue;
    }
    if (i + 1 == argc) fail(flag + " needs a value");
    const std::string value = argv[++i];
    if (flag == "--format") {
      for (const auto format : {quant::Format::f32, quant::Format::bf16, quant::Format::f16, quant::Format::int8})
        if (value == quant::name_of(format)) options.format = format;
    } else if (flag == "--m") {
      options.tokens.clear();
      for (const std::string& m : split(value, ',')) options.tokens.push_back(std::atoll(m.c_str()));
    } else if (flag == "--shape") {
      options.shapes.clear();
      for (const std::string& shape : split(value, ',')) {
        const auto sides = split(shape, 'x');
        if (sides.size() != 2) fail("a shape is NxK");
        options.shapes.emplace_back(std::atoll(sides[0].c_str()), std::atoll(sides[1].c_str()));
      }
    } else if (flag == "--threads") {
      options.threads = std::atoi(value.c_str());
    } else if (flag == "--rounds") {
      options.rounds = std::atoi(value.c_str());
    } else if (flag == "--isa") {
      options.isa = value;
    } else if (flag == "--variants") {
      options.variants = value;
    } else {
      fail("unknown flag " + flag);
    }
  }
  return options;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double largest(const std::vector<double>& values) { return *std::max_element(values.begin(), values.end()); }

template <class F>
double seconds_of(F&& work) {
  const Seconds start = monotonic_now();
  work();
  return monotonic_now().count - start.count;
}

struct Contender {
  const ops::Variant<ops::LinearArgs>* variant;
  Buffer workspace;
  std::vector<double> seconds, of_read, of_peak;
};

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options), device_(cpu::make_device({.threads = options.threads, .isa_limit = options.isa})) {
    stream_ = need(device_->make_stream());
    pool_ = &static_cast<cpu::CpuStream&>(*stream_).pool();
    std::int64_t largest = 0;
    for (const auto& [n, k] : options_.shapes) largest = std::max(largest, packed(n, k).data.count);
    memory_ = need(
        Buffer::make(device_->memory(), Bytes{options_.hot ? largest : std::max<std::int64_t>(1 << 30, 2 * largest)}));
    scales_ = need(Buffer::make(device_->memory(), Bytes{1 << 20}));
    // The small pattern is a normal number in every format.
    pool_->parallel_for(memory_.size().count, 4096, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        memory_.as<std::uint8_t>()[i] = static_cast<std::uint8_t>(0x3C + i % 2);
    });
    for (std::int64_t i = 0; i < scales_.size().count / 4; ++i) scales_.as<float>()[i] = 0.01f;
  }

  void run() {
    std::printf("%s, %s weights, %s\n", device_->info().name.c_str(), quant::name_of(options_.format),
                options_.hot ? "hot" : "cold");
    std::printf("%5s %13s %-24s %6s %6s %5s %8s %6s %6s   read GB/s  peak GFLOP/s\n", "M", "N x K", "variant", "GB/s",
                "%read", "best", "GFLOP/s", "%peak", "best");
    for (const std::int64_t m : options_.tokens)
      for (const auto& [n, k] : options_.shapes) shape(m, n, k);
  }

 private:
  quant::PackedSize packed(std::int64_t n, std::int64_t k) const {
    return need(quant::packed_size(options_.format, quant::Layout::panel64, n, k));
  }

  void shape(std::int64_t m, std::int64_t n, std::int64_t k) {
    const quant::PackedSize size = packed(n, k);
    const bool narrow = options_.format == quant::Format::bf16 || options_.format == quant::Format::int8;
    const DType x_type = narrow ? DType::bf16 : DType::f32;
    const Buffer x = need(Buffer::make(device_->memory(), Bytes{m * k * size_of(x_type)}));
    const Buffer out = need(Buffer::make(device_->memory(), Bytes{m * n * 4}));
    for (std::int64_t i = 0; i < m * k; ++i)
      if (narrow)
        x.as<std::uint16_t>()[i] = static_cast<std::uint16_t>(0x3F80 + i % 64);
      else
        x.as<float>()[i] = 1.0f + static_cast<float>(i % 64) / 64;
    ops::LinearArgs args{.x = tensor(x.data(), x_type, {m, k}),
                         .weight = {.format = options_.format,
                                    .layout = quant::Layout::panel64,
                                    .rows = n,
                                    .cols = k,
                                    .padded_rows = size.padded_rows,
                                    .padded_cols = size.padded_cols,
                                    .data = memory_.data(),
                                    .scales = size.scales.count > 0 ? scales_.as<float>() : nullptr},
                         .out = tensor(out.data(), DType::f32, {m, n})};
    std::vector<Contender> contenders;
    for (const auto& variant : cpu::linear_variants()) {
      if (options_.variants != "all" && options_.variants != "best" && variant.name != options_.variants) continue;
      if (!variant.supports(args, device_->info().arch)) continue;
      contenders.push_back({&variant, need(Buffer::make(device_->memory(), variant.workspace(args))), {}, {}, {}});
      if (options_.variants == "best") break;
    }
    const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
    const double bytes = static_cast<double>(size.data.count);
    std::vector<double> read_rates, peak_rates;
    // A turn lasts at least a millisecond, so that a clock's reading and a region's start do not count.
    const auto turns = std::max<std::int64_t>(1, static_cast<std::int64_t>(1e-3 / (bytes / 60e9 + flops / 1e12)));
    for (int round = -1; round < options_.rounds; ++round) {  // the first warms up
      const double read = bytes * static_cast<double>(turns) / seconds_of([&] {
                            for (std::int64_t i = 0; i < turns; ++i)
                              cpu::read_all(*pool_, device_->info().arch, next(size.data), size.data);
                          });
      double operations = 0;
      const double peak_seconds =
          seconds_of([&] { operations = cpu::multiply_add(*pool_, device_->info().arch, rate(), 100'000); });
      const double peak = operations / peak_seconds;
      for (Contender& contender : contenders) {
        const double each = seconds_of([&] {
                              for (std::int64_t i = 0; i < turns; ++i) {
                                args.weight.data = next(size.data);
                                const Status status =
                                    contender.variant->launch(args, contender.workspace.data(), *stream_);
                                if (!status) fail(status.error().message());
                              }
                            }) /
                            static_cast<double>(turns);
        if (round < 0) continue;
        contender.seconds.push_back(each);
        contender.of_read.push_back(bytes / each / read);
        contender.of_peak.push_back(flops / each / peak);
      }
      if (round < 0) continue;
      read_rates.push_back(read);
      peak_rates.push_back(peak);
    }
    for (const Contender& contender : contenders) {
      const double each = median(contender.seconds);
      const double best = *std::min_element(contender.seconds.begin(), contender.seconds.end());
      std::printf("%5ld %13s %-24s %6.1f %5.0f%% %4.0f%% %8.0f %5.1f%% %5.1f%%   %9.1f %13.0f\n", static_cast<long>(m),
                  fmt::format("{}x{}", n, k).c_str(), contender.variant->name, bytes / each * 1e-9,
                  median(contender.of_read) * 100, bytes / best / largest(read_rates) * 100, flops / each * 1e-9,
                  median(contender.of_peak) * 100, flops / best / largest(peak_rates) * 100, median(read_rates) * 1e-9,
                  median(peak_rates) * 1e-9);
    }
    std::fflush(stdout);
  }

  cpu::MatrixRate rate() const {
    return options_.format == quant::Format::bf16   ? cpu::MatrixRate::bf16
           : options_.format == quant::Format::int8 ? cpu::MatrixRate::int8
                                                    : cpu::MatrixRate::f32;
  }

  void* next(Bytes bytes) {
    if (options_.hot) return memory_.data();
    if (cursor_ + bytes.count > memory_.size().count) cursor_ = 0;
    void* const data = memory_.as<char>() + cursor_;
    cursor_ += bytes.count;
    return data;
  }

  Options options_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  cpu::ThreadPool* pool_ = nullptr;
  Buffer memory_, scales_;
  std::int64_t cursor_ = 0;
};

}  // namespace
}  // namespace rl

int main(int argc, char** argv) {
  rl::Bench(rl::parse(argc, argv)).run();
  return 0;
}
