// linear on panel64 weights: splits the product into tiles for the kernels of linear_<isa>.cpp, spreads them over the
// threads, and lists the variants.
//
// Few rows of x (decode) are bound by reading W once: each thread walks consecutive panels, one linear stream. Many
// rows (prefill) are bound by arithmetic: a block of W stays in the caches nearest to the core while all tiles of a
// block of rows pass over it, and the next block is prefetched meanwhile.
//
// Reached on 2 cores of a Zen 5 EPYC (tools/bench/linear_bench.cpp, W cold, 4096x2048 and 2048x8192, shares of the same
// rounds' read loop and vdpbf16ps loop): bf16 at 1 row 100-104% of the read loop, 4 rows 90-100%, 8 rows 80-98%, 16
// rows 65-89% of it and 63-90% of the multiply-adds (between the two limits), 96 rows 90-94%, 512 rows 89-93% of the
// multiply-adds; int8 at 1 row 105%, at 512 rows 80-85%. The lower figures are those of the machine's fast memory state
// (80 GB/s), the higher ones of the slow one (45). Tried and lost: software prefetch for a single tile (80% instead of
// 90% at 4 rows), panels in groups of 2 to 8 per block of rows (the same within 1%).

#include "base/checked.h"
#include "cpu/fast/cpu_device.h"
#include "cpu/fast/linear_kernels.h"
#include "cpu/fast/variants.h"
#include "num/int8.h"

namespace rl::cpu {
namespace {

using linear::Input;
using linear::Kernels;
using linear::kLineBytes;
using linear::kPanelRows;
using ops::LinearArgs;
using quant::Format;

constexpr std::int64_t kBlockRows = 192;   // of x, in a block: 12 or 32 full tiles; their sums take 48 KB
constexpr std::int64_t kStreamLines = 64;  // of W, in a block of few tiles: 16 KB, for the first cache level
constexpr std::int64_t kBlockLines = 128;  // of many tiles: 32 KB, so that sums are loaded and stored less often
constexpr std::int64_t kManyTiles = 6;
constexpr std::int64_t kParallelConversion = 16384;  // elements of x from which threads pay for converting it

std::int64_t element_bytes(Input input) {
  switch (input) {
    case Input::f32:
      return 4;
    case Input::bf16:
    case Input::s16:
      return 2;
    case Input::s8:
    case Input::u8_biased:
      return 1;
  }
  return 4;
}

// How a kernel is given x: in place where type and width allow it, else converted into the workspace. There, a block of
// rows may begin with a constant row (Input::u8_biased).
struct InputPlan {
  bool convert = false;
  std::int64_t extra = 0;      // constant rows per block
  std::int64_t block = 0;      // rows of x per block, without the constant one
  std::int64_t row_bytes = 0;  // from row to row
  Bytes rows, scales;          // of the workspace

  InputPlan(const Kernels& kernels, const LinearArgs& args) {
    const std::int64_t tokens = args.x.shape[0];
    const DType wanted = kernels.input == Input::f32 ? DType::f32 : DType::bf16;
    const bool quantized = kernels.input != Input::f32 && kernels.input != Input::bf16;
    extra = kernels.input == Input::u8_biased ? 1 : 0;
    block = kBlockRows - extra;
    convert = quantized || args.x.dtype != wanted || args.weight.cols % kernels.k_step != 0;
    if (!convert) {
      row_bytes = args.x.strides[0] * size_of(args.x.dtype);
      return;
    }
    row_bytes = round_up(args.weight.padded_cols * element_bytes(kernels.input), 64);
    const std::int64_t blocks = ceil_div(tokens, block);
    rows = Bytes{round_up((tokens + extra * blocks) * row_bytes, kAlignment)};
    scales = Bytes{quantized ? round_up(tokens * std::int64_t{sizeof(float)}, kAlignment) : 0};
  }
  // Where block b begins, its constant row included.
  std::int64_t block_offset(std::int64_t b) const { return b * (block + extra) * row_bytes; }
};

class Product {
 public:
  Product(const Kernels& kernels, const LinearArgs& args, void* workspace)
      : kernels_(kernels), args_(args), input_(kernels, args), tokens_(args.x.shape[0]) {
    panels_ = args.weight.padded_rows / kPanelRows;
    lines_ = ceil_div(args.weight.cols, kernels.k_step);
    panel_bytes_ = args.weight.padded_cols / kernels.k_step * kLineBytes;
    x_ = input_.convert ? static_cast<char*>(workspace) : static_cast<char*>(args.x.data);
    if (input_.scales.count > 0) scales_ = reinterpret_cast<float*>(x_ + input_.rows.count);
  }

