#pragma once
// Attention of a tile of up to 64 rows against pages of 64 keys. Rows lie on the lanes of vectors: q is transposed once
// per tile to [head_dim][row], scores are [key][row], the output is accumulated as [head_dim][row]. Then K needs no
// packing (its elements are broadcast), the softmax needs no horizontal step, and a row's bits do not depend on its
// neighbours. With the heads of a group as rows, K and V are read once per kv head. For d = 128 in bf16 q, scores, P,
// K and V of a step take 80 KB, the accumulator 32 KB: L1 and L2. Source of the online softmax: Milakov and Gimelshein
// 2018 (arXiv 1805.02867); of the tiling: Dao et al. 2022 (arXiv 2205.14135).
// Per page and tile of 64 rows: 4 * 64 * 64 * head_dim flops, 2 * 64 * head_dim elements of cache.

#include "cpu/fast/attention_common.h"

namespace rl::cpu {
namespace {

// acc[m][lane] += sum over `steps` of a[m][step] * b[step][lane].
struct FmaProduct {
  using Operand = Vec;
  static Operand splat_cell(const Cell* p) { return splat(*reinterpret_cast<const float*>(p)); }
  static Operand load_cells(const Cell* p) { return load(reinterpret_cast<const float*>(p)); }
  static Vec add(Vec acc, Operand a, Operand b) { return fma(a, b, acc); }
};
#if defined(__AVX512BF16__)
struct DotProduct {
  using Operand = __m512i;
  static Operand splat_cell(const Cell* p) { return _mm512_set1_epi32(static_cast<int>(*p)); }
  static Operand load_cells(const Cell* p) { return _mm512_loadu_si512(p); }
  static Vec add(Vec acc, Operand a, Operand b) {
    return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
};
#endif
template <Mode M>
struct ProductOf {
  using Type = FmaProduct;
};
#if defined(__AVX512BF16__)
template <>
struct ProductOf<Mode::dot> {
  using Type = DotProduct;
};
#endif

// Register blocks: kBlockVecs vectors of rows by 4 keys (or head_dim elements), 8 where there are fewer vectors, so
// that the accumulators cover the latency of the product.
inline constexpr int kBlockVecs = kLanes == 16 ? 4 : 2;

struct Operands {
  const Cell* a = nullptr;  // [m][step]: at m * a_row + step * a_step
  std::int64_t a_row = 0, a_step = 0;
  const Cell* b = nullptr;  // [step][lane]
  std::int64_t b_pitch = 0;
  std::int64_t steps = 0;
};

template <class P, int M, int N>
inline void product_block(const Operands& o, Vec (&acc)[M][N]) {
  const Cell* b = o.b;
  const Cell* a = o.a;
  for (std::int64_t step = 0; step < o.steps; ++step, b += o.b_pitch, a += o.a_step) {
    typename P::Operand right[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) right[n] = P::load_cells(b + n * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const typename P::Operand left = P::splat_cell(a + m * o.a_row);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) acc[m][n] = P::add(acc[m][n], left, right[n]);
    }
  }
}

// c [count][lane], count a multiple of 8: c = scale * a b.
template <class P, int N>
inline void scaled_product(Operands o, std::int64_t count, float scale, float* c, std::int64_t c_pitch) {
  constexpr int M = N > 2 ? 4 : kLanes == 16 || N == 1 ? 8 : 4;
  for (std::int64_t m0 = 0; m0 < count; m0 += M, o.a += M * o.a_row) {
    Vec acc[M][N];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) acc[m][n] = splat(0);
    product_block<P, M, N>(o, acc);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) store(c + (m0 + m) * c_pitch + n * kLanes, acc[m][n] * splat(scale));
  }
}

