#pragma once
// `redline bench`: prefill and decode rates of one model in llama-bench's terms (pp512, tg128 @ d2048), each beside the
// machine's ceiling measured in the same run.

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "app/wiring.h"
#include "base/result.h"

namespace rl::app {

struct BenchOptions {
  std::string model;
  DeviceOptions device;
  std::vector<std::int64_t> prompt{512};  // -p: prefill of this many tokens; 0: none
  std::vector<std::int64_t> decode{128};  // -n: decode of this many tokens; 0: none
  std::vector<std::int64_t> depth{0};     // -d: context before the decoded tokens
  std::vector<std::int64_t> batch{1};     // -b: sequences decoded together
  std::vector<std::string> pdl{"on"};     // --pdl: captured steps with programmatic edges or without
  bool check = false;                     // --check: the logits of these steps beside plain variants' first
  int repetitions = 5;                    // -r
  std::string format = "bf16";            // engine::format_from
  std::string kv_cache = "auto";          // engine::kv_cache_type_from
  std::vector<std::string> force;         // op=variant
  std::string output = "md";              // -o: md, csv, json, jsonl
  std::uint64_t seed = 1;
};

Status cmd_bench(const BenchOptions& options, std::FILE* out);

}  // namespace rl::app
