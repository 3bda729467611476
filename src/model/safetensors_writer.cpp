#include "model/safetensors_writer.h"

#include <cerrno>
#include <set>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"

namespace rl::model {
namespace {

Error io_error(const char* what, const std::filesystem::path& path, int code) {
  return Error{
      .kind = ErrorKind::io, .what = what, .file = path.string(), .found = std::strerror(code), .native_code = code};
}

// The format's names of types (safetensors 0.4, `Dtype`).
const char* format_name(DType type) {
  switch (type) {
    case DType::f64:
      return "F64";
    case DType::f32:
      return "F32";
    case DType::bf16:
      return "BF16";
    case DType::f16:
      return "F16";
    case DType::f8_e4m3:
      return "F8_E4M3";
    case DType::f8_e5m2:
      return "F8_E5M2";
    case DType::i64:
      return "I64";
    case DType::i32:
      return "I32";
    case DType::i8:
      return "I8";
    case DType::u8:
      return "U8";
  }
  return "?";
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<int>(c));
    else
      out += c;
  }
  return out + '"';
}

struct Header {
  std::string bytes;  // length field included
  std::int64_t data_bytes = 0;
};

Result<Header> make_header(const std::vector<SafetensorsWriter::Entry>& entries) {
  Header header;
  std::set<std::string> names;
  std::string json = R"({"__metadata__":{"format":"pt"})";
  for (const auto& entry : entries) {
    if (!names.insert(entry.name).second)
      return Error{.kind = ErrorKind::invalid_input, .what = "two tensors of one name", .field = entry.name};
    std::string shape;
    for (const std::int64_t n : entry.shape) shape += fmt::format("{}{}", shape.empty() ? "" : ",", n);
    std::optional<std::int64_t> bytes = checked_product(entry.shape);
    if (bytes) bytes = checked_mul(*bytes, size_of(entry.dtype));
    const std::optional<std::int64_t> end = bytes ? checked_add(header.data_bytes, *bytes) : std::nullopt;
    if (!end)
      return Error{.kind = ErrorKind::invalid_input, .what = "tensor too large", .field = entry.name, .found = shape};
    json += fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", json_string(entry.name),
                        format_name(entry.dtype), shape, header.data_bytes, *end);
    header.data_bytes = *end;
  }
  json += "}";
  // Data begin at a multiple of 8, so that a mapped file's tensors are aligned; padding is spaces.
  json.resize(static_cast<std::size_t>(round_up(std::ssize(json), 8)), ' ');
  std::uint64_t length = json.size();
  for (int i = 0; i < 8; ++i, length >>= 8) header.bytes += static_cast<char>(length & 0xFF);
  header.bytes += json;
  return header;
}

}  // namespace

Result<SafetensorsWriter> SafetensorsWriter::create(const std::filesystem::path& path,
                                                    const std::vector<Entry>& entries) {
  RL_ASSIGN(const Header header, make_header(entries));
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  SafetensorsWriter writer;
  writer.path_ = path;
  std::string temporary = (folder / fmt::format(".{}.XXXXXX", path.filename().string())).string();
  writer.fd_ = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (writer.fd_ < 0) return io_error("cannot create file", path, errno);
  writer.temporary_ = std::move(temporary);
  writer.missing_ = header.data_bytes;
  RL_TRY(writer.write_all(std::as_bytes(std::span(header.bytes))));
  return writer;
}

SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      fd_(std::exchange(other.fd_, -1)),
      missing_(other.missing_) {}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Status SafetensorsWriter::write(std::span<const std::byte> bytes) {
  if (std::ssize(bytes) > missing_)
    return Error{.kind = ErrorKind::internal, .what = "more data than the header says", .file = path_.string()};
  RL_TRY(write_all(bytes));
  missing_ -= std::ssize(bytes);
  return ok();
}

Status SafetensorsWriter::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error("cannot write file", path_, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return ok();
}

Status SafetensorsWriter::commit() {
  if (missing_ != 0)
    return Error{.kind = ErrorKind::internal,
                 .what = fmt::format("{} bytes of data are missing", missing_),
                 .file = path_.string()};
  if (::fchmod(fd_, 0644) != 0 || ::fsync(fd_) != 0) return io_error("cannot write file", path_, errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return io_error("cannot replace file", path_, errno);
  temporary_.clear();
  const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = directory >= 0 && ::fsync(directory) == 0;
  const int code = errno;
  if (directory >= 0) ::close(directory);
  if (!synced) return io_error("cannot sync folder", folder, code);
  return ok();
}

}  // namespace rl::model
