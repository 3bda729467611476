#pragma once
// Whether two records are the same, to the bit. Written apart from record/fields.h: a field forgotten there shows here,
// because a structured binding must name every member.

#include <bit>

#include "record/record.h"

namespace rl::record {

template <class T>
bool same(const T& a, const T& b) {
  if constexpr (std::is_same_v<T, double>)
    return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
  else
    return a == b;
}
template <class T>
bool same(const std::optional<T>& a, const std::optional<T>& b) {
  return a.has_value() == b.has_value() && (!a || same(*a, *b));
}
template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const T& x, const T& y) { return same(x, y); });
}
template <class... T>
bool same(const std::tuple<T...>& a, const std::tuple<T...>& b) {
  return [&]<std::size_t... i>(std::index_sequence<i...>) { return (same(std::get<i>(a), std::get<i>(b)) && ...); }
  (std::index_sequence_for<T...>{});
}

inline auto members(const Interval& v) {
  const auto& [m0, m1] = v;
  return std::tuple(m0, m1);
}
inline bool same(const Interval& a, const Interval& b) { return same(members(a), members(b)); }

inline auto members(const Metric& v) {
  const auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14] = v;
  return std::tuple(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14);
}
inline bool same(const Metric& a, const Metric& b) { return same(members(a), members(b)); }

inline auto members(const Validity& v) {
  const auto& [m0, m1, m2, m3] = v;
  return std::tuple(m0, m1, m2, m3);
}
inline bool same(const Validity& a, const Validity& b) { return same(members(a), members(b)); }

inline auto members(const Row& v) {
  const auto& [m0, m1, m2, m3, m4] = v;
  return std::tuple(m0, m1, m2, m3, m4);
}
inline bool same(const Row& a, const Row& b) { return same(members(a), members(b)); }

inline auto members(const Comparison& v) {
  const auto& [m0, m1, m2, m3, m4, m5, m6] = v;
  return std::tuple(m0, m1, m2, m3, m4, m5, m6);
}
inline bool same(const Comparison& a, const Comparison& b) { return same(members(a), members(b)); }

inline auto members(const Hypothesis& v) {
  const auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8] = v;
  return std::tuple(m0, m1, m2, m3, m4, m5, m6, m7, m8);
}
inline bool same(const Hypothesis& a, const Hypothesis& b) { return same(members(a), members(b)); }

inline auto members(const Chart& v) {
  const auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8] = v;
  return std::tuple(m0, m1, m2, m3, m4, m5, m6, m7, m8);
}
inline bool same(const Chart& a, const Chart& b) { return same(members(a), members(b)); }

inline auto members(const Experiment& v) {
  const auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19] = v;
  return std::tuple(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17, m18, m19);
}
inline bool same(const Experiment& a, const Experiment& b) { return same(members(a), members(b)); }

inline auto members(const Environment& v) {
  const auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17] = v;
  return std::tuple(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15, m16, m17);
}
inline bool same(const Environment& a, const Environment& b) { return same(members(a), members(b)); }

inline auto members(const ModelInfo& v) {
  const auto& [m0, m1, m2, m3, m4, m5, m6] = v;
  return std::tuple(m0, m1, m2, m3, m4, m5, m6);
}
inline bool same(const ModelInfo& a, const ModelInfo& b) { return same(members(a), members(b)); }

inline auto members(const Run& v) {
  const auto& [m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12] = v;
  return std::tuple(m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12);
}
inline bool same(const Run& a, const Run& b) { return same(members(a), members(b)); }

}  // namespace rl::record
