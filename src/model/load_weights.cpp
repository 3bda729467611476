#include <mutex>
#include <new>
#include <set>
#include <thread>

#include "base/checked.h"
#include "base/clock.h"
#include "model/constant_weights.h"
#include "model/model.h"
#include "model/not_finite.h"
#include "model/upload.h"
#include "model/weight_names.h"
#include "num/convert.h"
#include "quant/pack.h"

namespace rl::model {
namespace {

// Work is cut into pieces, rows of one stored tensor, and pieces into blocks, so that what was read is still in the
// core's cache when it is looked at and packed. A piece is one copy to a device. Measured on 16 cores beside an H200,
// file in the page cache, GB/s with rings of 2 and 4 buffers: pieces of 1 MiB 44 and 48, 4 MiB 53 and 47, 16 MiB 46;
// one large copy 55.
constexpr std::int64_t kBlockBytes = 1 << 20;
constexpr std::int64_t kSentBytes = 4 << 20;
constexpr int kSlots = 2;  // of each thread: one filled, one copied
constexpr std::int64_t kPanelRows = 64;

struct Piece {
  std::size_t tensor = 0;                       // in Loader::names_
  std::int64_t first = 0, rows = 0, block = 0;  // block: rows
  std::int64_t bytes = 0;                       // as stored
  const quant::PackedWeight* to = nullptr;      // a matrix, from row to_row on
  std::int64_t to_row = 0;
  float* floats = nullptr;  // or a vector
};

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t n : shape) text += fmt::format("{}{}", text.size() > 1 ? ", " : "", n);
  return text + "]";
}

void to_floats(const TensorRef& source, float* out) {
  for (std::int64_t i = 0; i < source.elements(); ++i) {
    if (source.dtype == DType::f32) out[i] = source.as<const float>()[i];
    if (source.dtype == DType::bf16) out[i] = num::to_float(source.as<const num::bf16>()[i]);
    if (source.dtype == DType::f16) out[i] = num::to_float(source.as<const num::fp16>()[i]);
  }
}

class Loader {
 public:
  Loader(const ModelSource& source, const LoadOptions& options, MemoryResource& memory)
      : source_(source), options_(options), memory_(memory) {}

  Result<ModelWeights> load() {
    const Seconds start = monotonic_now();
    RL_TRY(plan());
    rings_.resize(std::max<std::size_t>(workers(), 1));
    for (const Piece& piece : pieces_)
      if (piece.to && quant::scales_span_rows(piece.to->format)) spanning_.insert(piece.to);
    if (!spanning_.empty()) {
      for (const quant::PackedWeight* weight : spanning_) quant::begin_scales(near(*weight));
      observing_ = true;
      RL_TRY(run());
      for (const quant::PackedWeight* weight : spanning_) quant::finish_scales(near(*weight));
      observing_ = false;
    }
    RL_TRY(run());
    RL_TRY(send_shadows());
    weights_.stored = all_;
    weights_.load_time = monotonic_now() - start;
    for (std::size_t i = 0; i < names_.size(); ++i)
      if (not_finite_[i] > 0)
        weights_.warnings.push_back(
            fmt::format("{}: {} values of '{}' are infinite or NaN", source_.name, not_finite_[i].load(), names_[i]));
    RL_TRY(constants_->judge(source_.name, names_, weights_.warnings));
    return std::move(weights_);
  }

 private:
  // Allocates everything and lists the pieces. Layers do not move in weights_.layers once it has its size.
  Status plan() {
    const ModelConfig& c = source_.config;
    const std::int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    RL_TRY(matrix(weights_.embedding, options_.format.tables, c.vocab, c.hidden, {kEmbeddingName}));
    weights_.layers.resize(static_cast<std::size_t>(c.layers));
    for (std::int64_t i = 0; i < c.layers; ++i) {
      LayerWeights& layer = weights_.layers[static_cast<std::size_t>(i)];
      const auto name = [prefix = layer_prefix(i)](const char* rest) { return prefix + rest; };
      RL_TRY(vector(layer.attention_norm, {name("input_layernorm.weight")}));
      RL_TRY(vector(layer.ffn_norm, {name("post_attention_layernorm.weight")}));
      RL_TRY(
          matrix(layer.qkv, options_.format.layers, q + 2 * kv, c.hidden,
                 {name("self_attn.q_proj.weight"), name("self_attn.k_proj.weight"), name("self_attn.v_proj.weight")}));
      if (c.qkv_bias) {
        RL_TRY(vector(layer.qkv_bias,
                      {name("self_attn.q_proj.bias"), name("self_attn.k_proj.bias"), name("self_attn.v_proj.bias")}));
      }
      if (c.qk_norm) {
        RL_TRY(vector(layer.q_norm, {name("self_attn.q_norm.weight")}));
        RL_TRY(vector(layer.k_norm, {name("self_attn.k_norm.weight")}));
      }
      RL_TRY(matrix(layer.out, options_.format.layers, c.hidden, q, {name("self_attn.o_proj.weight")}));
      if (c.out_bias) RL_TRY(vector(layer.out_bias, {name("self_attn.o_proj.bias")}));
      RL_TRY(matrix(layer.gate_up, options_.format.layers, 2 * c.ffn, c.hidden,
                    {name("mlp.gate_proj.weight"), name("mlp.up_proj.weight")}));
      RL_TRY(matrix(layer.down, options_.format.layers, c.hidden, c.ffn, {name("mlp.down_proj.weight")}));
    }
    RL_TRY(vector(weights_.final_norm, {kFinalNormName}));
    const Bytes embedding = embedding_bytes_;
    if (c.tied_head) {
      weights_.head = weights_.embedding;
    } else {
      RL_TRY(matrix(weights_.head, options_.format.tables, c.vocab, c.hidden, {kHeadName}));
    }
    weights_.bytes_per_token = c.tied_head ? weights_.bytes : weights_.bytes - embedding;
    return ok();
  }

