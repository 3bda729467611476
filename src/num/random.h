#pragma once
// Random numbers as a function of a seed and a counter: equal on every machine and in any order of evaluation. They
// make the inputs of test cases, synthetic weights, and the draws of sampled generation. A `.cu` file may include this
// header.

#include <array>
#include <bit>
#include <cstdint>

namespace rl::num {

// Philox4x32-10: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
using PhiloxBlock = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

constexpr PhiloxBlock philox4x32(PhiloxBlock counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0], b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  return counter;
}

// The block of stream `stream` at `counter` under `seed`.
constexpr PhiloxBlock random_block(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  return philox4x32({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
                     static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
                    {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
}

constexpr double uniform53(std::uint32_t low, std::uint32_t high) {
  return static_cast<double>((std::uint64_t{high} << 32 | low) >> 11) * 0x1p-53;
}

// Uniform in [0, 1), 53 bits: the draw of token `counter` of a request with this seed (ops/sample.h).
constexpr double uniform(std::uint64_t seed, std::uint64_t counter) {
  const PhiloxBlock block = random_block(seed, 0, counter);
  return uniform53(block[0], block[1]);
}

// Uniform in [0, n), without bias worth speaking of for n far below 2^64.
constexpr std::uint64_t uniform_below(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter,
                                      std::uint64_t n) {
  const PhiloxBlock block = random_block(seed, stream, counter);
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((Wide{std::uint64_t{block[1]} << 32 | block[0]} * n) >> 64);
}

// What normal4 draws and hashed_normal draws are whole numbers times this: 1 / sqrt(4 (256^2 - 1) / 12).
inline constexpr float kInverseDeviation = 0.006765875f;

// Four values near the standard normal distribution cheaply: each is the sum of the 4 bytes of a word, less
// its mean, over its standard deviation. Bounded by 3.45, symmetric, variance 1; every value
// is a whole number times that constant: one rounding, the same on every machine.
constexpr std::array<float, 4> normal4(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  const PhiloxBlock block = random_block(seed, stream, counter);
  std::array<float, 4> out{};
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t word = block[static_cast<std::size_t>(i)];
    const int sum = static_cast<int>((word & 0xff) + (word >> 8 & 0xff) + (word >> 16 & 0xff) + (word >> 24));
    out[static_cast<std::size_t>(i)] = static_cast<float>(sum - 510) * kInverseDeviation;
  }
  return out;
}

// As a value of normal4, before it is multiplied by kInverseDeviation, from a hashed counter: a loop over counters
// becomes vector code on any machine, at some 5 times the speed of Philox, which gives the keys. For many numbers that
// need no more than to look random. The mixing steps are those of lowbias32 (Chris Wellons, "Prospecting for hash
// functions", 2018).
constexpr std::int32_t hashed_normal(std::uint32_t key0, std::uint32_t key1, std::uint32_t counter) {
  std::uint32_t x = counter * 0x9E3779B9U + key0;
  x ^= x >> 16;
  x *= 0x7FEB352DU;
  x ^= key1;
  x ^= x >> 15;
  x *= 0x846CA68BU;
  x ^= x >> 16;
  const std::uint32_t pairs = (x & 0x00FF00FFU) + ((x >> 8) & 0x00FF00FFU);
  return static_cast<std::int32_t>((pairs & 0xFFFF) + (pairs >> 16)) - 510;
}

}  // namespace rl::num
