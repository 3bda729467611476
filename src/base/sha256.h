#pragma once
// SHA-256 (FIPS 180-4): fingerprints of models, tokenizers and builds in records. About 0.2 GB/s: for headers and
// samples, not for whole checkpoints.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace rl {

class Sha256 {
 public:
  Sha256& add(std::span<const std::byte> bytes);
  Sha256& add(std::string_view text);
  Sha256& add(std::int64_t number);  // as 8 bytes, little-endian
  // The digest as 64 lower-case hexadecimal digits. Ends the computation.
  std::string hex();

 private:
  void block(const std::byte* data);

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::byte, 64> pending_{};
  std::size_t pending_bytes_ = 0;
  std::uint64_t bytes_ = 0;
};

std::string sha256_hex(std::string_view text);

}  // namespace rl
