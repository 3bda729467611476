#include "app/cmd_selftest.h"

#include "app/exit_code.h"
#include "base/file.h"
#include "base/json_text.h"
#include "ops/case.h"
#include "selftest/selftest.h"
#include "telemetry/host.h"

namespace rl::app {
namespace {

// Nothing personal: the device, the program and the results.
std::string json_of(const ops::Backend& backend, const std::vector<selftest::VariantResult>& results) {
  const record::Environment environment = telemetry::capture_environment();
  const DeviceInfo& device = backend.device->info();
  std::string text = fmt::format(
      "{{\"redline\": {}, \"commit\": {}, \"backend\": {}, \"device\": {}, \"arch\": {}, \"driver\": {}, \"variants\": "
      "[\n",
      json_string(environment.version), json_string(environment.commit), json_string(backend.name),
      json_string(device.name), device.arch.version, json_string(environment.driver));
  for (std::size_t i = 0; i < results.size(); ++i) {
    std::string failures;
    for (const std::string& failure : results[i].failures)
      failures += (failures.empty() ? "" : ", ") + json_string(failure);
    text += fmt::format("  {{\"name\": {}, \"checked\": {}, \"failures\": [{}]}}{}\n", json_string(results[i].name),
                        results[i].checked, failures, i + 1 < results.size() ? "," : "");
  }
  return text + "]}\n";
}

}  // namespace

Result<int> cmd_selftest(const SelftestOptions& options, std::FILE* out) {
  RL_ASSIGN(const OpenBackend open, open_backend(options.device));
  fmt::print(out, "{}: each kernel on its cases, beside plain loops in double precision\n",
             open.backend.device->info().name);
  int checked = 0, wrong = 0;
  const auto show = [&](const selftest::VariantResult& result) {
    checked += result.checked;
    wrong += static_cast<int>(result.failures.size());
    fmt::print(out, "  {:<8}{:<34} {}\n", result.failures.empty() ? (result.checked > 0 ? "ok" : "-") : "WRONG",
               result.name,
               result.checked > 0 ? fmt::format("{} combinations", result.checked) : "supports none of them here");
    for (std::size_t i = 0; i < std::min<std::size_t>(result.failures.size(), 3); ++i)
      fmt::print(out, "          {}\n", result.failures[i]);
    if (result.failures.size() > 3) fmt::print(out, "          and {} more\n", result.failures.size() - 3);
    std::fflush(out);
  };
  const unsigned tags = options.small ? ops::kSanitize : options.full ? ops::kQuick | ops::kLong : ops::kQuick;
  RL_ASSIGN(const auto results, selftest::run(open.backend, tags, options.only, show));
  if (results.empty())
    return Error{.kind = ErrorKind::usage,
                 .what = "no variant of this backend has such a name",
                 .field = "--only",
                 .expected = "an op, or the beginning of a variant's name: linear/cuda.skinny",
                 .found = options.only};
  fmt::print(out, "{} combinations, {} wrong\n", checked, wrong);
  if (!options.output.empty()) {
    RL_TRY(write_file_atomic(options.output, json_of(open.backend, results)));
    fmt::print(out, "result    {}\n", options.output);
  }
  return wrong == 0 ? kExitOk : kExitInvalid;
}

}  // namespace rl::app
