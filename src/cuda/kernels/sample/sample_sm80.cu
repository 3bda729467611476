// sample: three kernels, so that all multiprocessors share what touches every logit once.
//   scan     chunks of a row: penalties, the largest logit and its lowest id, NaN and infinities
//   weigh    chunks of a row that draws: exp in double, as whole multiples of 2^-40; sums by bin of the distance to the
//            largest logit
//   choose   a block per row: a greedy row takes the largest; of others each filter's limit, and the drawn token, lies
//            in a bin that the sums tell, whose candidates alone are listed and searched. Where a bin has too many
//            (equal logits by the thousand), bisection over the bits of the whole row's logits, eight ways a pass
// Bytes: a greedy row reads its logits once, a bin's listing once more. Sums of whole numbers do not depend on their
// order: equal bits every time.

#include "cuda/kernels/common/element.cuh"
#include "cuda/kernels/sample/sample.h"
#include "cuda/ptx/ptx.h"
#include "num/random.h"

namespace rl::cuda {
namespace {

constexpr int kChunk = 2048, kScanThreads = 256, kChooseThreads = 512;
constexpr double kOne = 1ll << 40;  // the weight of the largest logit

using u32 = std::uint32_t;
using u64 = unsigned long long;

__host__ __device__ int chunks_of(int vocab) { return (vocab + kChunk - 1) / kChunk; }

// Of one chunk of a row.
struct Scan {
  u64 best;  // key of the largest logit, then the bits of its id turned over: the largest of these has the lowest id
  int nan, finite;
};

// Bins of a row's candidates by their distance to the largest logit, up to where weights round to nothing: e^-28 is
// less than 2^-40. Candidates of a nearer bin come before those of a farther one.
constexpr int kBins = 2048;
constexpr float kBinsPerUnit = kBins / 28.0f;  // at temperature 1

struct Sums {
  u64 weight;
  u32 count;
};

// A listed candidate.
struct Candidate {
  u32 key, id;
  u64 weight;
};
constexpr int kListed = 1024;  // at most, in shared memory

// Workspace: Scan [rows, chunks], the bins' weights u64 [rows, kBins] and counts u32 [rows, kBins], weights u64 [rows,
// vocab], adjusted logits f32 [rows, vocab].
struct Parts {
  u64* weights;
  u64* bin_weights;
  Scan* scans;
  float* logits;
  u32* bin_counts;
};
__host__ __device__ Parts parts_of(const SampleParams& p, void* workspace) {
  const std::int64_t rows = p.rows;
  Parts parts;
  parts.weights = static_cast<u64*>(workspace);
  parts.bin_weights = parts.weights + rows * p.vocab;
  parts.scans = reinterpret_cast<Scan*>(parts.bin_weights + rows * kBins);
  parts.logits = reinterpret_cast<float*>(parts.scans + rows * chunks_of(p.vocab));
  parts.bin_counts = reinterpret_cast<u32*>(parts.logits + rows * p.vocab);
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

// Monotonous in x: each step rounds to nearest.
__device__ int bin_of(float x, float most, float bins_per_unit) {
  if (x == most) return 0;
  return static_cast<int>(fminf(__fmul_rn(__fsub_rn(most, x), bins_per_unit), kBins - 1));
}
__device__ float bins_per_unit_of(const ops::SampleRow& wish) { return __fdiv_rn(kBinsPerUnit, wish.temperature); }

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
  if (wish.temperature != 0)
    for (int b = blockIdx.x * kScanThreads + threadIdx.x; b < kBins; b += gridDim.x * kScanThreads) {
      parts.bin_weights[static_cast<std::int64_t>(blockIdx.y) * kBins + b] = 0;
      parts.bin_counts[static_cast<std::int64_t>(blockIdx.y) * kBins + b] = 0;
    }
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kScanThreads / 32; ++w) best = larger(best, best_shared[w]);
  parts.scans[static_cast<std::int64_t>(blockIdx.y) * chunks_of(p.vocab) + blockIdx.x] = {
      .best = best, .nan = nan, .finite = finite};
}

// Of the whole row, on every thread of a warp.
__device__ Scan whole(const SampleParams& p, const Parts& parts, int row) {
  const Scan* scans = parts.scans + static_cast<std::int64_t>(row) * chunks_of(p.vocab);
  Scan all{};
  for (int c = threadIdx.x % 32; c < chunks_of(p.vocab); c += 32) {
    all.best = larger(all.best, scans[c].best);
    all.nan |= scans[c].nan;
    all.finite |= scans[c].finite;
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    all.best = larger(all.best, __shfl_xor_sync(0xffffffffu, all.best, offset));
  all.nan = __any_sync(0xffffffffu, all.nan);
  all.finite = __any_sync(0xffffffffu, all.finite);
  return all;
}

// A chunk's weights of a bin, below 2^40 each, in two halves of 20 bits whose sums fit.
constexpr int kHalf = 20;
static_assert((1ull << kHalf) * kChunk <= 1ull << 32);

__global__ void __launch_bounds__(kScanThreads, 2) weigh_kernel(SampleParams p, void* workspace) {
  __shared__ u32 low[kBins], high[kBins], counts[kBins];
  for (int b = threadIdx.x; b < kBins; b += kScanThreads) low[b] = high[b] = counts[b] = 0;
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const ops::SampleRow wish = p.row[blockIdx.y];
  if (wish.temperature == 0) return;
  const Parts parts = parts_of(p, workspace);
  const Scan all = whole(p, parts, blockIdx.y);
  if (all.nan != 0 || all.finite == 0) return;
  __syncthreads();
  const float most = number_of(static_cast<u32>(all.best >> 32)), bins_per_unit = bins_per_unit_of(wish);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * p.vocab;
  const int end = min((static_cast<int>(blockIdx.x) + 1) * kChunk, p.vocab);
  for (int i = static_cast<int>(blockIdx.x) * kChunk + static_cast<int>(threadIdx.x); i < end; i += kScanThreads) {
    const float x = parts.logits[row + i];
    const double exact =
        x == most ? 1
                  : exp((static_cast<double>(x) - static_cast<double>(most)) / static_cast<double>(wish.temperature));
    const u64 weight = static_cast<u64>(llrint(exact * kOne));
    parts.weights[row + i] = weight;
    if (!(x > -INFINITY)) continue;
    const int b = bin_of(x, most, bins_per_unit);
    atomicAdd(&low[b], static_cast<u32>(weight & ((1u << kHalf) - 1)));
    atomicAdd(&high[b], static_cast<u32>(weight >> kHalf));
    atomicAdd(&counts[b], 1u);
  }
  __syncthreads();
  const std::int64_t bins = static_cast<std::int64_t>(blockIdx.y) * kBins;
  for (int b = threadIdx.x; b < kBins; b += kScanThreads) {
    if (counts[b] == 0) continue;
    atomicAdd(&parts.bin_weights[bins + b], (static_cast<u64>(high[b]) << kHalf) + low[b]);
    atomicAdd(&parts.bin_counts[bins + b], counts[b]);
  }
}

constexpr int kWays = 8, kBatch = 4, kListBatch = 8;

// A whole row, or its listed candidates.
struct WholeRow {
  const float* logits;
  const u64* weights;
  __device__ u32 key(int i) const { return key_of(logits[i]); }
  __device__ u64 weight(int i) const { return weights[i]; }
};
struct Listed {
  const Candidate* candidates;
  __device__ u32 key(int i) const { return candidates[i].key; }
  __device__ u64 weight(int i) const { return candidates[i].weight; }
};

// The smallest count >= 1 for which reached(above + count of this weight) holds.
template <class Reached>
__device__ u64 ties_needed(const Reached& reached, const Sums& above, u64 weight) {
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

// Searches n candidates with keys in [key, first_key] by bisection. Sums are those from some key on, larger keys first.
template <class Source>
struct Search {
  Source at;
  int n;
  u32 key, first_key;
  u64 least = 0;  // lighter candidates count for nothing

  // Sums from each of the pivots on, on every thread.
  __device__ void sums_from(const u32 (&pivot)[kWays - 1], Sums (&sums)[kWays - 1]) const {
    __shared__ u64 weight_shared[kWays - 1][kChooseThreads / 32];
    __shared__ u32 count_shared[kWays - 1][kChooseThreads / 32];
#pragma unroll
    for (int j = 0; j < kWays - 1; ++j) sums[j] = {0, 0};
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
      sums[j] = {0, 0};
      for (int w = 0; w < kChooseThreads / 32; ++w)
        sums[j].weight += weight_shared[j][w], sums[j].count += count_shared[j][w];
    }
    __syncthreads();
  }

  // All of them from `from` on.
  __device__ Sums sum(u32 from) const {
    u32 pivot[kWays - 1];
    for (u32& x : pivot) x = from;
    Sums sums[kWays - 1];
    sums_from(pivot, sums);
    return sums[0];
  }

  // Goes down the keys until reached(sums) holds for all from a key on. Returns that key and the sums above it.
  template <class Reached>
  __device__ u32 descend(const Reached& reached, Sums& above) const {
    u64 low = key, high = static_cast<u64>(first_key) + 1;
    above = {0, 0};
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
};

// The first of a row's candidates, in their order: what is left of it by the filters. All keys above `key`, and the
// first `ties` of those equal to it.
struct Left {
  u32 key;
  u64 ties;
  Sums sums;
};

// A row by its bins.
struct Bins {
  const float* logits;  // of the row
  const u64* weights;
  int vocab;
  float most, bins_per_unit;
  u64* weight_through;  // [kBins], shared: sums of bins 0 to this one
  u32* count_through;
  Candidate* list;                           // [kListed], shared
  int first_bin = -1, last_bin = -1, n = 0;  // listed
  u32 least_key = 0, largest_key = 0;        // of these

  __device__ Sums before(int bin) const {
    return bin == 0 ? Sums{0, 0} : Sums{weight_through[bin - 1], count_through[bin - 1]};
  }

  // Running sums of the bins: a warp each for weights and counts.
  __device__ void sum_up(const u64* bin_weights, const u32* bin_counts) {
    for (int b = threadIdx.x; b < kBins; b += kChooseThreads)
      weight_through[b] = bin_weights[b], count_through[b] = bin_counts[b];
    __syncthreads();
    constexpr int kEach = kBins / 32;
    const int lane = threadIdx.x % 32;
    const auto run = [&](auto* through) {
      auto total = through[lane * kEach];
      for (int i = 1; i < kEach; ++i) total += through[lane * kEach + i];
      auto running = total;
#pragma unroll
      for (int offset = 1; offset < 32; offset *= 2) {
        const auto other = __shfl_up_sync(0xffffffffu, running, offset);
        if (lane >= offset) running += other;
      }
      running -= total;
      for (int i = 0; i < kEach; ++i) through[lane * kEach + i] = running += through[lane * kEach + i];
    };
    if (threadIdx.x / 32 == 0) run(weight_through);
    if (threadIdx.x / 32 == 1) run(count_through);
    __syncthreads();
  }

  // The first bin with which reached(sums) holds; kBins: none.
  template <class Reached>
  __device__ int find(const Reached& reached) const {
    int low = -1, high = kBins;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (reached(Sums{weight_through[middle], count_through[middle]}) ? high : low) = middle;
    }
    return high;
  }

  // Lists the candidates of these bins. False: there are too many.
  __device__ bool gather(int first, int last) {
    if (first == first_bin && last == last_bin) return true;
    __shared__ u32 count, least, largest;
    const Sums through{weight_through[last], count_through[last]};
    if (through.count - before(first).count > kListed) return false;
    if (threadIdx.x == 0) count = 0, least = 0xffffffffu, largest = 0;
    __syncthreads();
    for (int begin = threadIdx.x; begin < vocab; begin += kListBatch * kChooseThreads) {
      float x[kListBatch];
#pragma unroll
      for (int b = 0; b < kListBatch; ++b) {
        const int i = begin + b * kChooseThreads;
        x[b] = i < vocab ? logits[i] : -INFINITY;
      }
#pragma unroll
      for (int b = 0; b < kListBatch; ++b) {
        if (!(x[b] > -INFINITY)) continue;
        const int bin = bin_of(x[b], most, bins_per_unit), i = begin + b * kChooseThreads;
        if (bin < first || bin > last) continue;
        const u32 key = key_of(x[b]);
        list[atomicAdd(&count, 1u)] = {key, static_cast<u32>(i), weights[i]};
        atomicMin(&least, key);
        atomicMax(&largest, key);
      }
    }
    __syncthreads();
    n = static_cast<int>(count), least_key = least, largest_key = largest;
    first_bin = first, last_bin = last;
    __syncthreads();
    return true;
  }

  __device__ Search<Listed> search() const {
    return {.at = {list}, .n = n, .key = least_key, .first_key = largest_key};
  }

  // Cuts `left` to the shortest prefix that reaches, if it does. False: it ends in a bin that cannot be listed.
  template <class Reached>
  __device__ bool cut(const Reached& reached, Left& left) {
    const int bin = find(reached);
    if (bin == kBins) return true;
    if (!gather(bin, bin)) return false;
    const Sums base = before(bin);
    const auto with_base = [&](const Sums& sums) {
      return reached(Sums{base.weight + sums.weight, base.count + sums.count});
    };
    const Search<Listed> within = search();
    Sums above;
    const u32 key = within.descend(with_base, above);
    above = {above.weight + base.weight, above.count + base.count};
    const u64 weight = within.weight_at(key);
    u64 ties = ties_needed(reached, above, weight);
    if (key == left.key) ties = min(ties, left.ties);
    left = {key, ties, {above.weight + ties * weight, static_cast<u32>(above.count + ties)}};
    return true;
  }

  // Cuts `left` where weights fall below `least`, which is min_p as a weight: in one of three bins, for the logarithm
  // and the weights' rounding move it by far less than one.
  __device__ bool cut_light(float min_p, u64 least, Left& left) {
    const float near = -logf(min_p) * kBinsPerUnit;
    const int bin = static_cast<int>(fminf(fmaxf(near, 0.0f), kBins - 1));
    const int first = max(bin - 1, 0), last = min(bin + 1, kBins - 1);
    if (!gather(first, last)) return false;
    Sums sums = before(first);
    u32 key = 0;  // of nobody
    if (n > 0) {
      Search<Listed> heavy = search();
      heavy.least = least;
      const Sums there = heavy.sum(least_key);
      if (there.count > 0) {
        Sums above;
        key = heavy.descend([&](const Sums& s) { return s.count >= there.count; }, above);
        sums = {sums.weight + there.weight, sums.count + there.count};
      }
    }
    if (sums.count < left.sums.count) left = {key, ~0ull, sums};
    return true;
  }

  // The drawn id, or -1 where a bin that matters cannot be listed.
  __device__ int draw(const ops::SampleRow& wish) {
    Left left{0, ~0ull, {weight_through[kBins - 1], count_through[kBins - 1]}};
    if (wish.top_k > 0 && wish.top_k < vocab) {
      const u32 k = static_cast<u32>(wish.top_k);
      if (!cut([k](const Sums& sums) { return sums.count >= k; }, left)) return -1;
    }
    if (wish.top_p < 1) {
      const double wanted = static_cast<double>(wish.top_p) * static_cast<double>(left.sums.weight);
      if (!cut([wanted](const Sums& sums) { return static_cast<double>(sums.weight) >= wanted; }, left)) return -1;
    }
    if (wish.min_p > 0) {
      const u64 least = static_cast<u64>(ceil(static_cast<double>(wish.min_p) * kOne));
      if (!cut_light(wish.min_p, least, left)) return -1;
    }
    const double target = num::uniform(wish.seed, wish.counter) * static_cast<double>(left.sums.weight);
    const auto drawn = [target](const Sums& sums) { return static_cast<double>(sums.weight) > target; };
    if (!drawn(left.sums) || !cut(drawn, left)) return -1;
    return nth(left.key, left.ties);
  }

  // Of the listed candidates with this key, the one with count - 1 lower ids.
  __device__ int nth(u32 key, u64 count) const {
    __shared__ u32 found;
    for (int i = threadIdx.x; i < n; i += kChooseThreads) {
      if (list[i].key != key) continue;
      u64 lower = 0;
      for (int j = 0; j < n; ++j) lower += list[j].key == key && list[j].id < list[i].id;
      if (lower == count - 1) found = list[i].id;
    }
    __syncthreads();
    return static_cast<int>(found);
  }
};

// A row by bisection over its bits, whatever its logits are.
struct Bisection {
  Search<WholeRow> all;  // its key: the last that is left
  u64 ties = ~0ull;      // of that key are left

  // The weight of all that is left.
  __device__ u64 total() const {
    const Sums from = all.sum(all.key), above = all.sum(all.key == 0xffffffffu ? all.key : all.key + 1);
    const u64 at_key = from.weight - above.weight, ties_there = from.count - above.count;
    return ties_there > ties ? above.weight + at_key / ties_there * ties : from.weight;
  }

  template <class Reached>
  __device__ void cut(const Reached& reached) {
    if (!reached(all.sum(all.key))) return;  // there are fewer: all are kept
    Sums above;
    const u32 key = all.descend(reached, above);
    const u64 count = ties_needed(reached, above, all.weight_at(key));
    ties = key == all.key ? min(ties, count) : count;
    all.key = key;
  }

  __device__ int draw(const ops::SampleRow& wish) {
    if (wish.top_k > 0 && wish.top_k < all.n) {
      const u32 k = static_cast<u32>(wish.top_k);
      cut([k](const Sums& sums) { return sums.count >= k; });
    }
    if (wish.top_p < 1) {
      const double wanted = static_cast<double>(wish.top_p) * static_cast<double>(total());
      cut([wanted](const Sums& sums) { return static_cast<double>(sums.weight) >= wanted; });
    }
    if (wish.min_p > 0) all.least = static_cast<u64>(ceil(static_cast<double>(wish.min_p) * kOne));
    const double target = num::uniform(wish.seed, wish.counter) * static_cast<double>(total());
    const auto drawn = [target](const Sums& sums) { return static_cast<double>(sums.weight) > target; };
    Sums above;
    const u32 key = all.descend(drawn, above);
    return nth(key, ties_needed(drawn, above, all.weight_at(key)));
  }

  // Of the candidates with this key, the one with count - 1 lower ids: first the part of the row it lies in.
  __device__ int nth(u32 key, u64 count) const {
    __shared__ u32 counts[kChooseThreads];
    const int n = all.n, each = (n + kChooseThreads - 1) / kChooseThreads;
    u32 mine = 0;
    for (int i = static_cast<int>(threadIdx.x) * each; i < min((static_cast<int>(threadIdx.x) + 1) * each, n); ++i)
      mine += all.at.key(i) == key;
    counts[threadIdx.x] = mine;
    __syncthreads();
    int part = 0;
    for (; counts[part] < count; ++part) count -= counts[part];
    __syncthreads();
    for (int i = part * each;; ++i)
      if (all.at.key(i) == key && --count == 0) return i;
  }
};

__global__ void __launch_bounds__(kChooseThreads) choose_kernel(SampleParams p, void* workspace) {
  __shared__ u64 weight_through[kBins];
  __shared__ u32 count_through[kBins];
  __shared__ Candidate list[kListed];
  ptx::wait_for_predecessors();
  ptx::let_successors_begin();
  const ops::SampleRow wish = p.row[blockIdx.x];
  const Parts parts = parts_of(p, workspace);
  const Scan all = whole(p, parts, blockIdx.x);
  int id = all.nan != 0 || all.finite == 0 ? -1 : id_of(all.best);
  if (id >= 0 && wish.temperature != 0) {
    const u32 first_key = static_cast<u32>(all.best >> 32);
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * p.vocab;
    const std::int64_t bins_at = static_cast<std::int64_t>(blockIdx.x) * kBins;
    Bins bins{.logits = parts.logits + row,
              .weights = parts.weights + row,
              .vocab = p.vocab,
              .most = number_of(first_key),
              .bins_per_unit = bins_per_unit_of(wish),
              .weight_through = weight_through,
              .count_through = count_through,
              .list = list};
    bins.sum_up(parts.bin_weights + bins_at, parts.bin_counts + bins_at);
    id = bins.draw(wish);
    if (id < 0) {
      Bisection bisection{.all = {.at = {parts.logits + row, parts.weights + row},
                                  .n = p.vocab,
                                  .key = key_of(-INFINITY) + 1,
                                  .first_key = first_key}};
      id = bisection.draw(wish);
    }
  }
  if (threadIdx.x == 0) p.out[blockIdx.x] = id;
}

}  // namespace

std::int64_t sample_workspace(const SampleParams& p) {
  const std::int64_t rows = p.rows;
  return rows * chunks_of(p.vocab) * static_cast<std::int64_t>(sizeof(Scan)) + rows * (p.vocab + kBins) * 12;
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
