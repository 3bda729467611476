#pragma once
// Finding a model, reading its weights, and putting them where kernels read them.

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "device/device.h"
#include "model/config.h"
#include "model/tokenizer.h"
#include "quant/packed_weight.h"
#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace rl::model {

// Tensors by name, wherever they come from: a checkpoint's files or a generator.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  struct Info {
    DType dtype = DType::f32;
    std::vector<std::int64_t> shape;
    std::string stored;    // the file's word for the type: "BF16"
    bool readable = true;  // false: a type that DType does not have ("F4"); rows() refuses it by name
    std::string file;      // where its bytes are, for messages; empty: nowhere
    std::int64_t offset = 0;
  };
  virtual const std::map<std::string, Info>& tensors() const = 0;
  // Rows [first, first + n) of a tensor of rank 1 (rows of one element) or 2, contiguous, host memory: a view
  // into bytes that cannot change (an embedded checkpoint's), otherwise made in `scratch`, which must outlive the view.
  // Errors: invalid_input for an unknown tensor, a range outside it, or another rank; unsupported for its type; io.
  virtual Result<TensorRef> rows(const std::string& name, std::int64_t first, std::int64_t n,
                                 std::vector<std::byte>& scratch) const = 0;
  // The same rows as stored, written to `out`, which has their size: without a copy on the way where the source can.
  virtual Status read(const std::string& name, std::int64_t first, std::int64_t n, std::span<std::byte> out) const;
};

// Reads one checkpoint (model.safetensors, or model.safetensors.index.json and its shards). Every header field is
// checked before use; errors name rule, file, field and offset.
Result<std::unique_ptr<WeightSource>> open_safetensors(const FileSet& files);

// A model that was found, not yet loaded to a device.
struct ModelSource {
  std::string name;                // as given
  std::unique_ptr<FileSet> files;  // null for a synthetic one
  ModelConfig config;
  std::unique_ptr<WeightSource> weights;
  bool synthetic = false;
  std::string
      fingerprint;        // SHA-256 over config.json, each weight file's header, size and three 64 KiB samples of data
  std::string stored_as;  // the types of the matrices: "bf16", "f16", "bf16 and f32"
  std::vector<std::string> warnings;  // what is odd but does no harm (a tensor that nothing reads): for the log
};

// spec: "demo" (or empty), a folder, "owner/name" in the local Hugging Face cache (HF_HUB_CACHE, HF_HOME or
// ~/.cache/huggingface/hub), or "synthetic:NAME". Nothing is downloaded: a missing model's error says how to get it.
// Config, weight headers and every tensor's shape are checked here; of the weights' data only samples are read. Errors:
// io if it is not there; those of read_config, open_safetensors and check_weights.
Result<ModelSource> find_model(const std::string& spec);

// The files of a folder or cache entry alone: what `redline tokenize` needs. Errors as find_model.
Result<std::unique_ptr<FileSet>> find_files(const std::string& spec);

// Names accepted after "synthetic:".
std::vector<std::string> synthetic_names();
// The model as an HF folder that other engines load: config.json, generation_config.json, model.safetensors or shards
// of at most 4 GiB with their index, and the tokenizer's files (a synthetic model gets the demo's: its vocabulary is
// smaller than the config's, which is legal). The folder appears complete or not at all, and must not exist before,
// unless it is empty. Errors: io; those of the source.
Status save_model(const ModelSource& source, const std::filesystem::path& folder);

// A loaded layer. q, k, v rows lie one after the other in qkv; gate rows, then up rows, in gate_up.
struct LayerWeights {
  TensorRef attention_norm, ffn_norm;  // f32 [hidden]
  quant::PackedWeight qkv;             // [(heads + 2 kv_heads) * head_dim, hidden]
  TensorRef qkv_bias;                  // f32, or null
  TensorRef q_norm, k_norm;            // f32 [head_dim], or null
  quant::PackedWeight out;             // [hidden, heads * head_dim]
  TensorRef out_bias;                  // f32 [hidden], or null
  quant::PackedWeight gate_up;         // [2 ffn, hidden]
  quant::PackedWeight down;            // [hidden, ffn]
};

struct ModelWeights {
  quant::PackedWeight embedding;  // [vocab, hidden]
  std::vector<LayerWeights> layers;
  TensorRef final_norm;        // f32 [hidden]
  quant::PackedWeight head;    // [vocab, hidden]; tied: the same memory as embedding
  std::vector<Buffer> memory;  // owns all of it
  Bytes bytes;                 // in all
  Bytes bytes_per_token;       // read by a decode step: all but the embedding, unless it is the head
  Bytes stored;                // that were read
  Seconds load_time;           // to read, pack and place them, from the first allocation on

  std::vector<std::string> warnings;  // tensors with values that are not finite numbers, or that have one value only
};

struct LoadOptions {
  quant::ModelFormat format;
  quant::Layout layout = quant::Layout::row_major;
  int threads = 0;                                      // 0: one per core
  Device* device = nullptr;                             // whose memory it is; null: the host's
  std::function<void(Bytes done, Bytes all)> progress;  // of stored bytes; from any thread, one at a time; may be empty
};

// Compares the tensors that are there with those the config asks for. Errors: invalid_input for a missing tensor
// (weights.missing) or one of another shape (weights.shape); unsupported for a type other than f32, bf16 and f16
// (weights.dtype). Returns warnings for tensors that nothing reads, without stale buffers of old checkpoints.
Result<std::vector<std::string>> check_weights(const ModelConfig& config, const WeightSource& weights,
                                               const std::string& name);

// Packs the source's weights into memory of the host or of a device, each into one allocation of its own. All threads
// read, pack and send at the same time; what a device keeps as it is stored is read into the memory it is sent from.
// Prints nothing. Errors: those of check_weights, before anything is allocated; out_of_memory; io; invalid_input, rule
// "weights.constant", if most linear weights are zero or one value.
Result<ModelWeights> load_weights(const ModelSource& source, const LoadOptions& options, MemoryResource& memory);

}  // namespace rl::model
