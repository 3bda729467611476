// sample: three kernels, so that all multiprocessors share what touches every logit once.
//   scan     chunks of a row: penalties, the largest logit and its lowest id, NaN and infinities
//   weigh    chunks of a row that draws: exp in double, as whole multiples of 2^-40; candidates of at least 2^-16 of
//   the
//            largest weight are listed apart
//   choose   a block per row: a greedy row takes the largest; others find the filters' limits and the drawn token by
//            bisection over the logits' bits, eight ways a pass (11 passes for each filter and the draw), among the
//            listed candidates; in the whole row only if there are too many of them, or if a limit lies beyond them
// Bytes: a greedy row reads its logits once. Sums of whole numbers do not depend on their order: equal bits every time.

#include "cuda/kernels/common/element.cuh"
#include "cuda/kernels/sample/sample.h"
#include "cuda/ptx/ptx.h"
#include "num/random.h"

namespace rl::cuda {
namespace {

constexpr int kChunk = 4096, kScanThreads = 256, kChooseThreads = 512;
constexpr double kOne = 1ll << 40;  // the weight of the largest logit

using u32 = std::uint32_t;
using u64 = unsigned long long;

__host__ __device__ int chunks_of(int vocab) { return (vocab + kChunk - 1) / kChunk; }

// Of one chunk of a row.
struct Scan {
  u64 best;  // key of the largest logit, then the bits of its id turned over: the largest of these has the lowest id
  int nan, finite;
  u64 weight;  // of its candidates, by weigh
  u32 count, listed;
};

// A listed candidate.
struct Candidate {
  u32 key, id;
  u64 weight;
};
constexpr u64 kListedWeight = 1ull << 28;  // at least
constexpr int kListed = 8192;              // at most of a row

// Workspace: Scan [rows, chunks], Candidate [rows, kListed], weights u64 [rows, vocab], adjusted logits f32 [rows,
// vocab], their numbers u32 [rows].
struct Parts {
  Scan* scans;
  Candidate* candidates;
  u64* weights;
  float* logits;
  u32* listed;
};
__host__ __device__ Parts parts_of(const SampleParams& p, void* workspace) {
  Parts parts;
  parts.scans = static_cast<Scan*>(workspace);
  parts.candidates = reinterpret_cast<Candidate*>(parts.scans + static_cast<std::int64_t>(p.rows) * chunks_of(p.vocab));
  parts.weights = reinterpret_cast<u64*>(parts.candidates + static_cast<std::int64_t>(p.rows) * kListed);
  parts.logits = reinterpret_cast<float*>(parts.weights + static_cast<std::int64_t>(p.rows) * p.vocab);
  parts.listed = reinterpret_cast<u32*>(parts.logits + static_cast<std::int64_t>(p.rows) * p.vocab);
  return parts;
}

// Ordered as the numbers are; both zeros are equal.
__device__ u32 key_of(float x) {
  const u32 bits = __float_as_uint(x + 0.0f);
  return bits ^ (bits >> 31 != 0 ? 0xffffffffu : 0x80000000u);
}
__device__ float number_of(u32 key) { return __uint_as_float(key ^ (key >> 31 != 0 ? 0x80000000u : 0xffffffffu)); }
__device__ u64 best_of(float x, int id) { return static_cast<u64>(key_of(x)) << 32 | ~static_cast<u32>(id); }
__device__ int id_of(u64 best) { return static_cast<int>(~static_cast<u32>(best)); }

__device__ u64 larger(u64 a, u64 b) { return a > b ? a : b; }

__global__ void __launch_bounds__(kScanThreads) scan_kernel(SampleParams p, void* workspace) {
  __shared__ u32 seen[kChunk / 32];
  __shared__ u64 best_shared[kScanThreads / 32];
  const int first = static_cast<int>(blockIdx.x) * kChunk, end = min(first + kChunk, p.vocab);
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const ops::SampleRow wish = p.row[blockIdx.y];
  const Parts parts = parts_of(p, workspace);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * p.vocab;
  const bool penalty = wish.repetition_penalty != 1 && wish.history_end > wish.history_begin;
  if (penalty) {
    if (threadIdx.x < kChunk / 32) seen[threadIdx.x] = 0;
    __syncthreads();
    for (int i = wish.history_begin + static_cast<int>(threadIdx.x); i < wish.history_end; i += kScanThreads) {
      const int id = p.history[i];
      if (id >= first && id < end) atomicOr(&seen[(id - first) / 32], 1u << ((id - first) % 32));
    }
    __syncthreads();
  }
  u64 best = 0;
  int nan = 0, finite = 0;
  for (int i = first + static_cast<int>(threadIdx.x); i < end; i += kScanThreads) {
    float x = p.logits[row + i];
    if (penalty && (seen[(i - first) / 32] >> ((i - first) % 32) & 1) != 0)
      x = x > 0 ? __fdiv_rn(x, wish.repetition_penalty) : __fmul_rn(x, wish.repetition_penalty);
    if (wish.temperature != 0) parts.logits[row + i] = x;
    nan |= isnan(x);
    finite |= isfinite(x);
    best = larger(best, best_of(x, i));
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) best = larger(best, __shfl_xor_sync(0xffffffffu, best, offset));
  if (threadIdx.x % 32 == 0) best_shared[threadIdx.x / 32] = best;
  nan = __syncthreads_or(nan);
  finite = __syncthreads_or(finite);
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kScanThreads / 32; ++w) best = larger(best, best_shared[w]);
  parts.scans[blockIdx.y * chunks_of(p.vocab) + blockIdx.x] = {.best = best, .nan = nan, .finite = finite};
  if (blockIdx.x == 0) parts.listed[blockIdx.y] = 0;
}

// Of the whole row, on every thread.
__device__ Scan whole(const SampleParams& p, const Parts& parts, int row) {
  Scan all{};
  for (int c = 0; c < chunks_of(p.vocab); ++c) {
    const Scan& part = parts.scans[row * chunks_of(p.vocab) + c];
    all.best = larger(all.best, part.best);
    all.nan |= part.nan;
    all.finite |= part.finite;
    all.weight += part.weight;
    all.count += part.count;
  }
  return all;
}

__device__ u64 block_sum(u64 x, u64* shared) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  u64 total = 0;
  for (int w = 0; w < static_cast<int>(blockDim.x) / 32; ++w) total += shared[w];
  __syncthreads();
  return total;
}

