#pragma once
// Files: read-only views (mapped, read, or embedded in the program) and writes that are never seen half done.

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace rl {

// Read-only bytes with their name for messages. Copies share the bytes, which live as long as the last copy.
class FileView {
 public:
  FileView() = default;
  // Bytes that live as long as the program, e.g. embedded ones.
  static FileView of_static(std::string name, std::span<const std::byte> bytes);
  static FileView of_string(std::string name, std::string content);

  const std::string& name() const { return name_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }
  // Whether the bytes are those of a file that somebody may change; they are fixed otherwise.
  bool mapped() const { return descriptor_ >= 0; }
  // Copies bytes [offset, offset + out.size()), which lie inside bytes(), to `out`. A mapped file is read with pread:
  // if it was cut short since, or the disk fails, that is an error (io) here, but a SIGBUS for a reader of bytes().
  Status read(std::int64_t offset, std::span<std::byte> out) const;

 private:
  friend Result<FileView> map_file(const std::filesystem::path&);
  std::string name_;
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
  int descriptor_ = -1;  // of a mapped file; closed with the owner
};

// Maps a regular file read-only. Errors: io (missing, unreadable, not a regular file).
Result<FileView> map_file(const std::filesystem::path& path);

// Reads a whole regular file of at most max_bytes into memory. Errors: io; invalid_input if it is larger.
Result<FileView> read_file(const std::filesystem::path& path, std::int64_t max_bytes);

// Writes through a temporary file in the same folder, fsync, rename, fsync of the folder: readers and a crash see the
// old content or the new, never a part. Errors: io with errno.
Status write_file_atomic(const std::filesystem::path& path, std::string_view content);

// A folder's files, or a set of embedded ones: what a model is loaded from.
class FileSet {
 public:
  virtual ~FileSet() = default;
  virtual std::string name() const = 0;
  virtual bool exists(std::string_view file) const = 0;
  // Maps large files; errors as map_file.
  virtual Result<FileView> open(std::string_view file) const = 0;
  // Whether a name that a file of the set mentions leads out of it, by its path or through a symbolic link.
  virtual bool leads_outside(std::string_view) const { return false; }
};

std::unique_ptr<FileSet> folder_files(std::filesystem::path folder);

}  // namespace rl
