#include "cpu/ref/ref.h"
#include "tensor/element.h"

namespace rl::cpu::ref {
namespace {

// One head of q or k, normed if there is a norm, then rotated.
void add_head(Values& values, const ops::RopeAppendArgs& args, std::vector<double> head, const TensorRef& norm,
              std::int64_t position) {
  const std::size_t head_dim = head.size(), half = head_dim / 2;
  if (norm) {
    double squares = 0;
    for (const double v : head) squares += v * v;
    const double root = std::sqrt(squares / static_cast<double>(head_dim) + static_cast<double>(args.eps));
    for (std::size_t i = 0; i < head_dim; ++i)
      head[i] = head[i] / root * static_cast<double>(norm.as<const float>()[i]);
  }
  const float* cos = args.cos.as<const float>() + position * static_cast<std::int64_t>(half);
  const float* sin = args.sin.as<const float>() + position * static_cast<std::int64_t>(half);
  for (std::size_t i = 0; i < head_dim; ++i) {
    const double c = static_cast<double>(cos[i % half]), s = static_cast<double>(sin[i % half]);
    const double straight = head[i] * c, crossed = i < half ? -head[i + half] * s : head[i - half] * s;
    values.value.push_back(straight + crossed);
    values.abs_terms.push_back(std::abs(straight) + std::abs(crossed));
  }
}

}  // namespace

RopeAppended rope_append(const ops::RopeAppendArgs& args) {
  RopeAppended result;
  const std::int64_t cols = args.qkv.shape[1];
  for (std::int64_t t = 0; t < args.qkv.shape[0]; ++t) {
    const std::int64_t position = args.positions.as<const std::int32_t>()[t];
    RL_CHECK(position >= 0 && position < args.cos.shape[0]);
    for (std::int64_t h = 0; h < args.heads + 2 * args.kv_heads; ++h) {
      std::vector<double> head;
      for (std::int64_t i = 0; i < args.head_dim; ++i)
        head.push_back(load_element(args.qkv.dtype, args.qkv.data, t * cols + h * args.head_dim + i));
      if (h < args.heads) {
        add_head(result.q, args, std::move(head), args.q_norm, position);
      } else if (h < args.heads + args.kv_heads) {
        add_head(result.k, args, std::move(head), args.k_norm, position);
      } else {
        for (const double v : head) {
          result.v.value.push_back(v);
          result.v.abs_terms.push_back(std::abs(v));
        }
      }
    }
  }
  return result;
}

}  // namespace rl::cpu::ref
