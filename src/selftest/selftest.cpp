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
  const auto add = [&](const char* name, Report report) {
    results.push_back({name, report.checked, std::move(report.failures)});
    done(results.back());
  };
  const auto is_meant = [&](std::string_view name) {
    return !name.ends_with("/cpu.ref") && name.starts_with(beginning);
  };
  const auto check = [&]<class Args>(std::span<const ops::Variant<Args>> variants) {
    std::vector<const ops::Variant<Args>*> meant;
    for (const auto& variant : variants)
      if (is_meant(variant.name)) meant.push_back(&variant);
    std::vector<Report> reports = check_variants(meant, target, tags);
    for (std::size_t i = 0; i < meant.size(); ++i) add(meant[i]->name, std::move(reports[i]));
  };
  const ops::Catalog& catalog = backend.catalog;
  check(catalog.feed);
  check(catalog.embed);
  check(catalog.rms_norm);
  check(catalog.linear);
  for (const auto& variant : catalog.fused_linear)
    if (is_meant(variant.name)) add(variant.name, check_fused(variant, catalog, target, tags));
  check(catalog.rope_append);
  check(catalog.attention);
  check(catalog.silu_mul);
  check(catalog.sample);
  check(catalog.deliver);
  return results;
}

}  // namespace rl::selftest
