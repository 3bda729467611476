#include "record/record.h"

namespace rl::record {

// No default: the compiler names a word that is missing here.

const char* name_of(Better better) {
  switch (better) {
    case Better::higher:
      return "higher";
    case Better::lower:
      return "lower";
    case Better::neither:
      return "neither";
  }
  return "";
}

const char* name_of(Timing timing) {
  switch (timing) {
    case Timing::none:
      return "none";
    case Timing::cold:
      return "cold";
    case Timing::hot:
      return "hot";
    case Timing::end_to_end:
      return "end_to_end";
  }
  return "";
}

const char* name_of(Stop stop) {
  switch (stop) {
    case Stop::none:
      return "none";
    case Stop::converged:
      return "converged";
    case Stop::max_samples:
      return "max_samples";
    case Stop::timeout:
      return "timeout";
  }
  return "";
}

const char* name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::same:
      return "same";
    case Verdict::better:
      return "better";
    case Verdict::worse:
      return "worse";
    case Verdict::inconclusive:
      return "inconclusive";
  }
  return "";
}

const char* name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::holds:
      return "holds";
    case Outcome::exceeds:
      return "exceeds";
    case Outcome::refuted:
      return "refuted";
    case Outcome::inconclusive:
      return "inconclusive";
    case Outcome::skipped:
      return "skipped";
    case Outcome::invalid:
      return "invalid";
  }
  return "";
}

const char* name_of(State state) {
  switch (state) {
    case State::done:
      return "done";
    case State::skipped:
      return "skipped";
    case State::failed:
      return "failed";
    case State::invalid:
      return "invalid";
    case State::not_built:
      return "not built yet";
  }
  return "";
}

void invalidate(Validity& validity, std::string reason, std::string rule) {
  validity.valid = false;
  if (!rule.empty()) {
    validity.rules.resize(validity.reasons.size());
    validity.rules.push_back(std::move(rule));
  }
  validity.reasons.push_back(std::move(reason));
}

}  // namespace rl::record
