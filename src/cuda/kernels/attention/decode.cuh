#pragma once
// What a stream over keys and values for one query per sequence is made of (decode_sm80.cu): how a sequence is cut into
// chunks, how the chunks of a step are shared out to blocks, how e4m3 codes become operands of an mma.

#include "cuda/kernels/attention/paged.cuh"
#include "cuda/kernels/common/convert.cuh"
#include "cuda/kernels/common/smem.cuh"

namespace rl::cuda {

constexpr int kDecodeRows = 16;  // of a tile: query heads

// As chunk_at, and for rows of 64 bytes, two of which share the banks of one of 128.
template <int kRowBytes>
__device__ inline int piece_at(int row, int piece) {
  if constexpr (kRowBytes == 64)
    return row * 64 + ((piece ^ (row / 2 % 4)) * 16);
  else
    return chunk_at<kRowBytes>(row, piece);
}

// How far the piece that a lane loads lies from its piece of a tile's first kRows rows, in the next kRows * `pass`:
// piece_at(row + kRows * pass, piece) is kRowBytes * kRows * pass + (piece_at(row, piece) ^ moved).
template <int kRowBytes, int kRows>
__device__ constexpr int piece_moved(int pass) {
  return (kRowBytes == 64 ? kRows * pass / 2 % 4 : kRows * pass % 8) * 16;
}

template <bool kCodes, int kHeadDim>
struct DecodeConfig {
  static constexpr int kWarps = kHeadDim <= 128 ? 4 : 2;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kStages = kHeadDim <= 64 ? 4 : 3;
  static constexpr int kTokens = kCodes ? 32 : 16;      // keys of a warp's tile
  static constexpr int kPerPiece = kCodes ? 16 : 8;     // elements of 16 bytes
  static constexpr int kPieces = kHeadDim / kPerPiece;  // of a row
  static constexpr int kRowBytes = kHeadDim * (kCodes ? 1 : 2);
  static constexpr int kTileBytes = kTokens * kRowBytes;
  static constexpr int kSlotBytes = 2 * kTileBytes;  // of K and of V
  static constexpr int kWarpBytes = kSlotBytes * kStages;
  static constexpr int kSmemBytes = kWarps * kWarpBytes;
  static constexpr int kStep = kWarps * kTokens;  // keys that the warps take at once
  static_assert(kStep >= kDecodeStep);
  static_assert(kSmemBytes <= 98 * 1024);  // and 1 KB of figures
  static_assert(kSlotBytes >= kDecodeRows * kHeadDim * 4, "partial results take the place of a tile");
};

// Keys of a chunk: twice as many where a sequence is four times as long, so that neither the chunks nor their number
// grow out of hand. 512 keys: 8 chunks; 8,192: 32.
struct Chunks {
  int tokens;  // of a chunk
  int most;    // chunks of a sequence of up to this length
};
template <bool kCodes>
__host__ __device__ inline Chunks chunks_of(int kv_len) {
  int tokens = kCodes ? 128 : 64, least = 1;
  std::int64_t limit = 16 * tokens;
  for (; kv_len > limit; limit *= 4, tokens *= 2) least = limit / tokens;
  const int chunks = (kv_len + tokens - 1) / tokens;
  return {tokens, chunks > least ? chunks : least};
}

// How numbers made of codes, too small by 2^120 (bf16) or 2^8 (fp16), are brought back: query() enlarges q, weights are
// 2^kWeight times too large, kScore, kSum and kValue take out what is left.
template <class T>
struct CodeScales;
template <>
struct CodeScales<__nv_bfloat16> {
  static constexpr float kScore = 0x1p+60f;  // 2^120 over what query() has multiplied
  static constexpr float kWeight = 60;
  static constexpr float kSum = 0x1p-60f, kValue = 0x1p+60f;   // what sums of weights and of weighted values need
  __device__ static std::uint32_t query(std::uint32_t pair) {  // x 2^60: exact
    return bits_of(__hmul2(pair_of<__nv_bfloat162>(pair), pair_of<__nv_bfloat162>(0x5d805d80u)));
  }
};
template <>
struct CodeScales<__half> {
  static constexpr float kScore = 0x1p+8f;
  static constexpr float kWeight = 8;
  static constexpr float kSum = 0x1p-8f, kValue = 1;
  __device__ static std::uint32_t query(std::uint32_t pair) { return pair; }
};

// A stretch of the list of all chunks, one after the other, and in it one step.
template <bool kCodes, int kHeadDim>
struct Walk {
  using C = DecodeConfig<kCodes, kHeadDim>;
  int seq, kv_head, chunk;
  int first_q, kv_len, first, chunk_shift;  // of the sequence; first: the first key seen; log2 of a chunk's keys
  int begin, end;                           // keys of the chunk that are seen
  int base, step, steps;                    // its steps begin at base, kStep keys each
  int at, stop;                             // steps of the list before this chunk, and where the stretch ends
  int page;                                 // of this warp's tile

