#include "selftest/selftest.h"

#include "selftest/check_variant.h"

namespace rl::selftest {

Result<std::vector<VariantResult>> run(const ops::Backend& backend, unsigned tags,
                                       const std::function<void(const VariantResult&)>& done) {
  RL_ASSIGN(const std::unique_ptr<Stream> stream, backend.device->make_stream());
  const Target target{.arch = backend.device->info().arch,
                      .stream = *stream,
                      .device = backend.device->host_reads_memory() ? nullptr : backend.device,
                      .layouts = backend.catalog.layouts};
  std::vector<VariantResult> results;
  const auto check = [&](const auto& variants) {
    for (const auto& variant : variants) {
      if (std::string_view(variant.name).ends_with("/cpu.ref")) continue;
      Report report = check_variant(variant, target, tags);
      results.push_back({variant.name, report.checked, std::move(report.failures)});
      done(results.back());
    }
  };
  const ops::Catalog& catalog = backend.catalog;
  check(catalog.feed);
  check(catalog.embed);
  check(catalog.rms_norm);
  check(catalog.linear);
  check(catalog.rope_append);
  check(catalog.attention);
  check(catalog.silu_mul);
  check(catalog.sample);
  check(catalog.deliver);
  return results;
}

}  // namespace rl::selftest
