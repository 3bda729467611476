#include "base/sha256.h"
#include "model/synthetic.h"
#include "model/weight_names.h"
#include "num/random.h"

namespace rl::model {
namespace {

constexpr std::int64_t kBlock = 1 << 16;  // elements under one pair of keys

// bf16 of a finite value, to nearest even.
std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// One loop without branches or memory besides `out`: the compiler makes vector code of it on any machine.
void generate_block(std::uint32_t key0, std::uint32_t key1, std::uint32_t first, std::int64_t n, float scale,
                    float offset, std::uint16_t* out) {
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int32_t x = num::hashed_normal(key0, key1, first + static_cast<std::uint32_t>(i));
    out[i] = to_bf16(static_cast<float>(x) * scale + offset);
  }
}

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  return hash;
}

class Generated final : public WeightSource {
 public:
  Generated(const ModelConfig& config, std::uint64_t seed) : seed_(seed) {
    for (const WeightSpec& spec : weights_of(config)) {
      const auto inputs = static_cast<double>(spec.shape.back());
      const auto layers = static_cast<double>(config.layers);
      Recipe recipe{.stream = fnv1a(spec.name)};
      switch (spec.role) {
        case Role::embedding:
        case Role::head:
        case Role::projection:
          recipe.deviation = 1 / std::sqrt(inputs);
          break;
        case Role::residual_projection:
          recipe.deviation = 1 / std::sqrt(2 * layers * inputs);
          break;
        case Role::norm:
        case Role::head_norm:
          recipe.deviation = 0.1;
          recipe.mean = 1;
          break;
        case Role::bias:
          recipe.deviation = 0.1;
          break;
      }
      recipes_.emplace(spec.name, recipe);
      infos_.emplace(spec.name, Info{.dtype = DType::bf16, .shape = spec.shape, .stored = "BF16"});
    }
  }

  const std::map<std::string, Info>& tensors() const override { return infos_; }

  Result<TensorRef> rows(const std::string& name, std::int64_t first, std::int64_t n,
                         std::vector<std::byte>& scratch) const override {
    RL_ASSIGN(const Info* info, find(name, first, n));
    const auto& shape = info->shape;
    const std::int64_t cols = shape.size() == 2 ? shape[1] : 1;
    const auto bytes = static_cast<std::size_t>(n * cols) * sizeof(std::uint16_t);
    if (scratch.size() < bytes) scratch.resize(bytes);
    generate(name, first * cols, n * cols, scratch.data());
    return shape.size() == 2 ? tensor(static_cast<void*>(scratch.data()), DType::bf16, {n, cols})
                             : tensor(static_cast<void*>(scratch.data()), DType::bf16, {n});
  }

  Status read(const std::string& name, std::int64_t first, std::int64_t n, std::span<std::byte> out) const override {
    RL_ASSIGN(const Info* info, find(name, first, n));
    const std::int64_t cols = info->shape.size() == 2 ? info->shape[1] : 1;
    RL_CHECK(std::ssize(out) == n * cols * std::int64_t{sizeof(std::uint16_t)});
    generate(name, first * cols, n * cols, out.data());
    return ok();
  }

 private:
  struct Recipe {
    std::uint64_t stream = 0;
    double deviation = 0, mean = 0;
  };

  Result<const Info*> find(const std::string& name, std::int64_t first, std::int64_t n) const {
    const auto found = infos_.find(name);
    Error error{.kind = ErrorKind::invalid_input, .what = "no such tensor", .rule = "weights.missing", .field = name};
    if (found == infos_.end()) return error;
    const std::int64_t rows = found->second.shape[0];
    error.what = "rows of a tensor that has none of them";
    error.rule = "weights.rows";
    if (first < 0 || n < 0 || first > rows || n > rows - first) return error;
    return &found->second;
  }
  void generate(const std::string& name, std::int64_t first, std::int64_t n, std::byte* out) const {
    const Recipe& recipe = recipes_.at(name);
    generate_bf16(seed_, recipe.stream, first, n, static_cast<float>(recipe.deviation), static_cast<float>(recipe.mean),
                  reinterpret_cast<std::uint16_t*>(out));
  }

  std::uint64_t seed_;
  std::map<std::string, Info> infos_;
  std::map<std::string, Recipe> recipes_;
};

}  // namespace

void generate_bf16(std::uint64_t seed, std::uint64_t stream, std::int64_t first, std::int64_t n, float scale,
                   float offset, std::uint16_t* out) {
  while (n > 0) {
    const std::int64_t within = first % kBlock, part = std::min(n, kBlock - within);
    const num::PhiloxBlock keys = num::random_block(seed, stream, static_cast<std::uint64_t>(first / kBlock));
    generate_block(keys[0], keys[1], static_cast<std::uint32_t>(within), part, scale * num::kInverseDeviation, offset,
                   out);
    first += part;
    n -= part;
    out += part;
  }
}

Result<ModelSource> synthetic_model(std::string name, const ModelConfig& config, std::uint64_t seed) {
  RL_TRY(check_config(config));
  ModelSource source{.name = std::move(name), .config = config, .synthetic = true, .stored_as = "bf16"};
  source.config.declared_dtype = "bfloat16";
  source.weights = std::make_unique<Generated>(config, seed);
  // A change of the generator's numbers changes this word.
  source.fingerprint = Sha256()
                           .add("redline synthetic weights 1\n")
                           .add(write_config(source.config))
                           .add(static_cast<std::int64_t>(seed))
                           .hex();
  return source;
}

}  // namespace rl::model
