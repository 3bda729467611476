#pragma once
// Model files made up in memory or in a temporary folder.

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "base/file.h"

namespace rl::model {

inline std::string fixture(const std::string& name) {
  if (name == "demo") return REDLINE_SOURCE_DIR "/models/demo";
  return std::string(REDLINE_SOURCE_DIR "/tests/data/models/") + name;
}

class MemoryFiles final : public FileSet {
 public:
  std::map<std::string, std::string, std::less<>> files;

  std::string name() const override { return "memory"; }
  bool exists(std::string_view file) const override { return files.contains(file); }
  Result<FileView> open(std::string_view file) const override {
    const auto found = files.find(file);
    if (found == files.end()) return Error{.kind = ErrorKind::io, .what = "no such file", .file = std::string(file)};
    return FileView::of_string(std::string(file), found->second);
  }
};

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string path = (std::filesystem::temp_directory_path() / "redline_model_test.XXXXXX").string();
    RL_CHECK(::mkdtemp(path.data()) != nullptr);
    path_ = path;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& file, const std::string& content) const {
    const std::filesystem::path path = path_ / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  RL_CHECK_MSG(file.good(), path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

// A safetensors file: the header's length, the header, the data.
inline std::string safetensors(const std::string& header, const std::string& data = {}) {
  std::string file;
  for (std::uint64_t length = header.size(), i = 0; i < 8; ++i, length >>= 8) file += static_cast<char>(length & 0xFF);
  return file + header + data;
}

// `text` with the first `from` replaced.
inline std::string with(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  RL_CHECK_MSG(at != std::string::npos, from);
  return text.replace(at, from.size(), to);
}

}  // namespace rl::model
