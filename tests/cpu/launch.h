#pragma once
// Launching a variant as a test does: under a limit of the instruction set, with a workspace of exactly the size it
// asks for, NaN before, and a band behind it that must not change.

#include "check/result.h"
#include "cpu/fast/cpu_device.h"
#include "ops/case_inputs.h"
#include "tensor/buffer.h"
#include "tensor/element.h"

namespace rl::cpu {

inline constexpr std::string_view kLimits[] = {"avx512_bf16", "avx512", "avx2", "none"};

inline std::vector<std::byte> bytes_of(const TensorRef& t) {
  const auto* const data = static_cast<const std::byte*>(t.data);
  return {data, data + t.elements() * size_of(t.dtype)};
}
inline void set_bytes(const TensorRef& t, const std::vector<std::byte>& bytes) {
  std::memcpy(t.data, bytes.data(), bytes.size());
}

template <class Args>
Status launch(const ops::Variant<Args>& variant, const Args& args, ThreadPool& pool, std::string_view limit = {}) {
  constexpr std::int64_t kBand = 256;
  const Arch arch = detect_arch(limit);
  RL_TRY(validate(args));
  RL_TRY(variant.supports(args, arch));
  PoisoningResource memory(host_memory());
  const Bytes size = variant.workspace(args);
  RL_ASSIGN(const Buffer workspace, Buffer::make(memory, size + Bytes{kBand}));
  CpuStream stream(pool, arch);
  RL_TRY(variant.launch(args, workspace.data(), stream));
  for (std::int64_t i = size.count; i < size.count + kBand; ++i)
    if (workspace.as<std::uint8_t>()[i] != 0xFF)
      return Error{.what = fmt::format("{} wrote {} bytes past its workspace", variant.name, i - size.count)};
  return ok();
}

}  // namespace rl::cpu