  void run(ThreadPool& pool) {
    if (input_.convert) convert(pool);
    const std::int64_t blocks = ceil_div(tokens_, input_.block);
    if (blocks == 1) {
      pool.parallel_for(panels_, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t panel = begin; panel < end; ++panel) compute(panel, 0, panel + 1 < end);
        if (kernels_.finish) kernels_.finish();
      });
      return;
    }
    // Which thread takes what does not change a bit of the result, so the next free one takes the next item.
    const std::int64_t items = panels_ * blocks;
    std::atomic<std::int64_t> next{0};
    pool.run([&](int) {
      for (std::int64_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;)
        compute(item / blocks, item % blocks, false);
      if (kernels_.finish) kernels_.finish();
    });
  }

 private:
  void convert(ThreadPool& pool) {
    const auto* const x = static_cast<const char*>(args_.x.data);
    const std::int64_t x_row_bytes = args_.x.strides[0] * size_of(args_.x.dtype);
    const auto rows = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        char* const block = x_ + input_.block_offset(t / input_.block);
        const std::int64_t in_block = t % input_.block;
        if (input_.extra > 0 && in_block == 0) std::memset(block, 128, static_cast<std::size_t>(input_.row_bytes));
        const float scale = kernels_.convert(block + (in_block + input_.extra) * input_.row_bytes, x + t * x_row_bytes,
                                             number_of(args_.x.dtype), args_.weight.cols, args_.weight.padded_cols);
        if (scales_) scales_[t] = scale;
      }
    };
    if (tokens_ * args_.weight.cols < kParallelConversion)
      rows(0, tokens_);
    else
      pool.parallel_for(tokens_, 1, rows);
  }

  const char* lines(std::int64_t panel, std::int64_t line) const {
    return static_cast<const char*>(args_.weight.data) + panel * panel_bytes_ + line * kLineBytes;
  }

  // The outputs of a panel for one block of rows. stream: the next panel comes next, so that its first lines are worth
  // prefetching.
  void compute(std::int64_t panel, std::int64_t block, bool stream) {
    const std::int64_t first_token = block * input_.block;
    const std::int64_t tokens = std::min(input_.block, tokens_ - first_token), rows = tokens + input_.extra;
    const std::int64_t tiles = ceil_div(rows, std::int64_t{kernels_.max_rows});
    alignas(64) char sums[kBlockRows * kLineBytes];  // not initialised: the kernels write before they read
    // With one tile a line is used once: no blocks, the hardware's own prefetching keeps up with the stream.
    const std::int64_t block_lines = tiles == 1 ? lines_ : tiles < kManyTiles ? kStreamLines : kBlockLines;
    for (std::int64_t line = 0; line < lines_; line += block_lines) {
      const std::int64_t steps = std::min(block_lines, lines_ - line);
      const bool more = line + steps < lines_ || stream;
      const char* const ahead = tiles > 1 && more ? lines(panel, line + steps) : nullptr;
      for (std::int64_t i = 0; i < tiles; ++i) {
        const std::int64_t row = rows * i / tiles, next_row = rows * (i + 1) / tiles;
        // The next block's 4 cache lines per step, in equal parts during each tile: all at once they would keep the
        // loads waiting.
        kernels_.tile[next_row - row - 1]({.panel = lines(panel, line),
                                           .x = x_ + input_.block_offset(block) + row * input_.row_bytes +
                                                line * kernels_.k_step * element_bytes(kernels_.input),
                                           .x_stride = input_.row_bytes,
                                           .steps = steps,
                                           .sums = sums + row * kLineBytes,
                                           .resume = line > 0,
                                           .prefetch = ahead ? ahead + 4 * steps * i / tiles * 64 : nullptr,
                                           .prefetch_pace = 4 * 256 / tiles});
      }
    }
    store(panel, first_token, tokens, sums);
  }

  void store(std::int64_t panel, std::int64_t first_token, std::int64_t tokens, const char* sums) const {
    const std::int64_t row = panel * kPanelRows, out_element = size_of(args_.out.dtype);
    kernels_.store(
        {.sums = sums + input_.extra * kLineBytes,
         .rows = static_cast<int>(tokens),
         .cols = std::min(kPanelRows, args_.weight.rows - row),
         .bias = args_.bias ? args_.bias.as<const float>() + row : nullptr,
         .x_scales = scales_ ? scales_ + first_token : nullptr,
         .w_scales = args_.weight.scales ? args_.weight.scales + row : nullptr,
         .offset = input_.extra > 0 ? reinterpret_cast<const std::uint32_t*>(sums) : nullptr,
         .accumulate = args_.accumulate,
         .out_type = number_of(args_.out.dtype),
         .out = static_cast<char*>(args_.out.data) + (first_token * args_.out.strides[0] + row) * out_element,
         .out_stride = args_.out.strides[0] * out_element});
  }

  const Kernels& kernels_;
  const LinearArgs& args_;
  InputPlan input_;
  std::int64_t tokens_, panels_, lines_, panel_bytes_;
  char* x_ = nullptr;
  float* scales_ = nullptr;
};

