#include "base/file_lock.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace rl {
namespace {

// Whether the open file is still the one of that name.
bool same_file(int descriptor, const std::filesystem::path& file) {
  struct stat open {
  }, named{};
  return ::fstat(descriptor, &open) == 0 && ::stat(file.c_str(), &named) == 0 && open.st_dev == named.st_dev &&
         open.st_ino == named.st_ino;
}

}  // namespace

Result<FileLock> FileLock::take(const std::filesystem::path& file, const std::function<void()>& opened) {
  for (;;) {
    const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor >= 0 && opened) opened();
    if (descriptor >= 0 && ::flock(descriptor, LOCK_EX | LOCK_NB) == 0) {
      if (same_file(descriptor, file)) return FileLock(file, descriptor);
      ::close(descriptor);
      continue;
    }
    const int code = errno;
    const bool held = descriptor >= 0 && code == EWOULDBLOCK;
    if (descriptor >= 0) ::close(descriptor);
    return Error{.kind = held ? ErrorKind::cancelled : ErrorKind::io,
                 .what = held ? "another process holds the lock" : "cannot lock a file",
                 .rule = held ? "file.locked" : "",
                 .file = file.string(),
                 .found = held ? "" : std::strerror(code),
                 .native_code = code};
  }
}

FileLock::FileLock(FileLock&& other) noexcept
    : file_(std::move(other.file_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock::~FileLock() {
  if (descriptor_ < 0) return;
  ::unlink(file_.c_str());
  ::close(descriptor_);
}

}  // namespace rl