__global__ void __launch_bounds__(kScanThreads, 2) weigh_kernel(SampleParams p, void* workspace) {
  __shared__ u64 shared[kScanThreads / 32];
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const ops::SampleRow wish = p.row[blockIdx.y];
  if (wish.temperature == 0) return;
  const Parts parts = parts_of(p, workspace);
  const Scan all = whole(p, parts, blockIdx.y);
  if (all.nan != 0 || all.finite == 0) return;
  const float most = number_of(static_cast<u32>(all.best >> 32));
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * p.vocab;
  const int end = min((static_cast<int>(blockIdx.x) + 1) * kChunk, p.vocab);
  u64 total = 0, count = 0;
  for (int i = static_cast<int>(blockIdx.x) * kChunk + static_cast<int>(threadIdx.x); i < end; i += kScanThreads) {
    const float x = parts.logits[row + i];
    const double exact =
        x == most ? 1
                  : exp((static_cast<double>(x) - static_cast<double>(most)) / static_cast<double>(wish.temperature));
    const u64 weight = static_cast<u64>(llrint(exact * kOne));
    parts.weights[row + i] = weight;
    total += weight;
    count += x > -INFINITY;
    if (weight < kListedWeight) continue;
    const u32 at = atomicAdd(&parts.listed[blockIdx.y], 1u);
    if (at < kListed)
      parts.candidates[static_cast<std::int64_t>(blockIdx.y) * kListed + at] = {key_of(x), static_cast<u32>(i), weight};
  }
  total = block_sum(total, shared);
  count = block_sum(count, shared);
  if (threadIdx.x != 0) return;
  Scan& mine = parts.scans[blockIdx.y * chunks_of(p.vocab) + blockIdx.x];
  mine.weight = total;
  mine.count = static_cast<u32>(count);
}

// Sums over the candidates from some key on.
struct Sums {
  u64 weight = 0;
  u32 count = 0;
};
constexpr int kWays = 8, kBatch = 8;

