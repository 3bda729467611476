#pragma once
// Writes a safetensors file piece by piece, so that a tensor larger than memory can be written. Nothing is seen under
// the file's name until all of it is on disk.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace rl::model {

class SafetensorsWriter {
 public:
  struct Entry {
    std::string name;
    DType dtype = DType::f32;
    std::vector<std::int64_t> shape;
  };

  // Begins a temporary file beside `path` with the header of these tensors, whose data follow in this order without
  // gaps. Errors: invalid_input for a shape whose size overflows, a name twice, or a type the format has no name for;
  // io.
  static Result<SafetensorsWriter> create(const std::filesystem::path& path, const std::vector<Entry>& entries);
  SafetensorsWriter(SafetensorsWriter&& other) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) = delete;
  ~SafetensorsWriter();  // removes the temporary file unless it was committed

  // The next bytes of the data. Errors: io; internal if there are more than the header says.
  Status write(std::span<const std::byte> bytes);
  // Makes the file durable and gives it its name. Errors: io; internal if bytes are missing.
  Status commit();

 private:
  SafetensorsWriter() = default;
  Status write_all(std::span<const std::byte> bytes);

  std::filesystem::path path_;
  std::string temporary_;  // empty: committed or moved from
  int fd_ = -1;
  std::int64_t missing_ = 0;  // bytes of data still to come
};

}  // namespace rl::model
