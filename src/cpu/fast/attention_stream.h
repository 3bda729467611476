#pragma once
// Attention of at most 8 rows (a decode step's query times the heads of its group): bound by reading K and V, so they
// are read where they lie, each line once, with head_dim on the lanes of vectors. Scores of kLanes (key, row) pairs are
// accumulated side by side and summed across lanes together; V of two keys is interleaved in registers for vdpbf16ps.

#include "cpu/fast/attention_common.h"

namespace rl::cpu {
namespace {

// Elements of a vector of one mode's cache, and how q is kept: as the cache's elements (dot) or as floats.
template <Mode M>
inline constexpr std::int64_t kElements = M == Mode::dot ? 2 * kLanes : kLanes;

// Working memory of one thread, on its stack. Each kv head of the block has its rows.
struct alignas(64) StreamScratch {
  Cell q[kStreamPool * kMaxHeadDim];     // [kv head][row][kMaxHeadDim elements]
  float out[kStreamPool * kMaxHeadDim];  // [kv head][row][head_dim]
  float maximum[kStreamPool], sum[kStreamPool], alpha[kStreamPool];
  float scores[kStreamRows * kTileKeys];                        // [row][key] of one kv head, then P in place
  Cell k[kTileKeys * kMaxHeadDim], v[kTileKeys * kMaxHeadDim];  // rows of a cache of codes, widened
};

// One kv head's part of it.
struct StreamRows {
  Cell* q;
  float* out;
  float *maximum, *sum, *alpha;
};
inline StreamRows rows_of(const RowBlock& b, StreamScratch& s, std::int64_t kv_head) {
  const std::int64_t row = kv_head * padded_rows(b.rows());
  return {s.q + row * kMaxHeadDim, s.out + row * kMaxHeadDim, s.maximum + row, s.sum + row, s.alpha + row};
}
inline RowBlock block_of(const RowBlock& b, std::int64_t kv_head) {
  RowBlock one = b;
  one.kv_head += kv_head;
  one.first_head += kv_head * b.heads;
  one.kv_heads = 1;
  return one;
}

template <class F>
inline void for_row_groups(std::int64_t rows, F&& f) {
  std::int64_t row = 0;
  for (; rows - row >= 4; row += 4) f(row, Count<4>{});
  if (rows - row >= 2) f(row, Count<2>{}), row += 2;
  if (rows - row == 1) f(row, Count<1>{});
}

template <Mode M>
inline void pack_stream_query(const AttentionProblem& p, const RowBlock& b, const StreamRows& s) {
  for (std::int64_t row = 0; row < padded_rows(b.rows()); ++row) {
    for (std::int64_t d = 0; d < kMaxHeadDim; d += kLanes) {
      const std::int64_t n = row < b.rows() ? larger(0, smaller(kLanes, p.head_dim - d)) : 0;
      Vec part = splat(0);
      const char* const from = n > 0 ? query_row(p, b, row) : nullptr;
      if (n > 0) part = load_n(reinterpret_cast<const typename ElementOf<M>::Type*>(from) + d, n);
      // bf16 -> float -> bf16 changes nothing.
      if constexpr (M == Mode::dot)
        store(reinterpret_cast<std::uint16_t*>(s.q) + row * kMaxHeadDim + d, part);
      else
        store(reinterpret_cast<float*>(s.q) + row * kMaxHeadDim + d, part);
    }
  }
}

// How one vector of K meets one of q.
template <Mode M>
struct StreamProduct {
  using Element = typename ElementOf<M>::Type;
  using Operand = Vec;
  static Operand load_k(const Element* p) { return load(p); }
  static Operand load_k_n(const Element* p, std::int64_t n) { return load_n(p, n); }
  static Operand load_q(const Cell* q, std::int64_t at) { return load(reinterpret_cast<const float*>(q) + at); }
  static Vec add(Vec acc, Operand a, Operand b) { return fma(a, b, acc); }
};
#if defined(__AVX512BF16__)
template <>
struct StreamProduct<Mode::dot> {
  using Element = std::uint16_t;
  using Operand = __m512i;
  static Operand load_k(const Element* p) { return _mm512_loadu_si512(p); }
  static Operand load_k_n(const Element* p, std::int64_t n) {
    return _mm512_maskz_loadu_epi16(static_cast<__mmask32>((std::uint64_t{1} << n) - 1), p);
  }
  static Operand load_q(const Cell* q, std::int64_t at) {
    return _mm512_loadu_si512(reinterpret_cast<const std::uint16_t*>(q) + at);
  }
  static Vec add(Vec acc, Operand a, Operand b) {
    return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
};
#endif

// Hardware prefetchers stop at the end of a page of K or V, and the next one may lie anywhere: while one is worked on,
// the one after it is asked for, line by line. One core of an AMD EPYC then reads a cold cache at 29 GB/s instead of
// 12, beside a read loop's 40 (4 heads per kv head, head_dim 128). Asking for lines two pages ahead, in bursts of 16,
// or one per load instead of a key's at a time was slower by 5 to 10 %. Always inlined: g++ 12 takes a function of
// prefetches for one without effect and drops its calls.
[[gnu::always_inline]] inline void prefetch(const char* from, std::int64_t begin, std::int64_t end) {
  if (!from) return;
  for (std::int64_t at = begin; at < end; at += 64) __builtin_prefetch(from + at, 0, 0);
}

// scores[row][key] = scale * q k for H rows and `keys` keys, rounded up to kLanes: those past the sequence's last are
// computed from whatever the page holds and masked later.
template <Mode M, int H>
inline void stream_scores_of(const AttentionProblem& p, const char* k_rows, std::int64_t keys, const Cell* q,
                             std::int64_t row, float* scores, std::int64_t pitch, const char* ahead) {
  using P = StreamProduct<M>;
  constexpr int T = kLanes / H;
  constexpr std::int64_t kStep = kElements<M>;
  const auto* k = reinterpret_cast<const typename P::Element*>(k_rows);
  const std::int64_t dim = p.head_dim, computed = (keys + kLanes - 1) / kLanes * kLanes;
  const std::int64_t key_bytes = dim * kElementBytes<M>;
  for (std::int64_t t = 0; t < computed; t += T, k += T * dim) {
    prefetch(ahead, t * key_bytes, (t + T) * key_bytes);
    Vec acc[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) acc[i] = splat(0);
    const auto step = [&](std::int64_t d, auto load_k) {
      typename P::Operand left[H];
#pragma GCC unroll 4
      for (int h = 0; h < H; ++h) left[h] = P::load_q(q, (row + h) * kMaxHeadDim + d);
#pragma GCC unroll 16
      for (int i = 0; i < T; ++i) {
        const typename P::Operand key = load_k(k + i * dim + d);
#pragma GCC unroll 4
        for (int h = 0; h < H; ++h) acc[h * T + i] = P::add(acc[h * T + i], left[h], key);
      }
    };
    std::int64_t d = 0;
    for (; d + kStep <= dim; d += kStep) step(d, [](const auto* at) { return P::load_k(at); });
    if (d < dim) step(d, [n = dim - d](const auto* at) { return P::load_k_n(at, n); });
    alignas(64) float sums[kLanes];
    store(sums, sum_rows(acc) * splat(p.scale));
#pragma GCC unroll 4
    for (int h = 0; h < H; ++h) std::memcpy(scores + (row + h) * pitch + t, sums + h * T, T * sizeof(float));
  }
}

template <Mode M>
inline void stream_scores(const AttentionProblem& p, const RowBlock& b, const char* k_rows, std::int64_t keys,
                          const StreamRows& s, float* scores, std::int64_t pitch, const char* ahead) {
  for_row_groups(padded_rows(b.rows()), [&](std::int64_t row, auto h) {
    stream_scores_of<M, decltype(h)::value>(p, k_rows, keys, s.q, row, scores, pitch, row == 0 ? ahead : nullptr);
  });
}

// out[row][d] = alpha * out + P V over V of `keys` keys, for H rows and N vectors of d from d0 on.
template <Mode M, int H, int N>
inline void stream_values_of(const AttentionProblem& p, const char* v_rows, std::int64_t keys, std::int64_t d0,
                             std::int64_t row, const char* weights, std::int64_t weight_pitch, const float* alpha,
                             float* out, const char* ahead) {
  const std::int64_t block_bytes = smaller(N * kLanes, p.head_dim - d0) * kElementBytes<M>;  // of `ahead`, per key
  using Element = typename StreamProduct<M>::Element;
  const auto* v = reinterpret_cast<const Element*>(v_rows) + d0;
  const std::int64_t dim = p.head_dim;
  const bool whole = d0 + N * kLanes <= dim;
  Vec acc[H][N];
#pragma GCC unroll 4
  for (int h = 0; h < H; ++h)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n)
      acc[h][n] = load(out + (row + h) * kMaxHeadDim + d0 + n * kLanes) * splat(alpha[row + h]);
  const char* weight[H];
#pragma GCC unroll 4
  for (int h = 0; h < H; ++h) weight[h] = weights + (row + h) * weight_pitch;

