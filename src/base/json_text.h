#pragma once
// For the few places that print JSON without a library: a quoted, escaped string.

#include <string>
#include <string_view>

namespace rl {

// text: UTF-8; every byte that is not part of a valid sequence becomes U+FFFD, so that the result is always valid JSON.
std::string json_string(std::string_view text);

}  // namespace rl
