// sample: the same ids as cpu/ref, without sorting the vocabulary. What has to be in order is: the top k; the tokens
// that min_p leaves; or, where a draw is made from (nearly) all tokens, those that share a bucket of logits with the
// token drawn. Sums over buckets are rounded in another order than the reference's sum over sorted tokens; where that
// could decide, which is one draw in 1e5 for a vocabulary of 128k, the row is sorted after all.

#include <optional>

#include "base/checked.h"
#include "cpu/fast/simd_rows.h"
#include "cpu/fast/variants.h"
#include "num/random.h"

namespace rl::cpu {
namespace {

using ops::SampleRow;

struct Candidate {
  float logit = 0;
  TokenId id = 0;
  double weight = 0;  // relative to the most likely token's
};

// The order of the field: most likely first, the lower id among equals.
bool before(const Candidate& a, const Candidate& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

constexpr std::int32_t kBuckets = 2048;
constexpr std::int64_t kBlock = 512;  // logits weighed at a time: 4 KiB of weights
constexpr std::int64_t kMostSlots = 8;

// Memory of a row in work: candidates of the whole vocabulary, and the logits with penalties.
std::int64_t slot_bytes(std::int64_t vocab) {
  return round_up(vocab * static_cast<std::int64_t>(sizeof(Candidate)), kAlignment) +
         round_up(vocab * static_cast<std::int64_t>(sizeof(float)), kAlignment);
}
std::int64_t slots(const ops::SampleArgs& args) { return std::min(args.logits.shape[0], kMostSlots); }

class RowSampler {
 public:
  RowSampler(const ops::SampleArgs& args, const SmallOps& kernels, void* slot)
      : args_(args),
        kernels_(kernels),
        vocab_(args.logits.shape[1]),
        list_(static_cast<Candidate*>(slot)),
        penalised_(reinterpret_cast<float*>(
            static_cast<char*>(slot) + round_up(vocab_ * static_cast<std::int64_t>(sizeof(Candidate)), kAlignment))) {}

  TokenId sample(std::int64_t row) {
    wishes_ = args_.row[row];
    logits_ = args_.logits.as<const float>() + row * vocab_;
    penalise();
    const LogitScan scan = kernels_.scan_logits(logits_, vocab_);
    if (scan.nan || scan.maximum == -kInfinite) return -1;
    if (scan.maximum == kInfinite && !any_finite()) return -1;
    if (wishes_.temperature == 0) return static_cast<TokenId>(scan.index);

    maximum_ = scan.maximum;
    if (wishes_.top_k > 0 && wishes_.top_k < vocab_) return draw_from(select_top_k(wishes_.top_k));
    if (!(wishes_.temperature > 0) || maximum_ == kInfinite) return draw_from(gather_all());
    if (wishes_.top_p >= 1 && wishes_.min_p > 0) return draw_from(gather_min_p());
    if (const std::optional<TokenId> id = draw_by_buckets(scan.minimum)) return *id;
    return draw_from(gather_all());
  }

 private:
  static constexpr float kInfinite = std::numeric_limits<float>::infinity();

  // From the logits as given, so that a token that the history holds twice is penalised once.
  void penalise() {
    if (wishes_.repetition_penalty == 1 || !args_.history) return;
    std::copy(logits_, logits_ + vocab_, penalised_);
    const auto* const history = args_.history.as<const std::int32_t>();
    for (std::int32_t i = wishes_.history_begin; i < wishes_.history_end; ++i) {
      const std::int32_t id = history[i];
      if (id < 0 || id >= vocab_) continue;
      const float l = logits_[id];
      penalised_[id] = l > 0 ? l / wishes_.repetition_penalty : l * wishes_.repetition_penalty;
    }
    logits_ = penalised_;
  }

  bool any_finite() const {
    return std::any_of(logits_, logits_ + vocab_, [](float l) { return std::isfinite(l); });
  }

  double weight_of(float logit) const {
    const double below = static_cast<double>(logit) - static_cast<double>(maximum_);
    return logit == maximum_ ? 1 : std::exp(below / static_cast<double>(wishes_.temperature));
  }

  // Each of these leaves in list_ the first candidates in order, with weights, and returns how many.
  template <class Keep>
  std::int64_t gather(Keep&& keep) {
    std::int64_t n = 0;
    for (std::int64_t id = 0; id < vocab_; ++id)
      if (keep(logits_[id])) list_[n++] = {.logit = logits_[id], .id = static_cast<TokenId>(id)};
    return put_in_order(n);
  }
  std::int64_t put_in_order(std::int64_t n) {
    std::sort(list_, list_ + n, before);
    for (std::int64_t i = 0; i < n; ++i) list_[i].weight = weight_of(list_[i].logit);
    return n;
  }
  std::int64_t gather_all() {
    return gather([](float l) { return l > -kInfinite; });
  }
  // A little more than min_p leaves: draw_from applies the exact rule.
  std::int64_t gather_min_p() {
    const double reach = static_cast<double>(wishes_.temperature) * std::log(static_cast<double>(wishes_.min_p));
    const double least = static_cast<double>(maximum_) + std::min(0.0, reach) * (1 + 1e-9) -
                         std::abs(static_cast<double>(maximum_)) * 1e-9;
    return gather([&](float l) { return static_cast<double>(l) >= least && l > -kInfinite; });
  }
  // One pass that keeps what can still be among the k; the list is thinned out whenever it has doubled.
  std::int64_t select_top_k(std::int64_t k) {
    const std::int64_t capacity = std::min(vocab_, 2 * k + 64);
    std::int64_t n = 0;
    float least = -kInfinite;
    for (std::int64_t id = 0; id < vocab_; ++id) {
      if (!(logits_[id] > least)) continue;  // an equal one has a higher id than the k in hand
      list_[n++] = {.logit = logits_[id], .id = static_cast<TokenId>(id)};
      if (n < capacity || id + 1 == vocab_) continue;
      std::nth_element(list_, list_ + k - 1, list_ + n, before);
      n = k;
      least = list_[k - 1].logit;
    }
    if (n > k) {
      std::nth_element(list_, list_ + k - 1, list_ + n, before);
      n = k;
    }
    return put_in_order(n);
  }

  // The reference's filters and draw over list_[0, n), which it would have at the front of its own.
  TokenId draw_from(std::int64_t n) const {
    const auto sum_of = [&](std::int64_t count) {
      double sum = 0;
      for (std::int64_t i = 0; i < count; ++i) sum += list_[i].weight;
      return sum;
    };
    if (wishes_.top_p < 1) {
      const double wanted = static_cast<double>(wishes_.top_p) * sum_of(n);
      double sum = 0;
      std::int64_t kept = 0;
      while (kept < n && (kept == 0 || sum < wanted)) sum += list_[kept++].weight;
      n = kept;
    }
    while (n > 1 && list_[n - 1].weight < static_cast<double>(wishes_.min_p)) --n;
    const double target = num::uniform(wishes_.seed, wishes_.counter) * sum_of(n);
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      sum += list_[i].weight;
      if (sum > target) return list_[i].id;
    }
    return list_[n - 1].id;
  }

  // The token at which the sum of weights in order passes `target`, and that sum. Nothing if rounding might decide.
  struct Place {
    Candidate token;
    double sum = 0;
  };
  std::optional<Place> locate(double target, const double* sums, double doubt) {
    double sum = 0;
    std::int32_t bucket = 0;
    while (bucket <= buckets_.last && sum + sums[bucket] < target - doubt) sum += sums[bucket++];
    if (bucket > buckets_.last) return std::nullopt;
    std::int64_t n = 0;
    std::int32_t places[kBlock];
    for (std::int64_t first = 0; first < vocab_; first += kBlock) {
      const std::int64_t count = std::min(kBlock, vocab_ - first);
      kernels_.bucket_logits(logits_ + first, count, buckets_, places);
      for (std::int64_t i = 0; i < count; ++i)
        if (places[i] == bucket && logits_[first + i] > -kInfinite)
          list_[n++] = {.logit = logits_[first + i], .id = static_cast<TokenId>(first + i)};
    }
    put_in_order(n);
    for (std::int64_t i = 0; i < n; ++i) {
      sum += list_[i].weight;
      if (std::abs(sum - target) <= doubt) return std::nullopt;
      if (sum > target) return Place{list_[i], sum};
    }
    return std::nullopt;
  }

  std::optional<TokenId> draw_by_buckets(float minimum) {
    // Beyond 45 temperatures a token weighs 3e-20: one bucket for all of those.
    const double temperature = static_cast<double>(wishes_.temperature), maximum = static_cast<double>(maximum_);
    const double range = std::min(45 * temperature, maximum - static_cast<double>(minimum));
    buckets_ = {.maximum = maximum, .scale = range > 0 ? kBuckets / range : 0, .last = kBuckets - 1};
    double sums[kBuckets] = {};
    double weights[kBlock];
    std::int32_t places[kBlock];
    for (std::int64_t first = 0; first < vocab_; first += kBlock) {
      const std::int64_t count = std::min(kBlock, vocab_ - first);
      kernels_.bucket_logits(logits_ + first, count, buckets_, places);
      kernels_.weigh_logits(logits_ + first, count, maximum, 1 / temperature, weights);
      for (std::int64_t i = 0; i < count; ++i) sums[places[i]] += weights[i];
    }
    double all = 0;
    for (const double sum : sums) all += sum;
    // Two sums of n terms in different orders, and weights that differ by their last bits.
    const double doubt = (4 * static_cast<double>(vocab_) + 1024) * 0x1p-53 * all;

    double kept = all;
    if (wishes_.top_p < 1) {
      const auto cut = locate(static_cast<double>(wishes_.top_p) * all, sums, doubt);
      if (!cut) return std::nullopt;
      if (cut->token.weight < static_cast<double>(wishes_.min_p)) return draw_from_min_p();
      kept = cut->sum;
    }
    const auto drawn = locate(num::uniform(wishes_.seed, wishes_.counter) * kept, sums, doubt);
    if (!drawn) return std::nullopt;
    return drawn->token.id;
  }

  // min_p leaves fewer than top_p does: top_p, which the list could not decide, is spent.
  TokenId draw_from_min_p() {
    wishes_.top_p = 1;
    return draw_from(gather_min_p());
  }

  const ops::SampleArgs& args_;
  const SmallOps& kernels_;
  std::int64_t vocab_;
  Candidate* list_;   // [vocab]
  float* penalised_;  // [vocab]
  SampleRow wishes_;
  const float* logits_ = nullptr;
  float maximum_ = 0;
  LogitBuckets buckets_;
};

Bytes workspace(const ops::SampleArgs& args) { return {slots(args) * slot_bytes(args.logits.shape[1])}; }

Status launch(const ops::SampleArgs& args, void* memory, Stream& stream) {
  const SmallOps& kernels = small_ops(stream);
  const std::int64_t rows = args.logits.shape[0], vocab = args.logits.shape[1], workers = slots(args);
  auto* const out = args.out.as<std::int32_t>();
  // Worker i takes rows i, i + workers, ... in slot i.
  for_rows(stream, workers, vocab * ceil_div(rows, workers), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t worker = first; worker < last; ++worker) {
      RowSampler sampler(args, kernels, static_cast<char*>(memory) + worker * slot_bytes(vocab));
      for (std::int64_t row = worker; row < rows; row += workers) out[row] = sampler.sample(row);
    }
  });
  return ok();
}

constexpr ops::Variant<ops::SampleArgs> kVariants[] = {
    {"sample/cpu.select", kRowFacts, supports_any_cpu, workspace, launch}};

}  // namespace

std::span<const ops::Variant<ops::SampleArgs>> sample_variants() { return kVariants; }

}  // namespace rl::cpu