// A whole row, or its listed candidates.
struct WholeRow {
  const float* logits;
  const u64* weights;
  __device__ u32 key(int i) const { return key_of(logits[i]); }
  __device__ u64 weight(int i) const { return weights[i]; }
  static constexpr bool kById = true;  // candidates lie in the order of their ids
};
struct Listed {
  const Candidate* candidates;
  __device__ u32 key(int i) const { return candidates[i].key; }
  __device__ u64 weight(int i) const { return candidates[i].weight; }
  __device__ int id(int i) const { return static_cast<int>(candidates[i].id); }
  static constexpr bool kById = false;
};

// Candidates sorted by falling key and rising id, of which a prefix is left: all keys above `key`, and the first `ties`
// of those equal to it. Lighter ones than `least` count for nothing. What lies beyond the candidates at hand, all of it
// below them, is `beyond`: as long as it is left, and until a limit is found to lie in it.
template <class Source>
struct Chooser {
  Source at;
  int n;
  u32 key, first_key;
  Sums beyond;
  u64 ties = ~0ull, least = 0;

  // Sums from each of the pivots on, on every thread.
  __device__ void sums_from(const u32 (&pivot)[kWays - 1], Sums (&sums)[kWays - 1]) const {
    __shared__ u64 weight_shared[kWays - 1][kChooseThreads / 32];
    __shared__ u32 count_shared[kWays - 1][kChooseThreads / 32];
#pragma unroll
    for (int j = 0; j < kWays - 1; ++j) sums[j] = {};
    // Several loads under way: a thread has hundreds of candidates of a whole row.
    for (int first = threadIdx.x; first < n; first += kBatch * kChooseThreads) {
      u32 k[kBatch];
      u64 w[kBatch];
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const int i = first + b * kChooseThreads;
        k[b] = i < n ? at.key(i) : 0;
      }
#pragma unroll
      for (int b = 0; b < kBatch; ++b) w[b] = k[b] >= key ? at.weight(first + b * kChooseThreads) : 0;
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if (k[b] < key || w[b] < least) continue;
#pragma unroll
        for (int j = 0; j < kWays - 1; ++j)
          if (k[b] >= pivot[j]) sums[j].weight += w[b], ++sums[j].count;
      }
    }