  // What a sequence takes for each kv head.
  struct Amount {
    int steps, chunks;
  };
  __device__ static Amount amount_of(const AttentionParams& p, int s) {
    const Sequence seq = sequence_of(p, s);
    if (seq.queries != 1) return {};
    const int first = first_key(p, seq.kv_len - 1), shift = chunk_shift_of(seq.kv_len);
    return {(seq.kv_len + C::kStep - 1) / C::kStep - first / C::kStep,
            ((seq.kv_len - 1) >> shift) + 1 - (first >> shift)};
  }
  __device__ static int chunk_shift_of(int kv_len) { return log2_of(chunks_of<kCodes>(kv_len).tokens); }

  // The stretch of block `part` of `parts`: a chunk where there are no more chunks than parts, else an equal number of
  // steps. False: there is none.
  __device__ bool begin_at(const AttentionParams& p, int part, int parts) {
    const int lane = threadIdx.x % 32;
    const bool alone = p.seqs == 1;  // nothing to add up or to find
    Amount own = {}, total = {};
    if (alone) {
      total = own = amount_of(p, 0);
    } else {
      for (int s = lane; s < p.seqs; s += 32) {
        const Amount amount = amount_of(p, s);
        total.steps += amount.steps, total.chunks += amount.chunks;
      }
      total = {__reduce_add_sync(0xffffffffu, total.steps), __reduce_add_sync(0xffffffffu, total.chunks)};
    }
    const bool by_chunk = total.chunks * p.kv_heads <= parts;
    const int units = (by_chunk ? total.chunks : total.steps) * p.kv_heads, share = units / parts, rest = units % parts;
    const int from = part * share + min(part, rest);
    stop = from + share + (part < rest ? 1 : 0);
    if (from >= stop) return false;
    seq = 0;
    int before = 0, each = by_chunk ? own.chunks : own.steps;  // units of the sequences before; of a head of this one
    for (int s = 0; !alone; s += 32) {                         // ends: from < units
      const Amount amount = s + lane < p.seqs ? amount_of(p, s + lane) : Amount{};
      const int mine = by_chunk ? amount.chunks : amount.steps;
      int upto = mine * p.kv_heads;
#pragma unroll
      for (int offset = 1; offset < 32; offset *= 2) {
        const int other = __shfl_up_sync(0xffffffffu, upto, offset);
        if (lane >= offset) upto += other;
      }
      const unsigned found = __ballot_sync(0xffffffffu, before + upto > from);
      if (found != 0) {
        const int which = __ffs(static_cast<int>(found)) - 1;
        each = __shfl_sync(0xffffffffu, mine, which);
        before += __shfl_sync(0xffffffffu, upto, which) - each * p.kv_heads;
        seq = s + which;
        break;
      }
      before += __shfl_sync(0xffffffffu, upto, 31);
    }
    kv_head = (from - before) / each;
    const int inside = from - before - kv_head * each;
    enter_sequence(p);
    if (by_chunk) {
      chunk = (first >> chunk_shift) + inside;
      enter_chunk();
      at = 0, stop = steps;
      return true;
    }
    const int first_step = first / C::kStep;
    chunk = (first_step + inside) * C::kStep >> chunk_shift;
    enter_chunk();
    at = from - inside + base / C::kStep - first_step;
    return at >= from || next(p);  // a chunk that begins before the stretch is its predecessor's
  }
  __device__ void enter_sequence(const AttentionParams& p) {
    const Sequence s = sequence_of(p, seq);
    first_q = s.first_q;
    kv_len = s.kv_len;
    first = first_key(p, kv_len - 1);
    chunk_shift = chunk_shift_of(kv_len);
  }
  __device__ void enter_chunk() {
    begin = max(chunk << chunk_shift, first);
    end = min((chunk + 1) << chunk_shift, kv_len);
    base = begin / C::kStep * C::kStep;
    steps = (end - base + C::kStep - 1) / C::kStep;
    step = 0;
  }
  // To the next chunk of the stretch. False: there is none.
  __device__ bool next(const AttentionParams& p) {
    at += steps;
    if (at >= stop) return false;
    if (++chunk << chunk_shift >= kv_len) {
      if (++kv_head == p.kv_heads) {
        kv_head = 0;
        do ++seq;
        while (amount_of(p, seq).steps == 0);
        enter_sequence(p);
      }
      chunk = first >> chunk_shift;
    }
    enter_chunk();
    return true;
  }
  __device__ int tile(int warp) const { return base + step * C::kStep + warp * C::kTokens; }  // its first key
  __device__ void look_up(const AttentionParams& p, int page_shift, int warp) {
    page = p.page_table[seq * p.page_table_stride + (min(tile(warp), kv_len - 1) >> page_shift)];
  }
};

// Bytes 0 and 2, and 1 and 3, of four codes as two numbers each, x 2^-120 (bf16) or 2^-8 (fp16).
template <class T>
__device__ inline std::uint32_t even_codes(std::uint32_t codes) {
  if constexpr (std::is_same_v<T, __half>) return ((codes << 8) & 0x80008000u) | ((codes << 7) & 0x3f803f80u);
  return ((codes << 8) & 0x80008000u) | ((codes << 4) & 0x07f007f0u);
}
template <class T>
__device__ inline std::uint32_t odd_codes(std::uint32_t codes) {
  if constexpr (std::is_same_v<T, __half>) return (codes & 0x80008000u) | ((codes >> 1) & 0x3f803f80u);
  return (codes & 0x80008000u) | ((codes >> 4) & 0x07f007f0u);
}

}  // namespace rl::cuda