  if constexpr (M == Mode::dot) {
#if defined(__AVX512BF16__)
    static_assert(N % 2 == 0);
    alignas(64) static constexpr std::uint16_t kLow[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                                           37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                                           11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    const __m512i low = _mm512_load_si512(kLow), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    const auto mask = static_cast<__mmask32>((std::uint64_t{1} << smaller(32, dim - d0)) - 1);
    for (std::int64_t t = 0; t < keys; t += 2, v += 2 * dim) {
      prefetch(ahead, d0 * keys * 2 + t * block_bytes, d0 * keys * 2 + (t + 2) * block_bytes);
      __m512i pair[H];
#pragma GCC unroll 4
      for (int h = 0; h < H; ++h)
        pair[h] = _mm512_set1_epi32(static_cast<int>(*reinterpret_cast<const Cell*>(weight[h] + 2 * t)));
#pragma GCC unroll 4
      for (int n = 0; n < N / 2; ++n) {
        __m512i a, c = _mm512_setzero_si512();  // the page may hold anything behind the last key
        if (whole) {
          a = _mm512_loadu_si512(v + n * 32);
          if (t + 1 < keys) c = _mm512_loadu_si512(v + dim + n * 32);
        } else {
          a = _mm512_maskz_loadu_epi16(mask, v + n * 32);
          if (t + 1 < keys) c = _mm512_maskz_loadu_epi16(mask, v + dim + n * 32);
        }
        const auto even = reinterpret_cast<__m512bh>(_mm512_permutex2var_epi16(a, low, c));
        const auto odd = reinterpret_cast<__m512bh>(_mm512_permutex2var_epi16(a, high, c));
#pragma GCC unroll 4
        for (int h = 0; h < H; ++h) {
          acc[h][2 * n] = _mm512_dpbf16_ps(acc[h][2 * n], reinterpret_cast<__m512bh>(pair[h]), even);
          acc[h][2 * n + 1] = _mm512_dpbf16_ps(acc[h][2 * n + 1], reinterpret_cast<__m512bh>(pair[h]), odd);
        }
      }
    }
#endif
  } else {
    for (std::int64_t t = 0; t < keys; ++t, v += dim) {
      prefetch(ahead, d0 * keys * kElementBytes<M> + t * block_bytes,
               d0 * keys * kElementBytes<M> + (t + 1) * block_bytes);
      Vec value[N];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) value[n] = whole ? load(v + n * kLanes) : load_n(v + n * kLanes, dim - d0);
#pragma GCC unroll 4
      for (int h = 0; h < H; ++h) {
        const Vec w = splat(*reinterpret_cast<const float*>(weight[h] + 4 * t));
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) acc[h][n] = fma(value[n], w, acc[h][n]);
      }
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < H; ++h)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) store(out + (row + h) * kMaxHeadDim + d0 + n * kLanes, acc[h][n]);
}

// Columns in blocks that fill the registers, then the rest in smaller ones.
template <Mode M>
inline void stream_values(const AttentionProblem& p, const RowBlock& b, const char* v_rows, std::int64_t keys,
                          const char* weights, std::int64_t weight_pitch, const StreamRows& s, const char* ahead) {
  for_row_groups(padded_rows(b.rows()), [&](std::int64_t row, auto group) {
    constexpr int H = decltype(group)::value;
    constexpr int kSmall = M == Mode::dot ? 2 : 1;
    constexpr int kLarge = kLanes == 16 ? (H == 4 ? 4 : 8) : (H == 4 ? 2 : 4);
    std::int64_t d = 0;
    const auto run = [&](auto n) {
      stream_values_of<M, H, decltype(n)::value>(p, v_rows, keys, d, row, weights, weight_pitch, s.alpha, s.out,
                                                 row == 0 ? ahead : nullptr);
      d += decltype(n)::value * kLanes;
    };
    while (p.head_dim - d >= kLarge * kLanes) run(Count<kLarge>{});
    if constexpr (kLarge == 8)
      if (p.head_dim - d >= 4 * kLanes) run(Count<4>{});
    while (d < p.head_dim) run(Count<kSmall>{});
  });
}

// -inf where the row does not see a key; `first` is the key of scores[0], keys a multiple of kLanes.
inline void mask_row(const Visible& seen, std::int64_t first, std::int64_t keys, float* scores) {
  alignas(64) static constexpr float kIota[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  if (seen.first <= first && seen.last >= first + keys - 1) return;
  const Vec low = splat(static_cast<float>(larger(seen.first - first, 0)));
  const Vec high = splat(static_cast<float>(larger(smaller(seen.last - first, keys), -1)));
  for (std::int64_t t = 0; t < keys; t += kLanes) {
    const Vec key = load(kIota) + splat(static_cast<float>(t));
    const Vec score = select_le(key, high, load(scores + t), splat(-kInfinity));
    store(scores + t, select_le(low, key, score, splat(-kInfinity)));
  }
}

inline float row_maximum(const float* scores, std::int64_t keys, float start) {
  Vec maximum = splat(start);
  for (std::int64_t t = 0; t < keys; t += kLanes) maximum = vmax(load(scores + t), maximum);
  return max_lanes(maximum);
}

// P of one row in place, as floats or bf16; returns its sum.
template <Mode M>
inline float row_weights(float* scores, std::int64_t keys, float maximum) {
  Vec sum = splat(0);
  for (std::int64_t t = 0; t < keys; t += kLanes) {
    const Vec weight = exp2(load(scores + t) - splat(maximum));
    sum = sum + weight;
    if constexpr (M == Mode::dot)
      store(reinterpret_cast<std::uint16_t*>(scores) + t, weight);
    else
      store(scores + t, weight);
  }
  return sum_lanes(sum);
}

inline void finish_stream(const AttentionProblem& p, const RowBlock& b, const StreamRows& s, float* partial) {
  for (std::int64_t row = 0; row < b.rows(); ++row) {
    const Vec factor = partial ? splat(1) : splat(1) / splat(s.sum[row]);
    for (std::int64_t d = 0; d < p.head_dim; d += kLanes)
      write_row_part(p, b, partial, row, d, load(s.out + row * kMaxHeadDim + d) * factor);
    if (!partial) continue;
    partial[row * partial_stride(p.head_dim) + p.head_dim] = s.maximum[row];
    partial[row * partial_stride(p.head_dim) + p.head_dim + 1] = s.sum[row];
  }
}

inline void clear_stream(const AttentionProblem& p, const RowBlock& b, const StreamRows& s) {
  // Small blocks of stream_values read and write whole vectors, two at a time in dot mode.
  const std::int64_t cols = (p.head_dim + 31) / 32 * 32;
  for (std::int64_t row = 0; row < padded_rows(b.rows()); ++row) {
    s.maximum[row] = -kInfinity, s.sum[row] = 0, s.alpha[row] = 1;
    for (std::int64_t d = 0; d < cols; d += kLanes) store(s.out + row * kMaxHeadDim + d, splat(0));
  }
}

// Calls f(first key, kv head) for every step and kv head in the order of memory: a page's heads lie side by side.
template <class F>
inline void for_steps(const AttentionProblem& p, const RowBlock& b, F&& f) {
  for (std::int64_t first = b.kv_begin; first < b.kv_end; first += p.step)
    for (std::int64_t head = 0; head < b.kv_heads; ++head) f(first, head);
}

// The rows of a cache that for_steps visits next, to be asked for; null where it holds codes.
template <Mode M>
inline const char* rows_after(const AttentionProblem& p, const RowBlock& b, const void* cache, std::int64_t first,
                              std::int64_t head) {
  if (p.code_values) return nullptr;
  if (head + 1 < b.kv_heads) return stored_rows(p, block_of(b, head + 1), cache, first, kElementBytes<M>);
  return first + p.step < b.kv_end ? stored_rows(p, b, cache, first + p.step, kElementBytes<M>) : nullptr;
}

template <Mode M>
inline void flash_stream(const AttentionProblem& p, const RowBlock& b, float* partial, std::int64_t partial_head) {
  StreamScratch s;
  const std::int64_t rows = padded_rows(b.rows());
  for (std::int64_t head = 0; head < b.kv_heads; ++head) {
    pack_stream_query<M>(p, block_of(b, head), rows_of(b, s, head));
    clear_stream(p, b, rows_of(b, s, head));
  }
  for_steps(p, b, [&](std::int64_t first, std::int64_t head) {
    const RowBlock one = block_of(b, head);
    const StreamRows part = rows_of(b, s, head);
    const std::int64_t keys = smaller(p.step, b.kv_end - first), computed = (keys + kLanes - 1) / kLanes * kLanes;
    const char* const v_rows = page_rows<M>(p, one, p.v, first, s.v);
    stream_scores<M>(p, one, page_rows<M>(p, one, p.k, first, s.k), keys, part, s.scores, kTileKeys,
                     p.code_values ? nullptr : v_rows);
    for (std::int64_t row = 0; row < rows; ++row) {
      float* const scores = s.scores + row * kTileKeys;
      mask_row(visible(p, b, smaller(row, b.rows() - 1)), first, computed, scores);
      const float before = part.maximum[row], maximum = row_maximum(scores, computed, before);
      const float base = maximum == -kInfinity ? 0 : maximum;
      part.maximum[row] = maximum;
      part.alpha[row] = before == maximum ? 1 : sum_lanes(exp2(splat(before - base))) / kLanes;
      part.sum[row] = part.sum[row] * part.alpha[row] + row_weights<M>(scores, computed, base);
    }
    stream_values<M>(p, one, v_rows, keys, reinterpret_cast<const char*>(s.scores), kTileKeys * sizeof(float), part,
                     rows_after<M>(p, b, p.k, first, head));
  });
  for (std::int64_t head = 0; head < b.kv_heads; ++head)
    finish_stream(p, block_of(b, head), rows_of(b, s, head), partial ? partial + head * partial_head : nullptr);
}

// The standard way, in three passes over scores [kv head][padded rows][keys rounded up to pages] in memory.
inline std::int64_t stream_pitch(const RowBlock& b) {
  return (b.kv_end - b.kv_begin + kTileKeys - 1) / kTileKeys * kTileKeys;
}
inline float* head_scores(const RowBlock& b, float* scores, std::int64_t head) {
  return scores + head * score_floats(b.rows(), b.kv_end - b.kv_begin);
}

template <Mode M>
inline void standard_stream_scores(const AttentionProblem& p, const RowBlock& b, float* scores) {
  StreamScratch s;
  for (std::int64_t head = 0; head < b.kv_heads; ++head)
    pack_stream_query<M>(p, block_of(b, head), rows_of(b, s, head));
  for_steps(p, b, [&](std::int64_t first, std::int64_t head) {
    const RowBlock one = block_of(b, head);
    stream_scores<M>(p, one, page_rows<M>(p, one, p.k, first, s.k), smaller(p.step, b.kv_end - first),
                     rows_of(b, s, head), head_scores(b, scores, head) + (first - b.kv_begin), stream_pitch(b),
                     rows_after<M>(p, b, p.k, first, head));
  });
}

template <Mode M>
inline void standard_stream_softmax(const AttentionProblem& p, const RowBlock& b, float* scores) {
  const std::int64_t keys = (b.kv_end - b.kv_begin + kLanes - 1) / kLanes * kLanes, pitch = stream_pitch(b);
  const std::int64_t rows = padded_rows(b.rows());
  for (std::int64_t head = 0; head < b.kv_heads; ++head)
    for (std::int64_t row = 0; row < rows; ++row) {
      float* const line = head_scores(b, scores, head) + row * pitch;
      mask_row(visible(p, b, smaller(row, b.rows() - 1)), b.kv_begin, keys, line);
      const float maximum = row_maximum(line, keys, -kInfinity);
      head_scores(b, scores, head)[rows * pitch + row] =
          row_weights<M>(line, keys, maximum == -kInfinity ? 0 : maximum);
    }
}

template <Mode M>
inline void standard_stream_values(const AttentionProblem& p, const RowBlock& b, float* scores) {
  StreamScratch s;
  const std::int64_t pitch = stream_pitch(b), rows = padded_rows(b.rows());
  for (std::int64_t head = 0; head < b.kv_heads; ++head) clear_stream(p, b, rows_of(b, s, head));
  for_steps(p, b, [&](std::int64_t first, std::int64_t head) {
    const char* const weights =
        reinterpret_cast<const char*>(head_scores(b, scores, head)) + (first - b.kv_begin) * (M == Mode::dot ? 2 : 4);
    stream_values<M>(p, b, page_rows<M>(p, block_of(b, head), p.v, first, s.v), smaller(p.step, b.kv_end - first),
                     weights, pitch * static_cast<std::int64_t>(sizeof(float)), rows_of(b, s, head),
                     rows_after<M>(p, b, p.v, first, head));
  });
  for (std::int64_t head = 0; head < b.kv_heads; ++head) {
    const StreamRows part = rows_of(b, s, head);
    for (std::int64_t row = 0; row < b.rows(); ++row) part.sum[row] = head_scores(b, scores, head)[rows * pitch + row];
    finish_stream(p, block_of(b, head), part, nullptr);
  }
}

}  // namespace
}  // namespace rl::cpu