#pragma unroll
    for (int j = 0; j < kWays - 1; ++j) {
#pragma unroll
      for (int offset = 16; offset > 0; offset /= 2)
        sums[j].weight += __shfl_xor_sync(0xffffffffu, sums[j].weight, offset);
      sums[j].count = __reduce_add_sync(0xffffffffu, sums[j].count);
      if (threadIdx.x % 32 == 0) {
        weight_shared[j][threadIdx.x / 32] = sums[j].weight;
        count_shared[j][threadIdx.x / 32] = sums[j].count;
      }
    }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kWays - 1; ++j) {
      sums[j] = {};
      for (int w = 0; w < kChooseThreads / 32; ++w)
        sums[j].weight += weight_shared[j][w], sums[j].count += count_shared[j][w];
    }
    __syncthreads();
  }

  // Of all at hand from `key` on, the ties that are not left included.
  __device__ Sums all() const {
    u32 pivot[kWays - 1];
    for (u32& x : pivot) x = key;
    Sums sums[kWays - 1];
    sums_from(pivot, sums);
    return sums[0];
  }

  // The weight of all that is left.
  __device__ u64 total() const {
    u32 pivot[kWays - 1];
    for (u32& x : pivot) x = key;
    pivot[1] = key == 0xffffffffu ? key : key + 1;
    Sums sums[kWays - 1];
    sums_from(pivot, sums);
    const u64 at_key = sums[0].weight - sums[1].weight, ties_there = sums[0].count - sums[1].count;
    return beyond.weight + (ties_there > ties ? sums[1].weight + at_key / ties_there * ties : sums[0].weight);
  }

  // Goes down the keys until reached(sums) holds for all from a key on. Returns that key and the sums above it.
  template <class Reached>
  __device__ u32 descend(const Reached& reached, Sums& above) const {
    u64 low = key, high = static_cast<u64>(first_key) + 1;
    above = {};
    while (high - low > 1) {
      u32 pivot[kWays - 1];
#pragma unroll
      for (int j = 0; j < kWays - 1; ++j) pivot[j] = static_cast<u32>(low + (high - low) * (j + 1) / kWays);
      Sums sums[kWays - 1];
      sums_from(pivot, sums);
      u64 new_low = low, new_high = high;
#pragma unroll
      for (int j = 0; j < kWays - 1; ++j) {
        if (reached(sums[j])) {
          new_low = larger(new_low, pivot[j]);
        } else if (pivot[j] < new_high) {
          new_high = pivot[j];
          above = sums[j];
        }
      }
      low = new_low, high = new_high;
    }
    return static_cast<u32>(low);
  }

  // The weight of one candidate with this key, which exists.
  __device__ u64 weight_at(u32 k) const {
    __shared__ u64 found;
#pragma unroll 8
    for (int i = threadIdx.x; i < n; i += kChooseThreads)
      if (at.key(i) == k) found = at.weight(i);
    __syncthreads();
    const u64 weight = found;
    __syncthreads();
    return weight;
  }

  // The smallest count >= 1 for which reached(above + count of this weight) holds.
  template <class Reached>
  __device__ static u64 ties_needed(const Reached& reached, const Sums& above, u64 weight) {
    u64 low = 0, high = 1;
    const auto holds = [&](u64 count) {
      return reached(Sums{above.weight + count * weight, static_cast<u32>(above.count + count)});
    };
    while (high < (1ull << 31) && !holds(high)) low = high, high *= 2;
    while (high - low > 1) {
      const u64 middle = (low + high) / 2;
      (holds(middle) ? high : low) = middle;
    }
    return high;
  }

  // Keeps the shortest prefix that reaches. False: its end lies beyond the candidates at hand.
  template <class Reached>
  __device__ bool keep(const Reached& reached) {
    if (!reached(all())) return beyond.count == 0;  // else there are fewer: all are kept
    Sums above;
    const u32 k = descend(reached, above);
    const u64 count = ties_needed(reached, above, weight_at(k));
    ties = k == key ? min(ties, count) : count;
    key = k;
    beyond = {};
    return true;
  }

  // How many candidates pass, on every thread.
  template <class Passes>
  __device__ u64 count_of(const Passes& passes) const {
    __shared__ u64 shared[kChooseThreads / 32];
    u64 mine = 0;
    for (int i = threadIdx.x; i < n; i += kChooseThreads) mine += passes(i);
    return block_sum(mine, shared);
  }

  // The count-th (from 1) of the candidates with this key, by id: the one with count - 1 lower ids. Where candidates
  // lie in the order of their ids, first the part of them it lies in.
  __device__ int nth(u32 k, u64 count) const {
    if constexpr (Source::kById) {
      __shared__ u32 counts[kChooseThreads];
      const int each = (n + kChooseThreads - 1) / kChooseThreads;
      u32 mine = 0;
      for (int i = static_cast<int>(threadIdx.x) * each; i < min((static_cast<int>(threadIdx.x) + 1) * each, n); ++i)
        mine += at.key(i) == k;
      counts[threadIdx.x] = mine;
      __syncthreads();
      int part = 0;
      for (; counts[part] < count; ++part) count -= counts[part];
      __syncthreads();
      for (int i = part * each;; ++i)
        if (at.key(i) == k && --count == 0) return i;
    } else {
      int low = 0, high = INT32_MAX;  // the id is in [low, high)
      while (high - low > 1) {
        const int middle = low + (high - low) / 2;
        const u64 below = count_of([&](int i) { return at.key(i) == k && at.id(i) < middle; });
        (below >= count ? high : low) = middle;
      }
      return low;
    }
  }

  // The drawn id, or -1 where a limit lies beyond the candidates at hand. `list` has room for kListed candidates: what
  // a filter leaves of a whole row goes there, if it fits, and the rest is done among these. `filter`: 0 from top_k on,
  // 1 from top_p on, 2 from min_p on.
  __device__ int draw(const ops::SampleRow& wish, int vocab, Candidate* list, int filter = 0) {
    if (filter <= 0 && wish.top_k > 0 && wish.top_k < vocab) {
      const u32 k = static_cast<u32>(wish.top_k);
      if (!keep([k](const Sums& sums) { return sums.count >= k; })) return -1;
      if (Source::kById && fits()) return listed(list).draw(wish, vocab, list, 1);
    }
    if (filter <= 1 && wish.top_p < 1) {
      const double wanted = static_cast<double>(wish.top_p) * static_cast<double>(total());
      if (!keep([wanted](const Sums& sums) { return static_cast<double>(sums.weight) >= wanted; })) return -1;
      if (Source::kById && fits()) return listed(list).draw(wish, vocab, list, 2);
    }
    if (wish.min_p > 0) {
      least = static_cast<u64>(ceil(static_cast<double>(wish.min_p) * kOne));
      if (least >= kListedWeight) beyond = {};
      if (beyond.count > 0) return -1;
    }
    const double target = num::uniform(wish.seed, wish.counter) * static_cast<double>(total());
    const auto drawn = [target](const Sums& sums) { return static_cast<double>(sums.weight) > target; };
    if (beyond.count > 0 && !drawn(all())) return -1;
    Sums above;
    const u32 k = descend(drawn, above);
    return nth(k, ties_needed(drawn, above, weight_at(k)));
  }

  __device__ bool fits() const { return all().count <= kListed; }

  // The candidates that are left, ties included, as a list.
  __device__ Chooser<Listed> listed(Candidate* list) const {
    __shared__ u32 count;
    if (threadIdx.x == 0) count = 0;
    __syncthreads();
#pragma unroll 8
    for (int i = threadIdx.x; i < n; i += kChooseThreads)
      if (at.key(i) >= key) list[atomicAdd(&count, 1u)] = {at.key(i), static_cast<u32>(i), at.weight(i)};
    __syncthreads();
    return {.at = {list},
            .n = static_cast<int>(count),
            .key = key,
            .first_key = first_key,
            .beyond = {},
            .ties = ties,
            .least = least};
  }
};

