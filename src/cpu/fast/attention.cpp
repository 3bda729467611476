// attention, two ways, from the same products: "flash" visits the keys once with an online softmax and needs memory for
// the partial results of split sequences only; "standard" writes the whole score matrix to memory, takes its softmax
// there and reads it back for the product with V, as a matrix library's three calls do: it computes masked scores too.

#include <algorithm>
#include <array>
#include <atomic>

#include "base/checked.h"
#include "cpu/fast/attention_kernels.h"
#include "cpu/fast/cpu_device.h"
#include "cpu/fast/variants.h"
#include "num/convert.h"

namespace rl::cpu {
namespace {

using ops::AttentionArgs;

// Below this many multiply-adds (some 5 us) a launch stays on the calling thread.
constexpr std::int64_t kSerialWork = 1 << 18;

const AttentionKernels& kernels_for(const Arch& arch) {
  // Where a processor has tiles for bf16, its vdpbf16ps is slower than f32 arithmetic (docs/performance.md).
  if (arch.avx512_bf16 && !arch.amx) return kAttentionAvx512Bf16;
  if (arch.avx512) return kAttentionAvx512;
  if (arch.avx2) return kAttentionAvx2;
  return kAttentionPortable;
}

std::int64_t key_step(std::int64_t page_tokens) { return std::min(page_tokens, kTileKeys); }

Status supports(const AttentionArgs& args, const Arch& arch) {
  const std::int64_t head_dim = args.q.shape[2], page_tokens = args.kv.k.shape[2];
  const auto refuse = [](std::string what) { return Error{.kind = ErrorKind::unsupported, .what = std::move(what)}; };
  if (arch.family != Arch::Family::cpu) return refuse("runs on a CPU");
  if (head_dim % 8 != 0 || head_dim > kMaxHeadDim)
    return refuse(fmt::format("head_dim {} is not a multiple of 8 up to {}", head_dim, kMaxHeadDim));
  if (page_tokens % kTileKeys != 0 && page_tokens != 16 && page_tokens != 32)
    return refuse(fmt::format("pages of {} tokens are not 16, 32 or a multiple of {}", page_tokens, kTileKeys));
  if (!args.kv.k.contiguous() || !args.kv.v.contiguous()) return refuse("the cache is not contiguous");
  return ok();
}

// The values of all e4m3 codes, exact in each type.
template <class T>
constexpr std::array<T, 256> values_of_codes() {
  std::array<T, 256> values{};
  for (unsigned code = 0; code < 256; ++code)
    values[code] = num::from_float<T>(num::to_float(num::fp8_e4m3{static_cast<std::uint8_t>(code)}));
  return values;
}
const void* code_values(const AttentionArgs& args) {
  static constexpr auto kFloat = values_of_codes<float>();
  static constexpr auto kBf16 = values_of_codes<num::bf16>();
  static constexpr auto kFp16 = values_of_codes<num::fp16>();
  if (args.kv.k.dtype != DType::f8_e4m3) return nullptr;
  switch (number_of(args.q.dtype)) {
    case Number::f32:
      return kFloat.data();
    case Number::bf16:
      return kBf16.data();
    case Number::f16:
      return kFp16.data();
  }
  return nullptr;
}

AttentionProblem problem_of(const AttentionArgs& args) {
  const TensorRef& k = args.kv.k;
  return {.q = args.q.data,
          .q_token_stride = args.q.strides[0],
          .q_head_stride = args.q.strides[1],
          .k = k.data,
          .v = args.kv.v.data,
          .page_tokens = k.shape[2],
          .step = key_step(k.shape[2]),
          .type = number_of(args.q.dtype),
          .code_values = code_values(args),
          .page_table = args.index.page_table.as<const std::int32_t>(),
          .page_table_stride = args.index.page_table.strides[0],
          .kv_heads = k.shape[1],
          .heads = args.q.shape[1],
          .head_dim = args.q.shape[2],
          .causal = args.causal,
          .window = args.window,
          .scale = args.scale * 1.44269504f,
          .out = args.out.data,
          .out_type = number_of(args.out.dtype)};
}

// How the heads of a model fall into tiles; the same for every sequence.
struct Tiling {
  std::int64_t group = 1;    // query heads of a kv head
  std::int64_t chunks = 1;   // pieces a group is cut into, if it has more heads than a tile rows
  std::int64_t heads = 1;    // of a chunk, at most
  std::int64_t queries = 1;  // of a tile, at most

