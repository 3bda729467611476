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
  static_assert(kSmemBytes <= 98 * 1024);         // and 1 KB of figures
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

// A stretch of the list of chunks, one after the other, and in it one step.
template <bool kCodes, int kHeadDim>
struct Walk {
  using C = DecodeConfig<kCodes, kHeadDim>;
  int seq, kv_head, chunk;
  int first_q, kv_len, first, chunk_tokens;  // of the sequence; first: the first key seen
  int begin, end;                            // keys of the chunk that are seen
  int base, step, steps;                     // its steps begin at base, kStep keys each
  std::int64_t at, stop;                     // steps of the list before this chunk, and where the stretch ends
  int page;                                  // of this warp's tile

  // Steps that a sequence takes for each kv head.
  __device__ static int steps_of(const AttentionParams& p, int s) {
    const Sequence seq = sequence_of(p, s);
    if (seq.queries != 1) return 0;
    const int from = first_key(p, seq.kv_len - 1) / C::kStep * C::kStep;
    return (seq.kv_len - from + C::kStep - 1) / C::kStep;
  }

  // The stretch of block `part` of `parts`. False: there is none.
  __device__ bool begin_at(const AttentionParams& p, int part, int parts) {
    const int lane = threadIdx.x % 32;
    std::int64_t total = 0;
    for (int s = lane; s < p.seqs; s += 32) total += steps_of(p, s);
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) total += __shfl_xor_sync(0xffffffffu, total, offset);
    total *= p.kv_heads;
    const std::int64_t from = total * part / parts;
    stop = total * (part + 1) / parts;
    if (from >= stop) return false;
    std::int64_t before = 0;
    int own = 0;
    for (int s = 0;; s += 32) {  // ends: from < total
      const std::int64_t mine = s + lane < p.seqs ? static_cast<std::int64_t>(steps_of(p, s + lane)) * p.kv_heads : 0;
      std::int64_t upto = mine;
#pragma unroll
      for (int offset = 1; offset < 32; offset *= 2) {
        const std::int64_t other = __shfl_up_sync(0xffffffffu, upto, offset);
        if (lane >= offset) upto += other;
      }
      const unsigned found = __ballot_sync(0xffffffffu, before + upto > from);
      if (found != 0) {
        const int which = __ffs(static_cast<int>(found)) - 1;
        before += __shfl_sync(0xffffffffu, upto - mine, which);
        own = static_cast<int>(__shfl_sync(0xffffffffu, mine, which) / p.kv_heads);
        seq = s + which;
        break;
      }
      before += __shfl_sync(0xffffffffu, upto, 31);
    }
    kv_head = static_cast<int>((from - before) / own);
    const int inside = static_cast<int>((from - before) % own);
    enter_sequence(p);
    chunk = (first / C::kStep * C::kStep + inside * C::kStep) / chunk_tokens;
    enter_chunk();
    const int ahead = (base - first / C::kStep * C::kStep) / C::kStep;  // steps of the head before this chunk
    at = from - inside + ahead;
    return at >= from || next(p);  // a chunk that begins before the stretch is its predecessor's
  }
  __device__ void enter_sequence(const AttentionParams& p) {
    const Sequence s = sequence_of(p, seq);
    first_q = s.first_q;
    kv_len = s.kv_len;
    first = first_key(p, kv_len - 1);
    chunk_tokens = chunks_of<kCodes>(kv_len).tokens;
  }
  __device__ void enter_chunk() {
    begin = max(chunk * chunk_tokens, first);
    end = min((chunk + 1) * chunk_tokens, kv_len);
    base = begin / C::kStep * C::kStep;
    steps = (end - base + C::kStep - 1) / C::kStep;
    step = 0;
  }
  // To the next chunk of the stretch. False: there is none.
  __device__ bool next(const AttentionParams& p) {
    at += steps;
    if (at >= stop) return false;
    if (++chunk * chunk_tokens >= kv_len) {
      if (++kv_head == p.kv_heads) {
        kv_head = 0;
        do ++seq;
        while (steps_of(p, seq) == 0);
        enter_sequence(p);
      }
      chunk = first / chunk_tokens;
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
