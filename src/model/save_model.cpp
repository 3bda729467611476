#include "model/save_model.h"

#include <cerrno>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include "base/checked.h"
#include "model/embedded_demo.h"
#include "model/safetensors_writer.h"
#include "model/weight_names.h"

namespace rl::model {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kPieceBytes = 16 << 20;

struct Shard {
  std::vector<SafetensorsWriter::Entry> entries;
  std::int64_t bytes = 0;
};

Error io_error(const char* what, const fs::path& path, int code) {
  return {
      .kind = ErrorKind::io, .what = what, .file = path.string(), .found = std::strerror(code), .native_code = code};
}

// A folder that disappears with all it holds unless it is given its name.
class PendingFolder {
 public:
  static Result<PendingFolder> create(const fs::path& target) {
    std::error_code failed;
    if (fs::exists(target, failed) && !(fs::is_directory(target, failed) && fs::is_empty(target, failed)))
      return Error{.kind = ErrorKind::io,
                   .what = "the folder to save to exists and is not empty",
                   .rule = "save.exists",
                   .file = target.string(),
                   .hint = "name another folder, or remove this one"};
    const fs::path parent = target.has_parent_path() ? target.parent_path() : fs::path(".");
    fs::create_directories(parent, failed);
    if (failed) return io_error("cannot create folder", parent, failed.value());
    std::string temporary = (parent / fmt::format(".{}.XXXXXX", target.filename().string())).string();
    if (::mkdtemp(temporary.data()) == nullptr) return io_error("cannot create folder", target, errno);
    return PendingFolder(temporary, target);
  }
  PendingFolder(PendingFolder&& other) noexcept
      : path_(std::exchange(other.path_, {})), target_(std::move(other.target_)) {}
  ~PendingFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }

  const fs::path& path() const { return path_; }
  Status commit() {
    std::error_code failed;
    fs::permissions(path_, fs::perms(0755), failed);
    if (!failed) fs::rename(path_, target_, failed);
    if (failed) return io_error("cannot give the folder its name", target_, failed.value());
    path_.clear();
    return ok();
  }

 private:
  PendingFolder(fs::path path, fs::path target) : path_(std::move(path)), target_(std::move(target)) {}
  fs::path path_, target_;
};

std::vector<Shard> make_shards(const ModelSource& source, std::int64_t max_bytes) {
  std::vector<Shard> shards(1);
  for (const WeightSpec& spec : weights_of(source.config)) {
    const WeightSource::Info& info = source.weights->tensors().at(spec.name);
    std::int64_t bytes = size_of(info.dtype);
    for (const std::int64_t n : info.shape) bytes *= n;
    if (shards.back().bytes > 0 && shards.back().bytes + bytes > max_bytes) shards.emplace_back();
    shards.back().entries.push_back({spec.name, info.dtype, info.shape});
    shards.back().bytes += bytes;
  }
  return shards;
}

Status write_shard(const ModelSource& source, const Shard& shard, const fs::path& path) {
  RL_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::create(path, shard.entries));
  std::vector<std::byte> scratch;
  for (const auto& entry : shard.entries) {
    const std::int64_t rows = entry.shape[0];
    const std::int64_t row_bytes = size_of(entry.dtype) * (entry.shape.size() == 2 ? entry.shape[1] : 1);
    const std::int64_t step = std::max(std::int64_t{1}, kPieceBytes / row_bytes);
    for (std::int64_t first = 0; first < rows; first += step) {
      const std::int64_t n = std::min(step, rows - first);
      RL_ASSIGN(const TensorRef piece, source.weights->rows(entry.name, first, n, scratch));
      RL_TRY(writer.write({static_cast<const std::byte*>(piece.data), static_cast<std::size_t>(n * row_bytes)}));
    }
  }
  return writer.commit();
}