__global__ void __launch_bounds__(kChooseThreads) choose_kernel(SampleParams p, void* workspace) {
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const ops::SampleRow wish = p.row[blockIdx.x];
  const Parts parts = parts_of(p, workspace);
  const Scan all = whole(p, parts, blockIdx.x);
  int id = all.nan != 0 || all.finite == 0 ? -1 : id_of(all.best);
  if (id >= 0 && wish.temperature != 0) {
    const u32 first_key = static_cast<u32>(all.best >> 32), lowest = key_of(-INFINITY) + 1;
    const u32 listed = parts.listed[blockIdx.x];
    id = -1;
    Candidate* const list = parts.candidates + static_cast<std::int64_t>(blockIdx.x) * kListed;
    if (listed <= kListed) {
      Chooser<Listed> chooser{.at = {list}, .n = static_cast<int>(listed), .key = lowest, .first_key = first_key};
      const Sums there = chooser.all();
      chooser.beyond = {all.weight - there.weight, all.count - there.count};
      id = chooser.draw(wish, p.vocab, list);
    }
    if (id < 0) {
      const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * p.vocab;
      Chooser<WholeRow> chooser{
          .at = {parts.logits + row, parts.weights + row}, .n = p.vocab, .key = lowest, .first_key = first_key};
      id = chooser.draw(wish, p.vocab, list);
    }
  }
  if (threadIdx.x == 0) p.out[blockIdx.x] = id;
}

}  // namespace

std::int64_t sample_workspace(const SampleParams& p) {
  const std::int64_t rows = p.rows;
  return rows * chunks_of(p.vocab) * static_cast<std::int64_t>(sizeof(Scan)) +
         rows * kListed * static_cast<std::int64_t>(sizeof(Candidate)) + rows * p.vocab * 12 + rows * 4;
}

cudaError_t sample_rows(const SampleParams& p, void* workspace, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(chunks_of(p.vocab)), static_cast<unsigned>(p.rows));
  if (const cudaError_t code = launch(scan_kernel, grid, kScanThreads, 0, stream, p, workspace); code != cudaSuccess)
    return code;
  if (const cudaError_t code = launch(weigh_kernel, grid, kScanThreads, 0, stream, p, workspace); code != cudaSuccess)
    return code;
  return launch(choose_kernel, dim3(static_cast<unsigned>(p.rows)), kChooseThreads, 0, stream, p, workspace);
}

}  // namespace rl::cuda