// c [count][kTileRows lanes], count a multiple of 8: c = alpha * c + a b, alpha per lane; c = a b where alpha is null.
template <class P, int N>
inline void accumulate_product(Operands o, std::int64_t count, const float* alpha, float* c) {
  constexpr int M = N > 2 ? 4 : kLanes == 16 || N == 1 ? 8 : 4;
  o.a_row = 1;
  for (std::int64_t m0 = 0; m0 < count; m0 += M, o.a += M, c += M * kTileRows) {
    Vec acc[M][N];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n)
        acc[m][n] = alpha ? load(c + m * kTileRows + n * kLanes) * load(alpha + n * kLanes) : splat(0);
    product_block<P, M, N>(o, acc);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) store(c + m * kTileRows + n * kLanes, acc[m][n]);
  }
}

// Calls f(lane, Count<N>) for blocks of N <= kBlockVecs vectors that cover `rows` lanes.
template <class F>
inline void for_row_vectors(std::int64_t rows, F&& f) {
  const std::int64_t vecs = (rows + kLanes - 1) / kLanes;
  std::int64_t v = 0;
  for (; v + kBlockVecs <= vecs; v += kBlockVecs) f(v * kLanes, Count<kBlockVecs>{});
  if constexpr (kBlockVecs == 4) {
    if (vecs - v == 3) f(v * kLanes, Count<3>{});
    if (vecs - v == 2) f(v * kLanes, Count<2>{});
  }
  if (vecs - v == 1) f(v * kLanes, Count<1>{});
}

// Working memory of one thread, on its stack: part of the kernel as shared memory is of a GPU's.
struct alignas(64) TileScratch {
  Cell q[kMaxHeadDim * kTileRows];        // [step][row]
  float scores[kTileKeys * kTileRows];    // [key][row]
  Cell p[kTileKeys * kTileRows];          // [key or pair of keys][row]
  float out[kMaxHeadDim * kTileRows];     // [head_dim][row]
  Cell operand[kTileKeys * kMaxHeadDim];  // a page of K or V as the product reads it
  Cell widened[kTileKeys * kMaxHeadDim];  // rows of K or V of a cache of codes
  float maximum[kTileRows], sum[kTileRows], alpha[kTileRows];
};

// Cells of a row of q or K: what one product step consumes.
template <Mode M>
inline std::int64_t steps_of(std::int64_t head_dim) {
  return M == Mode::dot ? head_dim / 2 : head_dim;
}

template <Mode M>
inline void pack_query(const AttentionProblem& p, const RowBlock& b, Cell* q) {
  const std::int64_t rows = b.rows(), steps = steps_of<M>(p.head_dim);
  for (std::int64_t row = 0; row < rows; row += kLanes) {
    for (std::int64_t step = 0; step < steps; step += kLanes) {
      const std::int64_t n = smaller(kLanes, steps - step);
      Vec part[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        part[i] = splat(0);
        if (row + i >= rows) continue;
        const char* const from = query_row(p, b, row + i);
        part[i] = load_n(reinterpret_cast<const typename StepOf<M>::Type*>(from) + step, n);
      }
      transpose(part);
      for (int i = 0; i < n; ++i) store(reinterpret_cast<float*>(q) + (step + i) * kTileRows + row, part[i]);
    }
  }
}

template <Mode M>
inline void widen_page(const char* rows, std::int64_t elements, Cell* wide) {
  const auto* const from = reinterpret_cast<const typename ElementOf<M>::Type*>(rows);
  auto* const to = reinterpret_cast<float*>(wide);
  std::int64_t i = 0;
  for (; i + kLanes <= elements; i += kLanes) store(to + i, load(from + i));
  if (i < elements) store_n(to + i, load_n(from + i, elements - i), elements - i);
}

// scores [keys rounded up to 8][pitch]: of one page's K with the tile. Keys past the sequence's last are computed from
// whatever the page holds and masked later.
template <Mode M>
inline void tile_scores(const AttentionProblem& p, const char* k_rows, std::int64_t keys, std::int64_t rows,
                        TileScratch& s, float* scores, std::int64_t pitch) {
  const std::int64_t steps = steps_of<M>(p.head_dim);
  const Cell* k = reinterpret_cast<const Cell*>(k_rows);
  const std::int64_t computed = (keys + 7) / 8 * 8;
  if constexpr (kWidens<M>) {
    widen_page<M>(k_rows, computed * p.head_dim, s.operand);
    k = s.operand;
  }
  for_row_vectors(rows, [&](std::int64_t lane, auto n) {
    const Operands o{.a = k, .a_row = steps, .a_step = 1, .b = s.q + lane, .b_pitch = kTileRows, .steps = steps};
    scaled_product<typename ProductOf<M>::Type, decltype(n)::value>(o, computed, p.scale, scores + lane, pitch);
  });
}

