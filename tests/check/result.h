#pragma once
// GoogleTest glue for Result: a failed one shows its whole message.

#include <gtest/gtest.h>

#include "base/result.h"

#define EXPECT_OK(...)                                 \
  if (auto rl_checked_ = (__VA_ARGS__); rl_checked_) { \
  } else                                               \
    ADD_FAILURE() << rl_checked_.error().message()
#define ASSERT_OK(...)                                 \
  if (auto rl_checked_ = (__VA_ARGS__); rl_checked_) { \
  } else                                               \
    FAIL() << rl_checked_.error().message()
// ASSERT_VALUE(auto x, f()): x is f()'s value, or the test fails with the error.
#define ASSERT_VALUE(target, ...) ASSERT_VALUE_(RL_CONCAT(checked_, __LINE__), target, __VA_ARGS__)
#define ASSERT_VALUE_(temp, target, ...)       \
  auto temp = (__VA_ARGS__);                   \
  if (!temp) FAIL() << temp.error().message(); \
  target = std::move(temp).value()
