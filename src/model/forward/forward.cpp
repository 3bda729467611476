#include "model/forward/forward.h"

#include "device/memory.h"
#include "quant/pack.h"

namespace rl::model {

const char* name_of(SiteKind kind) {
  switch (kind) {
    case SiteKind::embed:
      return "embed";
    case SiteKind::norm_in:
      return "norm_in";
    case SiteKind::qkv:
      return "qkv";
    case SiteKind::attention:
      return "attention";
    case SiteKind::linear_out:
      return "linear_out";
    case SiteKind::gate_up:
      return "gate_up";
    case SiteKind::head:
      return "head";
    case SiteKind::sample:
      return "sample";
  }
  return "?";
}

namespace {

class Builder {
 public:
  Builder(const ModelConfig& config, const ModelWeights& weights) : config_(config), weights_(weights) {}

  Forward build() {
    residual_ = value("residual", config_.hidden, Value::Rows::tokens, Value::Type::f32);
    add({.kind = SiteKind::embed, .name = "embed", .out = residual_, .weight = weights_.embedding});
    for (int layer = 0; layer < static_cast<int>(config_.layers); ++layer) attention_block(layer), ffn_block(layer);
    const int head_in =
        norm("final_norm", -1, weights_.final_norm, value("head_in", config_.hidden, Value::Rows::head));
    forward_.sites.back().head_rows = true;
    forward_.logits = value("logits", config_.vocab, Value::Rows::head, Value::Type::f32);
    add({.kind = SiteKind::head, .name = "head", .in = head_in, .out = forward_.logits, .weight = weights_.head});
    add({.kind = SiteKind::sample, .name = "sample", .in = forward_.logits});
    return std::move(forward_);
  }

 private:
  int value(const char* name, std::int64_t cols, Value::Rows rows = Value::Rows::tokens,
            Value::Type type = Value::Type::activation) {
    forward_.values.push_back({.name = name, .rows = rows, .type = type, .cols = cols});
    return static_cast<int>(forward_.values.size()) - 1;
  }
  void add(Site site) { forward_.sites.push_back(site); }

  int norm(const char* name, int layer, const TensorRef& weight, int out) {
    add({.kind = SiteKind::norm_in,
         .name = name,
         .layer = layer,
         .in = residual_,
         .out = out,
         .norm = weight,
         .eps = static_cast<float>(config_.rms_norm_eps)});
    return out;
  }

  void attention_block(int layer) {
    const LayerWeights& w = weights_.layers[static_cast<std::size_t>(layer)];
    const std::int64_t q_cols = config_.heads * config_.head_dim, kv_cols = config_.kv_heads * config_.head_dim;
    const int normed = norm("attention_norm", layer, w.attention_norm, value("attention_in", config_.hidden));
    const int qkv = value("qkv", q_cols + 2 * kv_cols);
    const int attended = value("attended", q_cols);
    add({.kind = SiteKind::qkv,
         .name = "qkv",
         .layer = layer,
         .in = normed,
         .out = qkv,
         .weight = w.qkv,
         .bias = w.qkv_bias,
         .q_norm = w.q_norm,
         .k_norm = w.k_norm,
         .eps = static_cast<float>(config_.rms_norm_eps),
         .heads = config_.heads,
         .kv_heads = config_.kv_heads,
         .head_dim = config_.head_dim});
    add({.kind = SiteKind::attention,
         .name = "attention",
         .layer = layer,
         .in = qkv,
         .out = attended,
         .heads = config_.heads,
         .kv_heads = config_.kv_heads,
         .head_dim = config_.head_dim,
         .window = config_.sliding_window,
         .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(config_.head_dim)))});
    linear_out("attention_out", layer, attended, w.out, w.out_bias);
  }