#if defined(__AVX512BF16__)
// Rows t and t + 1 of V side by side: [pair][head_dim rounded up to 32] cells. A missing last row counts as zeros: the
// page may hold anything there.
inline void pair_rows(const char* v_rows, std::int64_t keys, std::int64_t head_dim, Cell* pairs, std::int64_t pitch) {
  alignas(64) static constexpr std::uint16_t kLow[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                         8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i low = _mm512_load_si512(kLow), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  const auto* const v = reinterpret_cast<const std::uint16_t*>(v_rows);
  for (std::int64_t t = 0; t < keys; t += 2)
    for (std::int64_t d = 0; d < head_dim; d += 32) {
      const std::int64_t n = smaller(32, head_dim - d);
      const auto mask = static_cast<__mmask32>((std::uint64_t{1} << n) - 1);
      const __m512i a = _mm512_maskz_loadu_epi16(mask, v + t * head_dim + d);
      const __m512i b =
          t + 1 < keys ? _mm512_maskz_loadu_epi16(mask, v + (t + 1) * head_dim + d) : _mm512_setzero_si512();
      _mm512_storeu_si512(pairs + t / 2 * pitch + d, _mm512_permutex2var_epi16(a, low, b));
      _mm512_storeu_si512(pairs + t / 2 * pitch + d + 16, _mm512_permutex2var_epi16(a, high, b));
    }
}
#endif

// s.out = alpha * s.out + P V for one page; P [key][pitch], or [pair of keys][pitch] in dot mode.
template <Mode M>
inline void tile_values(const AttentionProblem& p, const char* v_rows, std::int64_t keys, std::int64_t rows,
                        TileScratch& s, const Cell* weights, std::int64_t pitch, const float* alpha) {
  const Cell* v = reinterpret_cast<const Cell*>(v_rows);
  std::int64_t v_pitch = p.head_dim, steps = keys;
  if constexpr (kWidens<M>) {
    widen_page<M>(v_rows, keys * p.head_dim, s.operand);
    v = s.operand;
  }
#if defined(__AVX512BF16__)
  if constexpr (M == Mode::dot) {
    v_pitch = (p.head_dim + 31) / 32 * 32;
    pair_rows(v_rows, keys, p.head_dim, s.operand, v_pitch);
    v = s.operand;
    steps = (keys + 1) / 2;
  }
#endif
  for_row_vectors(rows, [&](std::int64_t lane, auto n) {
    const Operands o{.a = v, .a_row = 1, .a_step = v_pitch, .b = weights + lane, .b_pitch = pitch, .steps = steps};
    accumulate_product<typename ProductOf<M>::Type, decltype(n)::value>(o, p.head_dim, alpha ? alpha + lane : nullptr,
                                                                        s.out + lane);
  });
}

// -inf where a row does not see a key. first: the page's first key.
inline void mask_scores(const AttentionProblem& p, const RowBlock& b, std::int64_t first, std::int64_t keys,
                        float* scores, std::int64_t pitch) {
  const std::int64_t rows = b.rows();
  alignas(64) float low[kTileRows], high[kTileRows];
  bool any = false;
  for (std::int64_t row = 0; row < kTileRows; ++row) {
    const Visible seen = visible(p, b, smaller(row, rows - 1));
    low[row] = static_cast<float>(larger(seen.first - first, 0));
    high[row] = static_cast<float>(larger(smaller(seen.last - first, kTileKeys), -1));
    any = any || seen.first > first || seen.last < first + keys - 1;
  }
  if (!any) return;
  for (std::int64_t lane = 0; lane < rows; lane += kLanes) {
    const Vec lo = load(low + lane), hi = load(high + lane);
    for (std::int64_t t = 0; t < keys; ++t) {
      float* const at = scores + t * pitch + lane;
      const Vec key = splat(static_cast<float>(t));
      store(at, select_le(lo, key, select_le(key, hi, load(at), splat(-kInfinity)), splat(-kInfinity)));
    }
  }
}

// P of two keys as the product reads it.
template <Mode M>
inline void store_weights(Cell* weights, std::int64_t pitch, std::int64_t key, Vec even, Vec odd, bool has_odd) {
  if constexpr (M == Mode::dot) {
#if defined(__AVX512BF16__)
    alignas(64) static constexpr std::uint16_t kPairs[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                             21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                             11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, even));
    _mm512_storeu_si512(weights + key / 2 * pitch, _mm512_permutexvar_epi16(_mm512_load_si512(kPairs), both));
#endif
  } else {
    store(reinterpret_cast<float*>(weights) + key * pitch, even);
    if (has_odd) store(reinterpret_cast<float*>(weights) + (key + 1) * pitch, odd);
  }
}