  // Whether the host cannot write the memory: rows are packed in pinned memory then and copied, and what is small
  // (scales, vectors) lies in shadows_ until all of it is known.
  bool far() const { return options_.device != nullptr && !options_.device->host_reads_memory(); }
  std::vector<float>& shadow(float* device) { return shadows_.at(device); }
  // The weight with scales that the host can reach.
  quant::PackedWeight near(quant::PackedWeight weight) {
    if (far() && weight.scales) weight.scales = shadow(weight.scales).data();
    return weight;
  }

  Result<void*> allocate(Bytes bytes) {
    RL_ASSIGN(Buffer buffer, Buffer::make(memory_, bytes));
    void* const data = buffer.data();
    weights_.memory.push_back(std::move(buffer));
    weights_.bytes += bytes;
    return data;
  }

  // A matrix made of stored ones, their rows one after the other.
  Status matrix(quant::PackedWeight& weight, quant::Format format, std::int64_t rows, std::int64_t cols,
                std::vector<std::string> parts) {
    RL_ASSIGN(const quant::PackedSize size, quant::packed_size(format, options_.layout, rows, cols));
    RL_ASSIGN(void* const data, allocate(size.data + size.scales));
    weight = {.format = format,
              .layout = options_.layout,
              .rows = rows,
              .cols = cols,
              .padded_rows = size.padded_rows,
              .padded_cols = size.padded_cols,
              .data = data};
    if (size.scales.count > 0)
      weight.scales = reinterpret_cast<float*>(static_cast<std::byte*>(data) + size.data.count);
    if (embedding_bytes_.count == 0) embedding_bytes_ = size.data + size.scales;
    if (far()) {
      RL_CHECK_MSG(size.padded_rows == rows && size.padded_cols == cols, "only row-major weights go to a device");
      if (weight.scales) shadows_.emplace(weight.scales, std::vector<float>(size.scales.count / sizeof(float)));
    } else {
      quant::zero_padding(weight);
    }
    std::int64_t to_row = 0;
    for (std::string& part : parts) {
      const WeightSource::Info& info = source_.weights->tensors().at(part);
      const std::int64_t row_bytes = cols * size_of(info.dtype);
      const std::int64_t block = std::max(kPanelRows, kBlockBytes / row_bytes / kPanelRows * kPanelRows);
      const std::int64_t step = far() ? round_up(ceil_div(kSentBytes, row_bytes), block) : block;
      for (std::int64_t first = 0; first < info.shape[0]; first += step) {
        const std::int64_t n = std::min(step, info.shape[0] - first);
        largest_piece_ = std::max(largest_piece_, n * cols * size_of(quant::element_type(format)));
        pieces_.push_back({.tensor = names_.size(),
                           .first = first,
                           .rows = n,
                           .block = block,
                           .bytes = n * row_bytes,
                           .to = &weight,
                           .to_row = to_row + first});
      }
      to_row += info.shape[0];
      names_.push_back(std::move(part));
    }
    return ok();
  }