  void ffn_block(int layer) {
    const LayerWeights& w = weights_.layers[static_cast<std::size_t>(layer)];
    const int normed = norm("ffn_norm", layer, w.ffn_norm, value("ffn_in", config_.hidden));
    const int gate_up = value("gate_up", 2 * config_.ffn);
    const int activated = value("ffn_activated", config_.ffn);
    add({.kind = SiteKind::gate_up,
         .name = "gate_up",
         .layer = layer,
         .in = normed,
         .scratch = gate_up,
         .out = activated,
         .weight = w.gate_up});
    linear_out("down", layer, activated, w.down, {});
  }

  void linear_out(const char* name, int layer, int in, const quant::PackedWeight& weight, const TensorRef& bias) {
    add({.kind = SiteKind::linear_out,
         .name = name,
         .layer = layer,
         .in = in,
         .out = residual_,
         .weight = weight,
         .bias = bias,
         .residual = true});
  }

  const ModelConfig& config_;
  const ModelWeights& weights_;
  Forward forward_;
  int residual_ = -1;
};

}  // namespace

Forward build_forward(const ModelConfig& config, const ModelWeights& weights) {
  return Builder(config, weights).build();
}

namespace {

// Never read: only "is there one" and shapes count while planning.
void* const kNotLoaded = reinterpret_cast<void*>(kAlignment);

class Shapes {
 public:
  explicit Shapes(quant::Layout layout) : layout_(layout) {}
  Bytes bytes;

  TensorRef vector(std::int64_t n) {
    bytes += Bytes{n * 4};
    return tensor(kNotLoaded, DType::f32, {n});
  }
  Result<quant::PackedWeight> matrix(quant::Format format, std::int64_t rows, std::int64_t cols) {
    RL_ASSIGN(const quant::PackedSize size, quant::packed_size(format, layout_, rows, cols));
    bytes += size.data + size.scales;
    return quant::PackedWeight{
        .format = format,
        .layout = layout_,
        .rows = rows,
        .cols = cols,
        .padded_rows = size.padded_rows,
        .padded_cols = size.padded_cols,
        .data = kNotLoaded,
        .scales = size.scales.count > 0 ? static_cast<float*>(kNotLoaded) : nullptr,
    };
  }

 private:
  quant::Layout layout_;
};

}  // namespace

Result<ModelWeights> weight_shapes(const ModelConfig& config, quant::ModelFormat format, quant::Layout layout) {
  Shapes shapes(layout);
  ModelWeights weights;
  RL_ASSIGN(weights.embedding, shapes.matrix(format.tables, config.vocab, config.hidden));
  const Bytes embedding = shapes.bytes;
  const std::int64_t q_rows = config.heads * config.head_dim, qkv_rows = q_rows + 2 * config.kv_heads * config.head_dim;
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    LayerWeights w;
    w.attention_norm = shapes.vector(config.hidden);
    w.ffn_norm = shapes.vector(config.hidden);
    RL_ASSIGN(w.qkv, shapes.matrix(format.layers, qkv_rows, config.hidden));
    if (config.qkv_bias) w.qkv_bias = shapes.vector(qkv_rows);
    if (config.qk_norm) w.q_norm = shapes.vector(config.head_dim), w.k_norm = shapes.vector(config.head_dim);
    RL_ASSIGN(w.out, shapes.matrix(format.layers, config.hidden, q_rows));
    if (config.out_bias) w.out_bias = shapes.vector(config.hidden);
    RL_ASSIGN(w.gate_up, shapes.matrix(format.layers, 2 * config.ffn, config.hidden));
    RL_ASSIGN(w.down, shapes.matrix(format.layers, config.hidden, config.ffn));
    weights.layers.push_back(w);
  }
  weights.final_norm = shapes.vector(config.hidden);
  if (config.tied_head) {
    weights.head = weights.embedding;
    weights.bytes_per_token = shapes.bytes;
  } else {
    RL_ASSIGN(weights.head, shapes.matrix(format.tables, config.vocab, config.hidden));
    weights.bytes_per_token = shapes.bytes - embedding;
  }
  weights.bytes = shapes.bytes;
  return weights;
}

}  // namespace rl::model
