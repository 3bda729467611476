#include <set>

#include "base/checked.h"
#include "model/json.h"
#include "model/safetensors.h"

namespace rl::model {
namespace {

using json::Type;
using json::Value;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr json::Limits kIndexLimits{.bytes = 64 << 20};

// A shard is a file beside the index: its name must not lead anywhere else.
Status check_shard_name(const FileSet& files, const Value& entry) {
  RL_ASSIGN(const std::string_view name, entry.string());
  const bool plain = !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
                     name.find('\\') == std::string_view::npos && name.find('\0') == std::string_view::npos;
  if (!plain) return entry.invalid("index.shard_name", "a shard's name leads out of the folder", "a file's name");
  if (!files.exists(name)) {
    Error missing = entry.invalid("index.shard_missing", fmt::format("shard '{}' is missing", json::printable(name)),
                                  "a file beside the index");
    missing.hint = "the download is incomplete: fetch the model again";
    return missing;
  }
  if (files.leads_outside(name))
    return entry.invalid("index.shard_name", "a shard is a symbolic link out of the folder", "a file in the folder");
  return ok();
}

// transformers writes the sum of all tensors' bytes; some tools write it as 1.3e10.
Status check_total_size(const Value& root, const std::vector<SafetensorsFile>& files) {
  const auto metadata = root.get("metadata");
  if (!metadata) return ok();
  RL_TRY(metadata->expect(Type::object));
  const auto total = metadata->get("total_size");
  if (!total) return ok();
  RL_ASSIGN(const double declared, total->number());
  std::int64_t bytes = 0;
  for (const SafetensorsFile& file : files)
    for (const auto& [name, tensor] : file.tensors()) bytes += tensor.bytes;
  if (declared == static_cast<double>(bytes)) return ok();
  return total->invalid("index.total_size", "the shards do not hold what the index says",
                        fmt::format("{} bytes", bytes));
}

}  // namespace

void Checkpoint::add(SafetensorsFile file) {
  for (const auto& [name, tensor] : file.tensors()) {
    Info& info = infos_.emplace(name, tensor.info).first->second;
    info.file = file.file().name();
    info.offset = tensor.begin;
    file_of_.emplace(name, files_.size());
  }
  files_.push_back(std::move(file));
}

Result<std::unique_ptr<Checkpoint>> Checkpoint::open(const FileSet& files) {
  if (files.exists(kSingle)) {
    auto checkpoint = std::make_unique<Checkpoint>();
    RL_ASSIGN(FileView view, files.open(kSingle));
    RL_ASSIGN(SafetensorsFile file, SafetensorsFile::open(std::move(view)));
    checkpoint->add(std::move(file));
    return checkpoint;
  }
  if (files.exists(kIndex)) return open_index(files);
  const bool torch = files.exists("pytorch_model.bin") || files.exists("pytorch_model.bin.index.json") ||
                     files.exists("consolidated.00.pth");
  return Error{.kind = ErrorKind::io,
               .what = "the model has no weights",
               .rule = "model.no_weights",
               .file = files.name(),
               .expected = fmt::format("{} or {}", kSingle, kIndex),
               .found = torch ? "weights as Python pickles, which are not read" : "neither",
               .hint = torch ? "convert them: transformers' save_pretrained writes safetensors"
                             : "fetch the model again: the folder is incomplete"};
}

Result<std::unique_ptr<Checkpoint>> Checkpoint::open_index(const FileSet& files) {
  RL_ASSIGN(const FileView view, files.open(kIndex));
  RL_ASSIGN(const json::Document document, json::Document::parse(view, kIndexLimits));
  RL_ASSIGN(const Value map, document.root().at("weight_map"));
  RL_TRY(map.expect(Type::object));
  if (map.size() == 0) return map.invalid("index.empty", "the index lists no tensor", "a map from tensors to files");

  auto checkpoint = std::make_unique<Checkpoint>();
  std::map<std::string_view, std::size_t> shard_numbers;
  std::map<std::string_view, std::pair<Value, std::size_t>> listed;
  for (const auto [name, entry] : map.items()) {
    RL_TRY(entry.expect(Type::string));
    const auto [shard, is_new] = shard_numbers.emplace(entry.text(), shard_numbers.size());
    if (is_new) {
      RL_TRY(check_shard_name(files, entry));
      RL_ASSIGN(FileView shard_view, files.open(entry.text()));
      RL_ASSIGN(SafetensorsFile file, SafetensorsFile::open(std::move(shard_view)));
      checkpoint->files_.push_back(std::move(file));
    }
    listed.emplace(name, std::pair(entry, shard->second));
  }
  for (const auto& [name, place] : listed) {
    const auto& [entry, shard] = place;
    if (!checkpoint->files_[shard].tensors().contains(std::string(name)))
      return entry.invalid("index.tensor_missing", "a tensor is not in the shard that the index names",
                           fmt::format("the tensor in {}", json::printable(entry.text())));
  }
  std::vector<SafetensorsFile> shards = std::exchange(checkpoint->files_, {});
  for (std::size_t i = 0; i < shards.size(); ++i) {
    for (const auto& [name, tensor] : shards[i].tensors()) {
      const auto place = listed.find(name);
      const bool elsewhere = place != listed.end() && place->second.second != i;
      if (place != listed.end() && !elsewhere) continue;
      Error error{
          .kind = ErrorKind::invalid_input,
          .what = elsewhere ? "a tensor is in two shards" : "a shard holds a tensor that the index does not list",
          .rule = elsewhere ? "index.tensor_twice" : "index.tensor_unlisted",
          .file = shards[i].file().name(),
          .field = json::printable(name, 200),
          .offset = tensor.begin};
      if (elsewhere) error.expected = fmt::format("it in {} alone", json::printable(place->second.first.text()));
      return error;
    }
  }
  RL_TRY(check_total_size(document.root(), shards));
  for (SafetensorsFile& shard : shards) checkpoint->add(std::move(shard));
  return checkpoint;
}

Result<Checkpoint::Place> Checkpoint::locate(const std::string& name, std::int64_t first, std::int64_t n) const {
  const auto place = file_of_.find(name);
  if (place == file_of_.end())
    return Error{.kind = ErrorKind::invalid_input, .what = "no such tensor", .rule = "weights.missing", .field = name};
  const SafetensorsFile& file = files_[place->second];
  const SafetensorsFile::Tensor& tensor = file.tensors().at(name);
  const auto& shape = tensor.info.shape;
  Error error{.kind = ErrorKind::unsupported,
              .what = fmt::format("tensors of type {} are not supported", tensor.info.stored),
              .rule = "weights.dtype",
              .file = file.file().name(),
              .field = name,
              .offset = tensor.begin};
  if (!tensor.info.readable) return error;
  error.kind = ErrorKind::invalid_input;
  error.rule = "weights.rows";
  error.what = "rows of a tensor that has none of them";
  if (shape.empty() || shape.size() > 2 || first < 0 || n < 0 || first > shape[0] || n > shape[0] - first) return error;

  const std::int64_t cols = shape.size() == 2 ? shape[1] : 1;
  const std::int64_t size = size_of(tensor.info.dtype);  // the header's check bounds the products below
  return Place{.file = &file,
               .dtype = tensor.info.dtype,
               .begin = tensor.begin + first * cols * size,
               .n = n,
               .cols = cols,
               .bytes = n * cols * size,
               .matrix = shape.size() == 2};
}

Result<TensorRef> Checkpoint::rows(const std::string& name, std::int64_t first, std::int64_t n,
                                   std::vector<std::byte>& scratch) const {
  RL_ASSIGN(const Place place, locate(name, first, n));
  const FileView& file = place.file->file();
  const std::byte* data = file.bytes().data() + place.begin;
  const bool aligned = reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(size_of(place.dtype)) == 0;
  if (file.mapped() || !aligned) {
    const auto bytes = static_cast<std::size_t>(place.bytes);
    if (scratch.size() < bytes) scratch.resize(bytes);
    RL_TRY(file.read(place.begin, std::span(scratch).first(bytes)));
    data = scratch.data();
  }
  void* const where = const_cast<std::byte*>(data);
  return place.matrix ? rl::tensor(where, place.dtype, {n, place.cols}) : rl::tensor(where, place.dtype, {n});
}

Status Checkpoint::read(const std::string& name, std::int64_t first, std::int64_t n, std::span<std::byte> out) const {
  RL_ASSIGN(const Place place, locate(name, first, n));
  RL_CHECK(std::ssize(out) == place.bytes);
  return place.file->file().read(place.begin, out);
}

Status WeightSource::read(const std::string& name, std::int64_t first, std::int64_t n, std::span<std::byte> out) const {
  std::vector<std::byte> scratch;
  RL_ASSIGN(const TensorRef made, rows(name, first, n, scratch));
  RL_CHECK(std::ssize(out) == made.elements() * size_of(made.dtype));
  std::memcpy(out.data(), made.data, out.size());
  return ok();
}

Result<std::unique_ptr<WeightSource>> open_safetensors(const FileSet& files) {
  RL_ASSIGN(std::unique_ptr<Checkpoint> checkpoint, Checkpoint::open(files));
  return std::unique_ptr<WeightSource>(std::move(checkpoint));
}

}  // namespace rl::model
