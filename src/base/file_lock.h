#pragma once
// A file that says that a process is at work, and goes when it is done.

#include <filesystem>
#include <functional>

#include "base/result.h"

namespace rl {

// Held until the object goes; the kernel gives it back where the process is killed (flock), and the file is left.
class FileLock {
 public:
  // Makes the file where it is not there. Whoever held the lock before may remove the file between its being opened and
  // its being locked here: what was locked then is no longer the file of that name, which a third process may have
  // made anew, so it is opened again. `opened` runs after each opening, for tests. Errors: cancelled, rule
  // "file.locked", while another holds it; io.
  static Result<FileLock> take(const std::filesystem::path& file, const std::function<void()>& opened = {});

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();  // removes the file, then lets go

 private:
  FileLock(std::filesystem::path file, int descriptor) : file_(std::move(file)), descriptor_(descriptor) {}
  std::filesystem::path file_;
  int descriptor_ = -1;
};

}  // namespace rl
