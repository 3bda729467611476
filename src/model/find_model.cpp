#include <cstdlib>
#include <filesystem>

#include "base/sha256.h"
#include "model/embedded_demo.h"
#include "model/model.h"
#include "model/safetensors.h"
#include "model/synthetic.h"
#include "model/weight_names.h"

namespace rl::model {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSynthetic = "synthetic:";
constexpr const char* kAccepted =
    "a folder with config.json, OWNER/NAME of a model in the Hugging Face cache, synthetic:NAME, or demo";

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

// "owner/name" as the Hugging Face hub has them: letters, digits, '-', '_', '.'.
bool is_repository_name(std::string_view spec) {
  const auto plain = [](std::string_view part) {
    const auto allowed = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
             c == '.';
    };
    return !part.empty() && part.size() <= 96 && part != "." && part != ".." &&
           std::all_of(part.begin(), part.end(), allowed);
  };
  const std::size_t slash = spec.find('/');
  return slash != std::string_view::npos && plain(spec.substr(0, slash)) && plain(spec.substr(slash + 1));
}

std::optional<fs::path> environment_path(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return fs::path(value);
}

// The folder that the hub's own tools use. These variables are the hub's, read here and nowhere else.
std::optional<fs::path> hub_cache() {
  if (const auto cache = environment_path("HF_HUB_CACHE")) return cache;
  if (const auto home = environment_path("HF_HOME")) return *home / "hub";
  if (const auto home = environment_path("HOME")) return *home / ".cache/huggingface/hub";
  return std::nullopt;
}

// The commit that refs/main names; a repository fetched at another revision alone has one snapshot and no refs/main.
std::optional<fs::path> snapshot_of(const fs::path& repository) {
  if (const auto ref = read_file(repository / "refs/main", 256)) {
    std::string commit(ref->text());
    commit.erase(commit.find_last_not_of(" \t\r\n") + 1);
    const fs::path snapshot = repository / "snapshots" / commit;
    if (!commit.empty() && commit.find('/') == std::string::npos && commit[0] != '.' && is_folder(snapshot))
      return snapshot;
  }
  std::vector<fs::path> snapshots;
  std::error_code failed;
  for (fs::directory_iterator entry(repository / "snapshots", failed), end; !failed && entry != end;
       entry.increment(failed))
    if (is_folder(entry->path())) snapshots.push_back(entry->path());
  if (snapshots.size() == 1) return snapshots[0];
  return std::nullopt;
}

Result<std::unique_ptr<FileSet>> cached_files(const std::string& spec) {
  const auto cache = hub_cache();
  std::string folder = "models--" + spec;
  folder.replace(folder.find('/'), 1, "--");
  if (cache) {
    if (const auto snapshot = snapshot_of(*cache / folder)) return folder_files(*snapshot);
  }
  return Error{.kind = ErrorKind::io,
               .what = fmt::format("'{}' is neither a folder nor in the local Hugging Face cache", spec),
               .rule = "model.not_found",
               .file = cache ? (*cache / folder).string() : std::string(),
               .hint = fmt::format("nothing is downloaded here; to get it: hf download {}", spec)};
}

Error not_a_model(const std::string& spec) {
  Error error{.kind = ErrorKind::invalid_input,
              .what = fmt::format("there is no model '{}'", spec),
              .rule = "model.not_found",
              .expected = kAccepted,
              .hint = "redline doctor lists what is here"};
  std::error_code ignored;
  if (!fs::exists(spec, ignored)) return error;
  error.what = fmt::format("'{}' is not a model folder", spec);
  error.found = "a file";
  error.hint = spec.ends_with(".gguf") ? "GGUF files are not read; give the folder with config.json and *.safetensors"
                                       : "give the folder that holds it";
  return error;
}

// SHA-256 over what identifies a checkpoint without reading all of it: config.json, then of each file its size, its
// header and 64 KiB at the beginning, in the middle and at the end of its data.
Result<std::string> fingerprint_of(const FileSet& files, const Checkpoint& checkpoint) {
  constexpr std::int64_t kSample = 64 << 10;
  Sha256 sum;
  std::vector<std::byte> bytes;
  const auto add = [&](const FileView& file, std::int64_t begin, std::int64_t n) -> Status {
    bytes.resize(static_cast<std::size_t>(n));
    RL_TRY(file.read(begin, bytes));
    sum.add(std::span<const std::byte>(bytes));
    return ok();
  };
  RL_ASSIGN(const FileView config, files.open("config.json"));
  RL_TRY(add(config, 0, std::ssize(config.bytes())));
  for (const SafetensorsFile& file : checkpoint.files()) {
    const std::int64_t size = std::ssize(file.file().bytes()), begin = file.data_begin(), data = size - begin;
    sum.add(size);
    RL_TRY(add(file.file(), 0, begin));
    const std::int64_t sample = std::min(kSample, data);
    for (const std::int64_t at : {std::int64_t{0}, (data - sample) / 2, data - sample})
      RL_TRY(add(file.file(), begin + at, sample));
  }
  return sum.hex();
}

std::string stored_as(const ModelConfig& config, const WeightSource& weights) {
  std::vector<DType> types;
  for (const WeightSpec& spec : weights_of(config)) {
    const DType type = weights.tensors().at(spec.name).dtype;
    if (spec.shape.size() == 2 && std::find(types.begin(), types.end(), type) == types.end()) types.push_back(type);
  }
  std::string text;
  for (const DType type : types) text += fmt::format("{}{}", text.empty() ? "" : " and ", rl::name_of(type));
  return text;
}

}  // namespace

Result<std::unique_ptr<FileSet>> find_files(const std::string& spec) {
  if (spec.empty() || spec == "demo") return embedded_demo_files();
  if (spec.starts_with(kSynthetic))
    return Error{.kind = ErrorKind::invalid_input,
                 .what = fmt::format("'{}' has no files: its weights are generated", spec),
                 .rule = "model.no_files",
                 .hint = "--save DIR writes it as a folder"};
  if (is_folder(spec)) return folder_files(spec);
  if (is_repository_name(spec)) {
    std::error_code ignored;
    if (!fs::exists(spec, ignored)) return cached_files(spec);
  }
  return not_a_model(spec);
}

Result<ModelSource> find_model(const std::string& spec) {
  if (spec.starts_with(kSynthetic)) return synthetic_named(spec.substr(kSynthetic.size()));
  ModelSource source{.name = spec.empty() ? "demo" : spec};
  RL_ASSIGN(source.files, find_files(spec));
  RL_ASSIGN(source.config, read_config(*source.files));
  RL_ASSIGN(std::unique_ptr<Checkpoint> checkpoint, Checkpoint::open(*source.files));
  source.warnings = source.config.warnings;
  RL_ASSIGN(const std::vector<std::string> warnings, check_weights(source.config, *checkpoint, source.name));
  source.warnings.insert(source.warnings.end(), warnings.begin(), warnings.end());
  RL_ASSIGN(source.fingerprint, fingerprint_of(*source.files, *checkpoint));
  source.stored_as = stored_as(source.config, *checkpoint);
  source.weights = std::move(checkpoint);
  return source;
}

}  // namespace rl::model