  explicit Tiling(const AttentionArgs& args)
      : group(args.q.shape[1] / args.kv.k.shape[1]),
        chunks(ceil_div(group, kTileRows)),
        heads(ceil_div(group, chunks)),
        queries(kTileRows / heads) {}
  std::int64_t tiles(std::int64_t q_len) const { return ceil_div(q_len, queries); }
  std::int64_t tile_rows(std::int64_t q_len) const { return std::min(q_len, queries) * heads; }
};

// A sequence whose queries fit one tile is split along its keys, so that few long sequences keep all threads busy. The
// parts depend on this sequence alone: its bits are the same in any batch and on any number of threads. A part's result
// is head_dim + 2 floats per row, against 512 keys read.
struct Split {
  std::int64_t keys = 0, parts = 1;
};
constexpr std::int64_t most_parts(std::int64_t rows) { return is_stream(rows) ? 32 : 8; }
constexpr std::int64_t fewest_keys(std::int64_t rows) { return is_stream(rows) ? 512 : 1024; }
Split split_keys(std::int64_t rows, std::int64_t keys) {
  const std::int64_t part = std::max(fewest_keys(rows), round_up(ceil_div(keys, most_parts(rows)), kTileKeys));
  return {part, ceil_div(keys, part)};
}
std::int64_t parts_bound(std::int64_t rows, std::int64_t max_kv) {
  return std::min(most_parts(rows), ceil_div(max_kv, fewest_keys(rows)));
}

// What the workspace begins with: one entry per sequence and one past the end.
struct SeqPlan {
  std::int64_t first_item = 0;  // of the sequence's pieces of work
  std::int64_t offset = 0;      // of its floats in the rest of the workspace
};

struct Sequence {
  std::int64_t index = 0, first_token = 0, q_len = 0, kv_len = 0;
  std::int64_t first_position() const { return kv_len - q_len; }
};

Sequence sequence(const AttentionArgs& args, std::int64_t s) {
  const auto* const cu_q = args.index.cu_q.as<const std::int32_t>();
  return {s, cu_q[s], cu_q[s + 1] - cu_q[s], args.index.kv_len.as<const std::int32_t>()[s]};
}

// Keys that queries [first, last] of a sequence see, from the start of a step on.
struct KeyRange {
  std::int64_t begin = 0, end = 0;
};
KeyRange visible_keys(const AttentionProblem& p, const Sequence& seq, std::int64_t first, std::int64_t last) {
  const std::int64_t low = p.window > 0 ? std::max<std::int64_t>(0, seq.first_position() + first - p.window + 1) : 0;
  return {low / p.step * p.step, p.causal ? seq.first_position() + last + 1 : seq.kv_len};
}

class Launch {
 public:
  Launch(const AttentionArgs& args, void* workspace, Stream& stream)
      : args_(args),
        problem_(problem_of(args)),
        tiling_(args),
        stream_(static_cast<CpuStream&>(stream)),
        kernels_(kernels_for(stream_.arch())),
        seqs_(args.index.kv_len.shape[0]),
        plan_(static_cast<SeqPlan*>(workspace)),
        floats_(reinterpret_cast<float*>(static_cast<char*>(workspace) + plan_bytes(seqs_))) {}

  static std::int64_t plan_bytes(std::int64_t seqs) {
    return round_up((seqs + 1) * static_cast<std::int64_t>(sizeof(SeqPlan)), kAlignment);
  }

  void flash() {
    bool any_split = false;
    share_heads();
    make_plan([&](const Sequence& seq) {
      const Split split = split_of(seq);
      any_split = any_split || split.parts > 1;
      return Need{blocks_of(seq) * split.parts,
                  split.parts > 1 ? head_blocks(seq) * split.parts * part_floats(seq) : 0};
    });
    for_items([&](const Sequence& seq, std::int64_t item, float* floats) {
      const Split split = split_of(seq);
      RowBlock block = block_of(seq, item / split.parts);
      const KeyRange keys = visible_keys(problem_, seq, block.first_position - seq.first_position(),
                                         block.first_position - seq.first_position() + block.queries - 1);
      block.kv_begin = keys.begin, block.kv_end = keys.end;
      if (split.parts == 1) return kernels_.flash(problem_, block, nullptr, 0);
      block.kv_begin = keys.begin + item % split.parts * split.keys;
      block.kv_end = std::min(keys.end, block.kv_begin + split.keys);
      const std::int64_t per_head = split.parts * part_floats(seq);
      kernels_.flash(problem_, block,
                     floats + item / split.parts * heads_of(seq) * per_head + item % split.parts * part_floats(seq),
                     per_head);
    });
    if (!any_split) return;
    share_heads(1);
    make_plan([&](const Sequence& seq) {
      const Split split = split_of(seq);
      return split.parts > 1 ? Need{head_blocks(seq), head_blocks(seq) * split.parts * part_floats(seq)} : Need{};
    });
    for_items([&](const Sequence& seq, std::int64_t item, float* floats) {
      const std::int64_t parts = split_of(seq).parts;
      kernels_.combine(problem_, block_of(seq, item), floats + item * parts * part_floats(seq), parts,
                       part_floats(seq));
    });
  }

