#include "cpu/fast/probes.h"

#include "base/checked.h"
#include "cpu/fast/cpu_device.h"
#include "tensor/buffer.h"

namespace rl::cpu {
namespace {

const ProbeLoops& read_loops(const Arch& arch) {
  return arch.avx512 ? kProbeAvx512 : arch.avx2 ? kProbeAvx2 : kProbePortable;
}

// The fastest multiply-add this processor has for a format: bf16 is widened to f32 where there is no instruction for
// it.
const ProbeLoops& multiply_add_loops(const Arch& arch, MatrixRate rate) {
  if (rate == MatrixRate::bf16 && arch.amx) return kProbeAmxBf16;
  if (rate == MatrixRate::int8 && arch.amx) return kProbeAmxInt8;
  if (rate == MatrixRate::bf16 && arch.avx512_bf16) return kProbeAvx512Bf16;
  if (rate == MatrixRate::int8)
    return arch.avx512_vnni ? kProbeAvx512Vnni : arch.avx2 ? kProbeAvx2Int8 : kProbePortableInt8;
  return arch.avx512 ? kProbeAvx512 : arch.avx2 ? kProbeAvx2 : kProbePortable;
}

class CpuProbeRun : public ProbeRun {
 public:
  explicit CpuProbeRun(std::unique_ptr<Stream> stream)
      : stream_(std::move(stream)),
        pool(static_cast<CpuStream&>(*stream_).pool()),
        arch(static_cast<CpuStream&>(*stream_).arch()) {}

 private:
  std::unique_ptr<Stream> stream_;

 protected:
  ThreadPool& pool;
  const Arch& arch;
};

class ReadBandwidth final : public CpuProbeRun {
 public:
  ReadBandwidth(std::unique_ptr<Stream> stream, Buffer buffer)
      : CpuProbeRun(std::move(stream)), buffer_(std::move(buffer)) {
    // Each thread touches its own share first: the memory is then near its core, and not the shared page of zeros.
    auto* const bytes = buffer_.as<char>();
    pool.parallel_for(buffer_.size().count, kShare, [bytes](std::int64_t begin, std::int64_t end) {
      std::memset(bytes + begin, 1, static_cast<std::size_t>(end - begin));
    });
  }
  double amount() const override { return static_cast<double>(buffer_.size().count); }
  Status run() override {
    read_all(pool, arch, buffer_.data(), buffer_.size());
    return ok();
  }

 private:
  static constexpr std::int64_t kShare = 4096;
  Buffer buffer_;
};

Result<std::unique_ptr<ProbeRun>> prepare_read(Device& device) {
  const DeviceInfo& info = device.info();
  const std::int64_t least = std::max<std::int64_t>(8 * info.last_cache.count, 64 << 20);
  const Bytes bytes{round_up(std::min(least, info.memory.count / 4), 4096)};
  RL_ASSIGN(auto stream, device.make_stream());
  RL_ASSIGN(Buffer buffer, Buffer::make(device.memory(), bytes));
  return std::unique_ptr<ProbeRun>(std::make_unique<ReadBandwidth>(std::move(stream), std::move(buffer)));
}

class MultiplyAdd final : public CpuProbeRun {
 public:
  MultiplyAdd(std::unique_ptr<Stream> stream, MatrixRate rate) : CpuProbeRun(std::move(stream)), rate_(rate) {
    amount_ = multiply_add(pool, arch, rate_, kRounds);
  }
  double amount() const override { return amount_; }
  Status run() override {
    multiply_add(pool, arch, rate_, kRounds);
    return ok();
  }

 private:
  static constexpr std::int64_t kRounds = 200'000;  // of 12 to 24 multiply-adds: about 1 ms
  MatrixRate rate_;
  double amount_ = 0;
};

template <MatrixRate kRate>
Result<std::unique_ptr<ProbeRun>> prepare_rate(Device& device) {
  RL_ASSIGN(auto stream, device.make_stream());
  return std::unique_ptr<ProbeRun>(std::make_unique<MultiplyAdd>(std::move(stream), kRate));
}

constexpr Probe kProbes[] = {
    {.name = "read_bandwidth",
     .unit = "B/s",
     .method = "all threads read a buffer of 8 times the last cache level (64 MiB at least, a quarter of the memory at "
               "most), "
               "each its own consecutive share, with the widest vector loads",
     .prepare = prepare_read},
    {.name = "matrix_rate_f32",
     .unit = "FLOP/s",
     .method =
         "all threads repeat the widest f32 multiply-add the processor has on 12 or 24 accumulators in registers, "
         "without touching memory; a multiply-add counts as two operations",
     .prepare = prepare_rate<MatrixRate::f32>},
    {.name = "matrix_rate_bf16",
     .unit = "FLOP/s",
     .method = "as matrix_rate_f32 with tdpbf16ps (AMX), else vdpbf16ps (AVX512_BF16); without them bf16 is widened "
               "and the f32 rate applies",
     .prepare = prepare_rate<MatrixRate::bf16>},
    {.name = "matrix_rate_int8",
     .unit = "OP/s",
     .method = "as matrix_rate_f32 with tdpbssd (AMX), else vpdpbusd (AVX512_VNNI), else vpmaddwd and vpaddd (AVX2), "
               "else 32-bit integers",
     .prepare = prepare_rate<MatrixRate::int8>},
};

}  // namespace

std::span<const Probe> probes() { return kProbes; }

void read_all(ThreadPool& pool, const Arch& arch, const void* data, Bytes bytes) {
  const auto read = read_loops(arch).read;
  std::atomic<std::uint64_t> all{0};
  pool.parallel_for(bytes.count, 4096, [&](std::int64_t begin, std::int64_t end) {
    all.fetch_or(read(static_cast<const char*>(data) + begin, end - begin), std::memory_order_relaxed);
  });
  asm volatile("" : : "r"(all.load()));  // the loads are wanted, their result is not
}

double multiply_add(ThreadPool& pool, const Arch& arch, MatrixRate rate, std::int64_t rounds) {
  const ProbeLoops& loops = multiply_add_loops(arch, rate);
  pool.run([&](int) { loops.multiply_add(rounds); });
  return loops.operations * static_cast<double>(rounds) * pool.threads();
}

}  // namespace rl::cpu
