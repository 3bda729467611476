#include "base/file.h"

#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rl {
namespace {

Error io_error(std::string what, const std::filesystem::path& path, int code) {
  return {.kind = ErrorKind::io,
          .what = std::move(what),
          .file = path.string(),
          .found = std::strerror(code),
          .native_code = code};
}

struct Descriptor {
  int fd = -1;
  explicit Descriptor(int fd_in) : fd(fd_in) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

Result<std::int64_t> regular_size(int fd, const std::filesystem::path& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return io_error("cannot stat file", path, errno);
  if (!S_ISREG(info.st_mode))
    return Error{.kind = ErrorKind::io,
                 .what = "not a regular file",
                 .file = path.string(),
                 .expected = "a file",
                 .found = S_ISDIR(info.st_mode) ? "a folder" : "a special file"};
  return static_cast<std::int64_t>(info.st_size);
}

class Folder final : public FileSet {
 public:
  explicit Folder(std::filesystem::path path) : path_(std::move(path)) {}
  std::string name() const override { return path_.string(); }
  bool exists(std::string_view file) const override {
    std::error_code ignored;
    return std::filesystem::is_regular_file(path_ / file, ignored);
  }
  Result<FileView> open(std::string_view file) const override { return map_file(path_ / file); }
  bool leads_outside(std::string_view file) const override {
    std::error_code failed;
    const auto folder = std::filesystem::weakly_canonical(path_, failed);
    const auto target = std::filesystem::weakly_canonical(path_ / file, failed);
    // A snapshot in the Hugging Face cache is links to ../../blobs/: there the repository's folder is the bound.
    const bool snapshot = folder.parent_path().filename() == "snapshots";
    const auto bound = snapshot ? folder.parent_path().parent_path() : folder;
    const auto relative = target.lexically_relative(bound);
    return failed || relative.empty() || *relative.begin() == "..";
  }

 private:
  std::filesystem::path path_;
};

}  // namespace

FileView FileView::of_static(std::string name, std::span<const std::byte> bytes) {
  FileView view;
  view.name_ = std::move(name);
  view.bytes_ = bytes;
  return view;
}

FileView FileView::of_string(std::string name, std::string content) {
  auto owner = std::make_shared<const std::string>(std::move(content));
  FileView view;
  view.name_ = std::move(name);
  view.bytes_ = std::as_bytes(std::span(*owner));
  view.owner_ = owner;
  return view;
}

Status FileView::read(std::int64_t offset, std::span<std::byte> out) const {
  RL_CHECK(offset >= 0 && offset + static_cast<std::int64_t>(out.size()) <= static_cast<std::int64_t>(bytes_.size()));
  if (descriptor_ < 0) {
    std::copy_n(bytes_.begin() + offset, out.size(), out.begin());
    return ok();
  }
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor_, out.data(), out.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error("cannot read file", name_, errno);
    if (got == 0)
      return Error{.kind = ErrorKind::io,
                   .what = "the file was cut short while it was being read",
                   .rule = "file.truncated",
                   .file = name_,
                   .offset = offset,
                   .expected = fmt::format("{} more bytes", out.size()),
                   .found = "the end",
                   .hint = "wait until it is complete (a download, a copy), then try again"};
    out = out.subspan(static_cast<std::size_t>(got));
    offset += got;
  }
  return ok();
}

Result<FileView> map_file(const std::filesystem::path& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd < 0) return io_error("cannot open file", path, errno);
  RL_ASSIGN(const std::int64_t size, regular_size(file.fd, path));
  FileView view;
  view.name_ = path.string();
  if (size == 0) return view;
  const std::size_t length = static_cast<std::size_t>(size);
  void* mapped = ::mmap(nullptr, length, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (mapped == MAP_FAILED) return io_error("cannot map file", path, errno);
  view.bytes_ = {static_cast<const std::byte*>(mapped), length};
  view.descriptor_ = std::exchange(file.fd, -1);
  view.owner_ = std::shared_ptr<const void>(mapped, [length, fd = view.descriptor_](const void* p) {
    ::munmap(const_cast<void*>(p), length);
    ::close(fd);
  });
  return view;
}

Result<FileView> read_file(const std::filesystem::path& path, std::int64_t max_bytes) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd < 0) return io_error("cannot open file", path, errno);
  RL_ASSIGN(const std::int64_t size, regular_size(file.fd, path));
  if (size > max_bytes)
    return Error{.kind = ErrorKind::invalid_input,
                 .what = "file too large",
                 .file = path.string(),
                 .expected = fmt::format("at most {} bytes", max_bytes),
                 .found = fmt::format("{} bytes", size)};
  std::string content(static_cast<std::size_t>(size), '\0');
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t got = ::read(file.fd, content.data() + done, content.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error("cannot read file", path, errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  content.resize(done);
  return FileView::of_string(path.string(), std::move(content));
}

Status write_file_atomic(const std::filesystem::path& path, std::string_view content) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  std::string temporary = (folder / fmt::format(".{}.XXXXXX", path.filename().string())).string();
  {
    const Descriptor file(::mkostemp(temporary.data(), O_CLOEXEC));
    if (file.fd < 0) return io_error("cannot create file", path, errno);
    auto fail = [&](const char* what) {
      const int code = errno;
      ::unlink(temporary.c_str());
      return io_error(what, path, code);
    };
    std::string_view rest = content;
    while (!rest.empty()) {
      const ssize_t written = ::write(file.fd, rest.data(), rest.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return fail("cannot write file");
      rest.remove_prefix(static_cast<std::size_t>(written));
    }
    if (::fchmod(file.fd, 0644) != 0 || ::fsync(file.fd) != 0) return fail("cannot write file");
    if (::rename(temporary.c_str(), path.c_str()) != 0) return fail("cannot replace file");
  }
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.fd < 0 || ::fsync(directory.fd) != 0) return io_error("cannot sync folder", folder, errno);
  return ok();
}

std::unique_ptr<FileSet> folder_files(std::filesystem::path folder) {
  return std::make_unique<Folder>(std::move(folder));
}

}  // namespace rl