  void standard() {
    const auto block_floats = [&](const Sequence& seq) {
      const KeyRange keys = visible_keys(problem_, seq, 0, seq.q_len - 1);
      return heads_of(seq) * score_floats(tiling_.tile_rows(seq.q_len), seq.kv_len - keys.begin);
    };
    share_heads();
    make_plan([&](const Sequence& seq) { return Need{blocks_of(seq), blocks_of(seq) * block_floats(seq)}; });
    for (auto* const step : {kernels_.scores, kernels_.softmax, kernels_.values})
      for_items([&](const Sequence& seq, std::int64_t item, float* floats) {
        RowBlock block = block_of(seq, item);
        block.kv_begin = visible_keys(problem_, seq, 0, seq.q_len - 1).begin;
        block.kv_end = seq.kv_len;
        step(problem_, block, floats + item * block_floats(seq));
      });
  }

 private:
  struct Need {
    std::int64_t items = 0, floats = 0;
  };

  // Tiles of one kv head each, of a sequence.
  std::int64_t head_blocks(const Sequence& seq) const {
    return problem_.kv_heads * tiling_.chunks * tiling_.tiles(seq.q_len);
  }
  std::int64_t blocks_of(const Sequence& seq) const { return head_blocks(seq) / heads_of(seq); }

  // kv heads that one streaming block visits side by side. They lie next to each other in each page: one stream of
  // 128 KB is read at the memory's full rate, eight of 16 KB are not. Heads are computed alone, so the choice, which
  // leaves every thread two blocks, does not show in the bits.
  void share_heads(std::int64_t most = kStreamPool) {
    std::int64_t blocks = 0;
    for (std::int64_t s = 0; s < seqs_; ++s) {
      const Sequence seq = sequence(args_, s);
      if (seq.q_len > 0) blocks += head_blocks(seq) * split_of(seq).parts;
    }
    most_heads_ = std::clamp<std::int64_t>(blocks / (2 * stream_.pool().threads()), 1, most);
  }
  std::int64_t heads_of(const Sequence& seq) const {
    const std::int64_t rows = tiling_.tile_rows(seq.q_len);
    if (!is_stream(rows) || tiling_.chunks > 1 || tiling_.tiles(seq.q_len) > 1) return 1;
    std::int64_t heads = std::min({most_heads_, problem_.kv_heads, kStreamPool / padded_rows(rows)});
    while (problem_.kv_heads % heads != 0) --heads;
    return heads;
  }

  Split split_of(const Sequence& seq) const {
    if (tiling_.tiles(seq.q_len) != 1) return {0, 1};
    const KeyRange keys = visible_keys(problem_, seq, 0, seq.q_len - 1);
    return split_keys(tiling_.tile_rows(seq.q_len), keys.end - keys.begin);
  }
  std::int64_t part_floats(const Sequence& seq) const {
    return tiling_.tile_rows(seq.q_len) * partial_stride(problem_.head_dim);
  }

  // Block i of a sequence: kv head by kv head, so that its K and V stay in the cache; of causal tiles the longest
  // first.
  RowBlock block_of(const Sequence& seq, std::int64_t i) const {
    const std::int64_t tiles = tiling_.tiles(seq.q_len);
    const std::int64_t query = (tiles - 1 - i % tiles) * tiling_.queries;
    const std::int64_t chunk = i / tiles % tiling_.chunks, kv_head = i / tiles / tiling_.chunks * heads_of(seq);
    return {.seq = seq.index,
            .kv_head = kv_head,
            .kv_heads = heads_of(seq),
            .first_token = seq.first_token + query,
            .first_position = seq.first_position() + query,
            .queries = std::min(tiling_.queries, seq.q_len - query),
            .first_head = kv_head * tiling_.group + chunk * tiling_.heads,
            .heads = std::min(tiling_.heads, tiling_.group - chunk * tiling_.heads),
            .kv_len = seq.kv_len};
  }