// For each lane: its largest of `keys` scores and of `start`.
inline Vec column_maximum(const float* scores, std::int64_t pitch, std::int64_t keys, Vec start) {
  Vec even = start, odd = start;
  std::int64_t t = 0;
  for (; t + 2 <= keys; t += 2) {
    even = vmax(load(scores + t * pitch), even);
    odd = vmax(load(scores + (t + 1) * pitch), odd);
  }
  if (t < keys) even = vmax(load(scores + t * pitch), even);
  return vmax(even, odd);
}

// P = 2^(scores - maximum), written to weights (which may be scores: writes stay behind reads); returns its sums.
template <Mode M>
inline Vec column_weights(const float* scores, Cell* weights, std::int64_t pitch, std::int64_t keys, Vec maximum) {
  Vec even_sum = splat(0), odd_sum = splat(0);
  std::int64_t t = 0;
  for (; t + 2 <= keys; t += 2) {
    const Vec even = exp2(load(scores + t * pitch) - maximum), odd = exp2(load(scores + (t + 1) * pitch) - maximum);
    even_sum = even_sum + even;
    odd_sum = odd_sum + odd;
    store_weights<M>(weights, pitch, t, even, odd, true);
  }
  if (t < keys) {
    const Vec even = exp2(load(scores + t * pitch) - maximum);
    even_sum = even_sum + even;
    store_weights<M>(weights, pitch, t, even, splat(0), false);
  }
  return even_sum + odd_sum;
}

// A row that has seen no key yet has maximum -inf: 0 stands in, so that no inf - inf arises.
inline Vec finite_maximum(Vec maximum) { return select_le(maximum, splat(-kInfinity), splat(0), maximum); }

inline void finish_tile(const AttentionProblem& p, const RowBlock& b, TileScratch& s, float* partial) {
  const std::int64_t rows = b.rows();
  for (std::int64_t row = 0; row < rows; row += kLanes) {
    const Vec factor = partial ? splat(1) : splat(1) / load(s.sum + row);
    for (std::int64_t d = 0; d < p.head_dim; d += kLanes) {
      Vec part[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i)
        part[i] = d + i < p.head_dim ? load(s.out + (d + i) * kTileRows + row) * factor : splat(0);
      transpose(part);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i)
        if (row + i < rows) write_row_part(p, b, partial, row + i, d, part[i]);
    }
  }
  if (!partial) return;
  for (std::int64_t row = 0; row < rows; ++row) {
    partial[row * partial_stride(p.head_dim) + p.head_dim] = s.maximum[row];
    partial[row * partial_stride(p.head_dim) + p.head_dim + 1] = s.sum[row];
  }
}