  // A vector of floats made of stored ones.
  Status vector(TensorRef& result, std::vector<std::string> parts) {
    std::int64_t n = 0;
    for (const std::string& part : parts) n += source_.weights->tensors().at(part).shape[0];
    RL_ASSIGN(void* const data, allocate({n * std::int64_t{sizeof(float)}}));
    result = tensor(data, DType::f32, {n});
    auto* floats = static_cast<float*>(data);
    if (far()) floats = shadows_.emplace(floats, std::vector<float>(static_cast<std::size_t>(n))).first->second.data();
    for (std::string& part : parts) {
      const WeightSource::Info& info = source_.weights->tensors().at(part);
      pieces_.push_back({.tensor = names_.size(),
                         .rows = info.shape[0],
                         .block = info.shape[0],
                         .bytes = info.shape[0] * size_of(info.dtype),
                         .floats = floats});
      floats += info.shape[0];
      names_.push_back(std::move(part));
    }
    return ok();
  }

  Status run() {
    not_finite_ = std::vector<std::atomic<std::int64_t>>(names_.size());
    constants_.emplace(names_.size());
    next_ = 0;
    all_ = {};
    for (const Piece& piece : pieces_) all_ += Bytes{piece.bytes};
    std::vector<std::jthread> helpers;
    for (std::size_t i = 1; i < workers(); ++i) helpers.emplace_back([this, i] { work(i); });
    work(0);
    helpers.clear();
    if (error_) return *std::move(error_);
    return ok();
  }

  std::size_t workers() const {
    const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
    const std::size_t wanted = options_.threads > 0 ? static_cast<std::size_t>(options_.threads) : cores;
    return std::min(wanted, pieces_.size());
  }

  void work(std::size_t worker) {
    std::vector<std::byte> scratch;
    while (!stopped_) {
      const std::size_t next = next_.fetch_add(1);
      if (next >= pieces_.size()) return;
      const Status done = place(pieces_[next], worker, scratch);
      const std::lock_guard lock(mutex_);
      if (!done) {
        if (!error_) error_ = done.error();
        stopped_ = true;
        return;
      }
      if (observing_) continue;
      done_ += Bytes{pieces_[next].bytes};
      if (options_.progress) options_.progress(done_, all_);
    }
  }

  Status place(const Piece& piece, std::size_t worker, std::vector<std::byte>& scratch) try {
    if (observing_ && !spanning_.contains(piece.to)) return ok();
    std::optional<UploadRing>* const ring = far() && piece.to && !observing_ ? &rings_[worker] : nullptr;
    std::byte* slot = nullptr;
    if (ring) {
      // By the thread that fills it: pinning memory takes time, which is not added up so.
      if (!*ring) {
        RL_ASSIGN(UploadRing made, UploadRing::make(*options_.device, {largest_piece_}, kSlots));
        ring->emplace(std::move(made));
      }
      RL_ASSIGN(slot, (*ring)->next());
    }
    for (std::int64_t row = 0; row < piece.rows; row += piece.block)
      RL_TRY(place_block(piece, row, std::min(piece.block, piece.rows - row), slot, scratch));
    if (!ring) return ok();
    const std::int64_t row_bytes = sent_row_bytes(*piece.to);
    return (*ring)->send(static_cast<std::byte*>(piece.to->data) + piece.to_row * row_bytes, {piece.rows * row_bytes});
  } catch (const std::bad_alloc&) {
    return Error{.kind = ErrorKind::out_of_memory, .what = "no memory to read weights", .field = names_[piece.tensor]};
  }

  static std::int64_t sent_row_bytes(const quant::PackedWeight& weight) {
    return weight.padded_cols * size_of(quant::element_type(weight.format));
  }

