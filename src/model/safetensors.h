#pragma once
// One safetensors file (https://github.com/huggingface/safetensors, format 0.4): 8 bytes header length N, N bytes of
// JSON, then the tensors' bytes without gaps. Every field is checked before it is used, and nothing is allocated from a
// declared size before the bytes are known to be there.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "model/model.h"

namespace rl::model {

class SafetensorsFile {
 public:
  struct Tensor {
    WeightSource::Info info;
    std::int64_t begin = 0, bytes = 0;  // in the file
  };

  // Errors: invalid_input, rules safetensors.* and json.*; io.
  static Result<SafetensorsFile> open(FileView file);

  const FileView& file() const { return file_; }
  std::int64_t data_begin() const { return data_begin_; }
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }

 private:
  FileView file_;
  std::int64_t data_begin_ = 0;
  std::map<std::string, Tensor> tensors_;
};

// The tensors of one file or of all shards of an index.
class Checkpoint final : public WeightSource {
 public:
  // model.safetensors, else the shards of model.safetensors.index.json. Errors: as SafetensorsFile, rules index.*.
  static Result<std::unique_ptr<Checkpoint>> open(const FileSet& files);

  const std::map<std::string, Info>& tensors() const override { return infos_; }
  Result<TensorRef> rows(const std::string& name, std::int64_t first, std::int64_t n,
                         std::vector<std::byte>& scratch) const override;
  Status read(const std::string& name, std::int64_t first, std::int64_t n, std::span<std::byte> out) const override;
  const std::vector<SafetensorsFile>& files() const { return files_; }

 private:
  // Where rows of a tensor lie.
  struct Place {
    const SafetensorsFile* file = nullptr;
    DType dtype = DType::f32;
    std::int64_t begin = 0, n = 0, cols = 1, bytes = 0;
    bool matrix = false;
  };
  Result<Place> locate(const std::string& name, std::int64_t first, std::int64_t n) const;
  static Result<std::unique_ptr<Checkpoint>> open_index(const FileSet& files);
  void add(SafetensorsFile file);

  std::vector<SafetensorsFile> files_;
  std::map<std::string, Info> infos_;
  std::map<std::string, std::size_t> file_of_;
};

}  // namespace rl::model