// An instruction set: what it needs of the processor, and its kernels by weight format.
struct Isa {
  const char* needs;
  bool (*present)(const Arch&);
  const Kernels* (*kernels)(const LinearArgs&);  // null: none for these types
};

const Kernels* by_format(const LinearArgs& args, const Kernels* f32, const Kernels* bf16, const Kernels* f16,
                         const Kernels* int8) {
  switch (args.weight.format) {
    case Format::f32:
      return f32;
    case Format::bf16:
      return bf16;
    case Format::f16:
      return f16;
    case Format::int8:
      return int8;
    default:
      return nullptr;  // linear_emulated.cpp
  }
}

constexpr Isa kAmx{"AMX tiles of bf16 and int8", [](const Arch& arch) { return arch.amx; },
                   [](const LinearArgs& args) {
                     return by_format(args, nullptr, args.x.dtype == DType::bf16 ? linear::kAmxBf16 : nullptr, nullptr,
                                      linear::kAmxInt8);
                   }};
constexpr Isa kAvx512Bf16{
    "AVX512_BF16", [](const Arch& arch) { return arch.avx512_bf16; },
    [](const LinearArgs& args) {
      return args.x.dtype == DType::bf16 ? by_format(args, nullptr, linear::kAvx512Bf16, nullptr, nullptr) : nullptr;
    }};
constexpr Isa kAvx512Vnni{
    "AVX512_VNNI", [](const Arch& arch) { return arch.avx512_vnni; },
    [](const LinearArgs& args) { return by_format(args, nullptr, nullptr, nullptr, linear::kAvx512Vnni); }};
constexpr Isa kAvx512{"AVX-512 F, BW, VL and DQ", [](const Arch& arch) { return arch.avx512; },
                      [](const LinearArgs& args) {
                        return by_format(args, linear::kAvx512F32, linear::kAvx512WideBf16, linear::kAvx512F16,
                                         nullptr);
                      }};
constexpr Isa kAvx2{"AVX2, FMA and F16C", [](const Arch& arch) { return arch.avx2; },
                    [](const LinearArgs& args) {
                      return by_format(args, linear::kAvx2F32, linear::kAvx2Bf16, linear::kAvx2F16, linear::kAvx2Int8);
                    }};
constexpr Isa kPortable{"", [](const Arch&) { return true; },
                        [](const LinearArgs& args) {
                          return by_format(args, linear::kPortableF32, linear::kPortableBf16, linear::kPortableF16,
                                           linear::kPortableInt8);
                        }};

template <const Isa& kIsa>
Status supports(const LinearArgs& args, const Arch& arch) {
  const auto refuse = [](std::string what) { return Error{.kind = ErrorKind::unsupported, .what = std::move(what)}; };
  if (arch.family != Arch::Family::cpu) return refuse("runs on the CPU");
  if (!kIsa.present(arch)) return refuse(fmt::format("needs {}", kIsa.needs));
  if (args.weight.layout != quant::Layout::panel64) return refuse("reads panel64 weights");
  if (args.x_scales) return refuse("quantises its input itself");
  if (!kIsa.kernels(args))
    return refuse(
        fmt::format("has no kernel for {} weights and {} x", name_of(args.weight.format), name_of(args.x.dtype)));
  if (args.weight.format == Format::int8 && args.weight.cols > num::kInt8MaxCols)
    return refuse(fmt::format("sums of int8 products are exact up to {} columns", num::kInt8MaxCols));
  return ok();
}

template <const Isa& kIsa>
Bytes workspace(const LinearArgs& args) {
  const Kernels* const kernels = kIsa.kernels(args);
  if (!kernels) return {};
  const InputPlan plan(*kernels, args);
  return plan.rows + plan.scales;
}

template <const Isa& kIsa>
Status launch(const LinearArgs& args, void* workspace, Stream& stream) {
  if (args.x.shape[0] == 0) return ok();
  Product(*kIsa.kernels(args), args, workspace).run(static_cast<CpuStream&>(stream).pool());
  return ok();
}

// Every output is one accumulator that takes K in order, whatever the number of rows: batch_invariant.
constexpr ops::Facts kFacts{.graph_safe = true, .deterministic = true, .batch_invariant = true};

template <const Isa& kIsa>
constexpr ops::Variant<LinearArgs> variant(const char* name) {
  return {name, kFacts, supports<kIsa>, workspace<kIsa>, launch<kIsa>};
}

constexpr ops::Variant<LinearArgs> kVariants[] = {
    variant<kAmx>("linear/cpu.amx"),
    variant<kAvx512Bf16>("linear/cpu.avx512_bf16"),
    variant<kAvx512Vnni>("linear/cpu.avx512_vnni"),
    variant<kAvx512>("linear/cpu.avx512"),
    variant<kAvx2>("linear/cpu.avx2"),
    variant<kPortable>("linear/cpu.portable"),
};

}  // namespace

std::span<const ops::Variant<LinearArgs>> linear_variants() { return kVariants; }

}  // namespace rl::cpu
