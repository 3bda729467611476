#include "selftest/selftest.h"

#include "selftest/check_fused.h"
#include "selftest/check_variant.h"

namespace rl::selftest {

Result<std::vector<VariantResult>> run(const ops::Backend& backend, unsigned tags, std::string_view beginning,
                                       const std::function<void(const VariantResult&)>& done) {
  RL_ASSIGN(const std::unique_ptr<Stream> stream, backend.device->make_stream());
  const Target target{.arch = backend.device->info().arch,
                      .stream = *stream,
                      .device = backend.device->host_reads_memory() ? nullptr : backend.device,
                      .layouts = backend.catalog.layouts};
  std::vector<VariantResult> results;
  const auto check_with = [&](const auto& variants, const auto& report_of) {
    for (const auto& variant : variants) {
      const std::string_view name = variant.name;
      if (name.ends_with("/cpu.ref") || !name.starts_with(beginning)) continue;
      Report report = report_of(variant);
      results.push_back({variant.name, report.checked, std::move(report.failures)});
      done(results.back());
    }
  };
  const auto check = [&](const auto& variants) {
    check_with(variants, [&](const auto& variant) { return check_variant(variant, target, tags); });
  };
  const ops::Catalog& catalog = backend.catalog;
  check(catalog.feed);
  check(catalog.embed);
  check(catalog.rms_norm);
  check(catalog.linear);
  check_with(catalog.fused_linear, [&](const auto& variant) { return check_fused(variant, catalog, target, tags); });
  check(catalog.rope_append);
  check(catalog.attention);
  check(catalog.silu_mul);
  check(catalog.sample);
  check(catalog.deliver);
  return results;
}

}  // namespace rl::selftest