  // Rows [row, row + n) of the piece. slot: where the device's copy of the piece is made; null: it is the host's.
  Status place_block(const Piece& piece, std::int64_t row, std::int64_t n, std::byte* slot,
                     std::vector<std::byte>& scratch) {
    const std::string& name = names_[piece.tensor];
    const std::int64_t to_row = piece.to_row + row;
    const DType stored = source_.weights->tensors().at(name).dtype;
    const bool as_stored = slot != nullptr && quant::element_type(piece.to->format) == stored;
    TensorRef rows;
    if (as_stored) {
      const std::int64_t row_bytes = sent_row_bytes(*piece.to);
      const std::span out(slot + row * row_bytes, static_cast<std::size_t>(n * row_bytes));
      RL_TRY(source_.weights->read(name, piece.first + row, n, out));
      rows = tensor(static_cast<void*>(out.data()), stored, {n, piece.to->cols});
    } else {
      RL_ASSIGN(rows, source_.weights->rows(name, piece.first + row, n, scratch));
    }
    if (observing_) {
      quant::observe_rows(near(*piece.to), to_row, rows);
      return ok();
    }
    if (!source_.synthetic) not_finite_[piece.tensor] += count_not_finite(rows);
    if (piece.to && piece.to != &weights_.embedding && piece.to != &weights_.head)
      constants_->look_at(piece.tensor, rows);
    if (!piece.to) {
      to_floats(rows, piece.floats);
    } else if (!as_stored) {
      quant::PackedWeight packed = near(*piece.to);
      // As if the whole matrix lay around the slot.
      if (slot)
        packed.data = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(slot) -
                                              static_cast<std::uintptr_t>(piece.to_row * sent_row_bytes(packed)));
      quant::pack_rows(packed, to_row, rows);
    }
    return ok();
  }

  // What is small, and waits for all pieces.
  Status send_shadows() {
    for (std::optional<UploadRing>& ring : rings_)
      if (ring) RL_TRY(ring->drain());
    if (!far()) return ok();
    RL_ASSIGN(const auto stream, options_.device->make_stream());
    Status sent = ok();
    for (const auto& [to, values] : shadows_)
      if (sent) sent = stream->copy_to_device(to, values.data(), {std::ssize(values) * 4});
    const Status arrived = stream->synchronize();
    return sent ? arrived : sent;
  }

  const ModelSource& source_;
  const LoadOptions& options_;
  MemoryResource& memory_;
  ModelWeights weights_;
  Bytes embedding_bytes_;
  std::vector<std::string> names_;
  std::vector<Piece> pieces_;
  std::set<const quant::PackedWeight*> spanning_;  // matrices whose scales need a look at all rows first
  bool observing_ = false;                         // this is the look
  std::map<float*, std::vector<float>> shadows_;   // by their address on the device
  std::vector<std::optional<UploadRing>> rings_;   // by worker
  std::int64_t largest_piece_ = 1;                 // packed
  std::vector<std::atomic<std::int64_t>> not_finite_;
  std::optional<ConstantWeights> constants_;  // of the linear weights
  std::atomic<std::size_t> next_ = 0;
  std::atomic<bool> stopped_ = false;
  std::mutex mutex_;  // of what follows
  std::optional<Error> error_;
  Bytes done_, all_;
};

}  // namespace

Result<std::vector<std::string>> check_weights(const ModelConfig& config, const WeightSource& weights,
                                               const std::string& name) {
  const auto& tensors = weights.tensors();
  const std::vector<WeightSpec> specs = weights_of(config);
  std::map<std::string_view, const WeightSpec*> known;
  for (const WeightSpec& spec : specs) {
    known.emplace(spec.name, &spec);
    const auto found = tensors.find(spec.name);
    if (found == tensors.end())
      return Error{.kind = ErrorKind::invalid_input,
                   .what = fmt::format("tensor '{}' is missing", spec.name),
                   .rule = "weights.missing",
                   .file = name,
                   .field = spec.name,
                   .expected = shape_text(spec.shape),
                   .found = fmt::format("{} other tensors", tensors.size()),
                   .hint = "config.json asks for it: the two files may be of different models"};
    const WeightSource::Info& info = found->second;
    Error error{.kind = ErrorKind::invalid_input,
                .what = fmt::format("tensor '{}' has another shape than config.json says", spec.name),
                .rule = "weights.shape",
                .file = info.file.empty() ? name : info.file,
                .field = spec.name,
                .offset = info.file.empty() ? std::nullopt : std::optional(info.offset),
                .expected = shape_text(spec.shape),
                .found = shape_text(info.shape)};
    if (info.shape != spec.shape) return error;
    const bool number = info.dtype == DType::f32 || info.dtype == DType::bf16 || info.dtype == DType::f16;
    if (info.readable && number) continue;
    error.kind = ErrorKind::unsupported;
    error.what = fmt::format("tensor '{}' is stored in a type that is not supported", spec.name);
    error.rule = "weights.dtype";
    error.expected = "F32, BF16 or F16";
    error.found = info.stored;
    return error;
  }
  std::string extra;
  std::int64_t extras = 0;
  for (const auto& [tensor, info] : tensors) {
    if (known.contains(tensor) || is_stale_buffer(tensor)) continue;
    if (++extras <= 3) extra += fmt::format("{}'{}'", extra.empty() ? "" : ", ", tensor);
  }
  std::vector<std::string> warnings;
  if (extras > 0)
    warnings.push_back(fmt::format("{}: {} {} that this model does not have: {}{}", name, extras,
                                   extras == 1 ? "tensor" : "tensors", extra, extras > 3 ? ", ..." : ""));
  return warnings;
}

Result<ModelWeights> load_weights(const ModelSource& source, const LoadOptions& options, MemoryResource& memory) {
  RL_TRY(check_config(source.config));
  RL_TRY(check_weights(source.config, *source.weights, source.name));
  return Loader(source, options, memory).load();
}

}  // namespace rl::model
