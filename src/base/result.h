#pragma once
// Result<T>: a value or an Error. Expected failures (bad input, missing hardware, a full disk) are returned as Error;
// bugs abort through RL_CHECK. The member names are those of std::expected, which this type can give way to.

#include <cstdint>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace rl {

enum class ErrorKind { invalid_input, unsupported, out_of_memory, io, device, timeout, cancelled, usage, internal };

std::string_view to_string(ErrorKind kind);

// What a user needs to mend a mistake: what went wrong, where, what was expected and found, and what to do.
// Fields that do not apply stay empty. `rule` is a stable identifier ("safetensors.header_length") that tests compare.
struct Error {
  ErrorKind kind = ErrorKind::internal;
  std::string what;
  std::string rule;
  std::string file;
  std::string field;                   // path of the field, e.g. "rope_parameters.factor"
  std::optional<std::int64_t> offset;  // byte offset in `file`
  std::string expected;
  std::string found;
  std::string hint;     // what to do
  int native_code = 0;  // errno, cudaError_t, nvmlReturn_t, ...

  // One readable text of all fields that are set; several lines if the parts are long.
  std::string message() const;
};

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error& error() & { return std::get<1>(state_); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }
  T value_or(T other) const& { return has_value() ? value() : std::move(other); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool has_value() const { return !error_; }
  explicit operator bool() const { return has_value(); }
  Error& error() & { return *error_; }
  const Error& error() const& { return *error_; }
  Error&& error() && { return *std::move(error_); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;
inline Status ok() { return {}; }

// Ends the process with the expression and the place: for states that only a bug can reach.
[[noreturn]] void check_failed(const char* expression, std::string_view detail, std::source_location at);

}  // namespace rl

#define RL_CHECK(condition) ((condition) ? void() : ::rl::check_failed(#condition, {}, std::source_location::current()))
#define RL_CHECK_MSG(condition, detail) \
  ((condition) ? void() : ::rl::check_failed(#condition, (detail), std::source_location::current()))

#define RL_CONCAT_(a, b) a##b
#define RL_CONCAT(a, b) RL_CONCAT_(a, b)

// Returns the error of a Result from the enclosing function, if it has one.
#define RL_TRY(...)                                                \
  do {                                                             \
    if (auto rl_status_ = (__VA_ARGS__); !rl_status_) [[unlikely]] \
      return std::move(rl_status_).error();                        \
  } while (false)

// RL_ASSIGN(auto x, f()): x becomes the value of f(), or the enclosing function returns its error.
#define RL_ASSIGN(target, ...) RL_ASSIGN_(RL_CONCAT(rl_result_, __LINE__), target, __VA_ARGS__)
#define RL_ASSIGN_(temp, target, ...) \
  auto temp = (__VA_ARGS__);          \
  if (!temp) [[unlikely]]             \
    return std::move(temp).error();   \
  target = std::move(temp).value()