Status write_weights(const ModelSource& source, const fs::path& folder, std::int64_t max_shard_bytes) {
  const std::vector<Shard> shards = make_shards(source, max_shard_bytes);
  if (shards.size() == 1) return write_shard(source, shards[0], folder / "model.safetensors");
  const auto name_of_shard = [&](std::size_t i) {
    return fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
  };
  // A thread for each: the kernel writes to one file at a time by one thread, at a fraction of what the memory takes.
  std::vector<Status> written(shards.size());
  {
    std::vector<std::jthread> writers;
    for (std::size_t i = 0; i < shards.size(); ++i)
      writers.emplace_back([&, i] { written[i] = write_shard(source, shards[i], folder / name_of_shard(i)); });
  }
  std::int64_t total = 0;
  std::string map;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name = name_of_shard(i);
    RL_TRY(std::move(written[i]));
    total += shards[i].bytes;
    for (const auto& entry : shards[i].entries)
      map += fmt::format("{}    \"{}\": \"{}\"", map.empty() ? "" : ",\n", entry.name, name);
  }
  return write_file_atomic(folder / "model.safetensors.index.json",
                           fmt::format("{{\n  \"metadata\": {{\n    \"total_size\": {}\n  }},\n"
                                       "  \"weight_map\": {{\n{}\n  }}\n}}\n",
                                       total, map));
}

std::string generation_config(const ModelConfig& config) {
  std::string eos;
  for (const TokenId id : config.eos) eos += fmt::format("{}{}", eos.empty() ? "" : ", ", id);
  return fmt::format("{{\n  \"bos_token_id\": {},\n  \"eos_token_id\": {}\n}}\n",
                     config.bos ? std::to_string(*config.bos) : "null", eos.empty() ? "null" : "[" + eos + "]");
}

Status copy_files(const FileSet& from, std::initializer_list<const char*> names, const fs::path& folder) {
  for (const char* name : names) {
    if (!from.exists(name)) continue;
    RL_ASSIGN(const FileView file, from.open(name));
    std::string content(file.bytes().size(), '\0');
    RL_TRY(file.read(0, std::as_writable_bytes(std::span(content))));
    RL_TRY(write_file_atomic(folder / name, content));
  }
  return ok();
}

Status check_room(const ModelSource& source, const fs::path& folder) {
  std::int64_t bytes = 0;
  for (const Shard& shard : make_shards(source, std::numeric_limits<std::int64_t>::max())) bytes += shard.bytes;
  std::error_code failed;
  const fs::space_info space = fs::space(folder, failed);
  if (failed || space.available >= static_cast<std::uintmax_t>(bytes)) return ok();
  return Error{.kind = ErrorKind::io,
               .what = "not enough room to save the model",
               .rule = "save.room",
               .file = folder.string(),
               .expected = format_bytes({bytes}),
               .found = format_bytes({static_cast<std::int64_t>(space.available)}) + " free"};
}

}  // namespace

Status save_model_in_shards(const ModelSource& source, const fs::path& folder, Bytes max_shard) {
  const fs::path target = folder.has_filename() ? folder : folder.parent_path();
  RL_ASSIGN(PendingFolder pending, PendingFolder::create(target));
  RL_TRY(check_room(source, pending.path()));
  if (source.files) {
    RL_TRY(copy_files(*source.files,
                      {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"},
                      pending.path()));
  } else {
    RL_TRY(write_file_atomic(pending.path() / "config.json", write_config(source.config)));
    RL_TRY(write_file_atomic(pending.path() / "generation_config.json", generation_config(source.config)));
    RL_TRY(copy_files(*embedded_demo_files(), {"tokenizer.json", "tokenizer_config.json"}, pending.path()));
  }
  RL_TRY(write_weights(source, pending.path(), max_shard.count));
  return pending.commit();
}

Status save_model(const ModelSource& source, const fs::path& folder) {
  return save_model_in_shards(source, folder, {std::int64_t{4} << 30});
}

}  // namespace rl::model