template <Mode M>
inline void flash_tile(const AttentionProblem& p, const RowBlock& b, float* partial) {
  TileScratch s;
  const std::int64_t rows = b.rows();
  pack_query<M>(p, b, s.q);
  for (std::int64_t row = 0; row < kTileRows; ++row) s.maximum[row] = -kInfinity, s.sum[row] = 0;
  for (std::int64_t first = b.kv_begin; first < b.kv_end; first += p.step) {
    const std::int64_t keys = smaller(p.step, b.kv_end - first);
    tile_scores<M>(p, page_rows<M>(p, b, p.k, first, s.widened), keys, rows, s, s.scores, kTileRows);
    mask_scores(p, b, first, keys, s.scores, kTileRows);
    for (std::int64_t lane = 0; lane < rows; lane += kLanes) {
      const Vec before = load(s.maximum + lane);
      const Vec maximum = column_maximum(s.scores + lane, kTileRows, keys, before);
      const Vec base = finite_maximum(maximum);
      const Vec alpha = exp2(before - base);
      const Vec sum = column_weights<M>(s.scores + lane, s.p + lane, kTileRows, keys, base);
      store(s.maximum + lane, maximum);
      store(s.alpha + lane, alpha);
      store(s.sum + lane, fma(load(s.sum + lane), alpha, sum));
    }
    tile_values<M>(p, page_rows<M>(p, b, p.v, first, s.widened), keys, rows, s, s.p, kTileRows,
                   first == b.kv_begin ? nullptr : s.alpha);
  }
  finish_tile(p, b, s, partial);
}

// The standard way, in three passes over scores [key][padded rows] in memory.
template <Mode M>
inline void standard_tile_scores(const AttentionProblem& p, const RowBlock& b, float* scores) {
  TileScratch s;
  const std::int64_t rows = b.rows(), pitch = padded_rows(rows);
  pack_query<M>(p, b, s.q);
  for (std::int64_t first = b.kv_begin; first < b.kv_end; first += p.step)
    tile_scores<M>(p, page_rows<M>(p, b, p.k, first, s.widened), smaller(p.step, b.kv_end - first), rows, s,
                   scores + (first - b.kv_begin) * pitch, pitch);
}

inline float* standard_sums(const RowBlock& b, float* scores) {
  return scores + padded_rows(b.rows()) * ((b.kv_end - b.kv_begin + kTileKeys - 1) / kTileKeys * kTileKeys);
}

template <Mode M>
inline void standard_tile_softmax(const AttentionProblem& p, const RowBlock& b, float* scores) {
  const std::int64_t rows = b.rows(), pitch = padded_rows(rows), keys = b.kv_end - b.kv_begin;
  for (std::int64_t first = b.kv_begin; first < b.kv_end; first += p.step)
    mask_scores(p, b, first, smaller(p.step, b.kv_end - first), scores + (first - b.kv_begin) * pitch, pitch);
  float* const sums = standard_sums(b, scores);
  for (std::int64_t lane = 0; lane < rows; lane += kLanes) {
    const Vec maximum = finite_maximum(column_maximum(scores + lane, pitch, keys, splat(-kInfinity)));
    auto* const weights = reinterpret_cast<Cell*>(scores) + lane;
    store(sums + lane, column_weights<M>(scores + lane, weights, pitch, keys, maximum));
  }
}

template <Mode M>
inline void standard_tile_values(const AttentionProblem& p, const RowBlock& b, float* scores) {
  TileScratch s;
  const std::int64_t rows = b.rows(), pitch = padded_rows(rows);
  for (std::int64_t row = 0; row < kTileRows; ++row) s.alpha[row] = 1;
  for (std::int64_t first = b.kv_begin; first < b.kv_end; first += p.step) {
    const std::int64_t at = first - b.kv_begin;
    const auto* const weights = reinterpret_cast<const Cell*>(scores) + (M == Mode::dot ? at / 2 : at) * pitch;
    tile_values<M>(p, page_rows<M>(p, b, p.v, first, s.widened), smaller(p.step, b.kv_end - first), rows, s, weights,
                   pitch, first == b.kv_begin ? nullptr : s.alpha);
  }
  const float* const sums = standard_sums(b, scores);
  for (std::int64_t row = 0; row < pitch; ++row) s.sum[row] = sums[row];
  finish_tile(p, b, s, nullptr);
}

}  // namespace
}  // namespace rl::cpu