  template <class NeedOf>
  void make_plan(NeedOf&& need_of) {
    SeqPlan next;
    work_ = 0;
    for (std::int64_t s = 0; s < seqs_; ++s) {
      plan_[s] = next;
      const Sequence seq = sequence(args_, s);
      if (seq.q_len == 0) continue;
      const Need need = need_of(seq);
      next.first_item += need.items;
      next.offset += need.floats;
      work_ += seq.q_len * problem_.heads * problem_.head_dim * seq.kv_len;
    }
    plan_[seqs_] = next;
  }

  // f(sequence, item of the sequence, its floats) for all items: each is computed alone, so it does not matter for the
  // bits which thread takes it.
  template <class F>
  void for_items(F&& f) {
    const std::int64_t items = plan_[seqs_].first_item;
    const auto run_item = [&](std::int64_t item) {
      const SeqPlan* const at = std::upper_bound(plan_, plan_ + seqs_ + 1, item,
                                                 [](std::int64_t i, const SeqPlan& p) { return i < p.first_item; }) -
                                1;
      f(sequence(args_, at - plan_), item - at->first_item, floats_ + at->offset);
    };
    if (work_ < kSerialWork || items == 1 || stream_.pool().threads() == 1) {
      for (std::int64_t item = 0; item < items; ++item) run_item(item);
      return;
    }
    std::atomic<std::int64_t> next{0};
    stream_.pool().run([&](int) {
      for (std::int64_t item = next++; item < items; item = next++) run_item(item);
    });
  }

  const AttentionArgs& args_;
  AttentionProblem problem_;
  Tiling tiling_;
  CpuStream& stream_;
  const AttentionKernels& kernels_;
  std::int64_t seqs_;
  SeqPlan* plan_;
  float* floats_;
  std::int64_t most_heads_ = 1;  // kv heads of a block
  std::int64_t work_ = 0;        // multiply-adds of one product, masked ones included
};

Bytes flash_workspace(const AttentionArgs& args) {
  const Tiling tiling(args);
  const std::int64_t tokens = args.q.shape[0], seqs = args.index.kv_len.shape[0];
  const std::int64_t kv_heads = args.kv.k.shape[1], stride = partial_stride(args.q.shape[2]);
  // Per sequence the worse of: as many queries as still stream, in many parts; a full tile, in few.
  const std::int64_t stream_queries = std::min(args.max_q, tiling.chunks == 1 ? kStreamRows / tiling.heads : 0);
  const std::int64_t tile_queries = std::min(args.max_q, tiling.queries);
  const std::int64_t stream_parts = parts_bound(1, args.max_kv), tile_parts = parts_bound(kTileRows, args.max_kv);
  if (stream_parts <= 1) return {Launch::plan_bytes(seqs)};
  const std::int64_t parts = std::min(tokens * std::max(stream_parts, tile_parts),
                                      seqs * std::max(stream_queries * stream_parts, tile_queries * tile_parts));
  return {Launch::plan_bytes(seqs) +
          parts * kv_heads * tiling.chunks * tiling.heads * stride * static_cast<std::int64_t>(sizeof(float))};
}

Bytes standard_workspace(const AttentionArgs& args) {
  const Tiling tiling(args);
  const std::int64_t tokens = args.q.shape[0], seqs = args.index.kv_len.shape[0];
  const std::int64_t columns = args.kv.k.shape[1] * tiling.chunks;
  const std::int64_t by_sequence =
      seqs * tiling.tiles(args.max_q) * score_floats(tiling.tile_rows(args.max_q), args.max_kv);
  const std::int64_t by_tokens =
      (tokens / tiling.queries + seqs) * score_floats(tiling.queries * tiling.heads, args.max_kv);
  return {Launch::plan_bytes(seqs) +
          columns * std::min(by_sequence, by_tokens) * static_cast<std::int64_t>(sizeof(float))};
}

Status launch_flash(const AttentionArgs& args, void* workspace, Stream& stream) {
  Launch(args, workspace, stream).flash();
  return ok();
}

Status launch_standard(const AttentionArgs& args, void* workspace, Stream& stream) {
  Launch(args, workspace, stream).standard();
  return ok();
}

constexpr ops::Facts kFacts{.deterministic = true, .batch_invariant = true};
constexpr ops::Variant<AttentionArgs> kVariants[] = {
    {"attention/cpu.flash", kFacts, supports, flash_workspace, launch_flash},
    {"attention/cpu.standard", kFacts, supports, standard_workspace, launch_standard},
};

}  // namespace

std::span<const ops::Variant<ops::AttentionArgs>> attention_variants() { return kVariants; }

}  // namespace rl::cpu
