#include <atomic>
#include <thread>

#include "cpu/ref/ref.h"
#include "ops/tolerance.h"
#include "tensor/element.h"

namespace rl::cpu::ref {
namespace {

// The keys that one query sees, [first, end) of its sequence.
struct View {
  std::int64_t sequence = 0, first = 0, end = 0;
};

View view_of(const ops::AttentionArgs& args, std::int64_t token) {
  const auto* cu_q = args.index.cu_q.as<const std::int32_t>();
  const auto* kv_len = args.index.kv_len.as<const std::int32_t>();
  std::int64_t s = 0;
  while (token >= cu_q[s + 1]) RL_CHECK(++s < args.index.kv_len.shape[0]);
  const std::int64_t position = kv_len[s] - (cu_q[s + 1] - token);
  RL_CHECK(position >= 0);
  View view{.sequence = s, .first = 0, .end = args.causal ? position + 1 : kv_len[s]};
  if (args.window > 0) view.first = std::max<std::int64_t>(0, view.end - args.window);
  return view;
}

// Row `position` of a sequence in the pages of one kv head: index of its first element.
std::int64_t row_offset(const ops::AttentionArgs& args, const TensorRef& pages, std::int64_t sequence,
                        std::int64_t position, std::int64_t kv_head) {
  const std::int64_t kv_heads = pages.shape[1], page_tokens = pages.shape[2], head_dim = pages.shape[3];
  const TensorRef& table = args.index.page_table;
  const std::int64_t page = table.as<const std::int32_t>()[sequence * table.shape[1] + position / page_tokens];
  RL_CHECK(page >= 0 && page < pages.shape[0]);
  return ((page * kv_heads + kv_head) * page_tokens + position % page_tokens) * head_dim;
}

// Fills in the head_dim values of one token and head, from `at` on.
void set_head(Values& values, std::size_t at, const ops::AttentionArgs& args, std::int64_t token, std::int64_t head,
              const View& view) {
  const std::int64_t head_dim = args.q.shape[2], group = args.q.shape[1] / args.kv.k.shape[1];
  const std::int64_t q = token * args.q.strides[0] + head * head_dim;
  const auto keys = static_cast<std::size_t>(view.end - view.first), dims = static_cast<std::size_t>(head_dim);
  const double scale = static_cast<double>(args.scale);

  std::vector<double> score(keys), score_abs(keys);
  for (std::size_t j = 0; j < keys; ++j) {
    const std::int64_t k =
        row_offset(args, args.kv.k, view.sequence, view.first + static_cast<std::int64_t>(j), head / group);
    for (std::int64_t i = 0; i < head_dim; ++i) {
      const double term =
          load_element(args.q.dtype, args.q.data, q + i) * load_element(args.kv.k.dtype, args.kv.k.data, k + i);
      score[j] += scale * term;
      score_abs[j] += scale * std::abs(term);
    }
  }
  const double largest = *std::max_element(score.begin(), score.end());
  double sum = 0;
  for (const double s : score) sum += std::exp(s - largest);

  std::vector<double> value(dims), abs_terms(dims), score_terms(dims), squares(dims), value_squares(dims);
  double weighted = 0, weight_squares = 0;
  for (std::size_t j = 0; j < keys; ++j) {
    const double p = std::exp(score[j] - largest) / sum;
    const double error = p * (score_abs[j] + std::abs(score[j] - largest) + 1);
    weighted += error;
    weight_squares += p * p;
    const std::int64_t v =
        row_offset(args, args.kv.v, view.sequence, view.first + static_cast<std::int64_t>(j), head / group);
    for (std::size_t i = 0; i < dims; ++i) {
      const double element = load_element(args.kv.v.dtype, args.kv.v.data, v + static_cast<std::int64_t>(i));
      value[i] += p * element;
      abs_terms[i] += p * std::abs(element);
      score_terms[i] += error * std::abs(element);
      squares[i] += p * p * element * element;
      value_squares[i] += element * element;
    }
  }
  for (std::size_t i = 0; i < dims; ++i) {
    values.value[at + i] = value[i];
    values.abs_terms[at + i] = abs_terms[i];
    values.score_terms[at + i] = score_terms[i] + std::abs(value[i]) * weighted;
    values.value_root[at + i] = std::sqrt(value_squares[i]);
    values.root_terms[at + i] = std::sqrt(squares[i]) + std::abs(value[i]) * std::sqrt(weight_squares);
  }
}

}  // namespace

Values attention(const ops::AttentionArgs& args, const Subset& tokens) {
  std::vector<std::int64_t> chosen = tokens.rows;
  if (chosen.empty()) {
    const std::int64_t in_use = args.index.cu_q.as<const std::int32_t>()[args.index.kv_len.shape[0]];
    for (std::int64_t t = 0; t < in_use; ++t) chosen.push_back(t);
  }
  std::vector<View> views;
  std::int64_t keys = 0;
  for (const std::int64_t token : chosen) {
    views.push_back(view_of(args, token));
    keys += views.back().end - views.back().first;
  }
  const std::int64_t heads = args.q.shape[1], head_dim = args.q.shape[2], parts = std::ssize(chosen) * heads;
  Values values;
  for (std::vector<double>* const v :
       {&values.value, &values.abs_terms, &values.score_terms, &values.value_root, &values.root_terms})
    v->resize(static_cast<std::size_t>(parts * head_dim));
  // Long sequences take seconds by one processor; others are not worth a thread.
  constexpr std::int64_t kLong = 1 << 27;  // products
  const bool is_long = keys * heads * head_dim >= kLong;
  const std::int64_t threads = is_long ? std::clamp<std::int64_t>(std::thread::hardware_concurrency(), 1, parts) : 1;
  std::atomic<std::int64_t> next = 0;
  const auto work = [&] {
    for (std::int64_t part = next++; part < parts; part = next++) {
      const auto token = static_cast<std::size_t>(part / heads);
      set_head(values, static_cast<std::size_t>(part * head_dim), args, chosen[token], part % heads, views[token]);
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (std::int64_t t = 1; t < threads; ++t) helpers.emplace_back(work);
    work();
  }
  return values;
}

ops::Comparison check_attention(const ops::AttentionArgs& args, const std::vector<std::int64_t>& tokens) {
  const Values ref = attention(args, {.rows = tokens});
  return ops::compare(args.out, {.rows = tokens}, ref.value, ops::tolerance(args, ref));
}

}  // namespace rl::cpu::ref
