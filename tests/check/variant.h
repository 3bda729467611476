#pragma once
// The check of selftest/check_variant.h with its failures as those of the test.

#include <gtest/gtest.h>

#include "selftest/check_variant.h"

namespace rl::check {

// For variants that compute at once and need nothing of a stream.
class NullStream final : public Stream {
 public:
  Status wait_for_all() override { return ok(); }
  Status copy_to_device(void*, const void*, Bytes) override { return none(); }
  Status copy_to_host(void*, const void*, Bytes) override { return none(); }
  Status record(Event&) override { return ok(); }
  Status begin_capture() override { return none(); }
  Result<std::unique_ptr<CapturedStep>> end_capture(const CaptureOptions&) override { return none(); }
  Status replay(CapturedStep&) override { return none(); }

 private:
  static Error none() { return {.kind = ErrorKind::unsupported, .what = "not of this stream"}; }
};

// A report's failures as those of the test, and how many combinations it checked.
inline int told(const selftest::Report& report) {
  for (const std::string& failure : report.failures) ADD_FAILURE() << failure;
  return report.checked;
}

// How many combinations the variants support and so were checked on, in all.
template <class Args>
int check_variants(const std::vector<const ops::Variant<Args>*>& variants, const selftest::Target& target,
                   unsigned tags) {
  int checked = 0;
  for (const selftest::Report& report : selftest::check_variants(variants, target, tags)) checked += told(report);
  return checked;
}
template <class Args>
int check_variant(const ops::Variant<Args>& variant, const selftest::Target& target, unsigned tags) {
  return check_variants<Args>({&variant}, target, tags);
}
template <class Args>
int check_variant(const ops::Variant<Args>& variant, const Arch& arch, Stream& stream, unsigned tags) {
  return check_variant(variant, {.arch = arch, .stream = stream}, tags);
}

}  // namespace rl::check
