#pragma once
// What json_parse.cpp makes and json.cpp reads.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/json.h"

namespace rl::model::json {

struct Node {
  std::uint32_t offset = 0;  // of the first byte, in the text
  std::uint32_t next = 0;    // the node after this one and all it contains
  std::uint32_t size = 0;    // string: bytes once decoded; number: bytes; container: its items
  std::uint32_t arena = 0;   // string with escapes: where it lies in Tree::arena
  Type type = Type::null;
  bool escaped = false;
  bool truth = false;
};

inline constexpr std::uint32_t kNone = UINT32_MAX;

// Nodes in the order of the text. An object's children are key, value, key, value, ...
struct Tree {
  std::string file;
  std::string text;
  std::string arena;
  std::int64_t base = 0;
  std::vector<Node> nodes;

  std::string_view string(std::uint32_t node) const {
    const Node& n = nodes[node];
    return n.escaped ? std::string_view(arena).substr(n.arena, n.size)
                     : std::string_view(text).substr(n.offset + 1, n.size);
  }
};

// Appends a key to a field's path.
void append_key(std::string& path, std::string_view key);

// Bytes of the UTF-8 sequence at p, 0 if it is not one: Unicode 15, table 3-7 (no overlong forms, no surrogates).
int utf8_length(const char* p, const char* end);

// Fills tree.nodes from tree.text. Errors: as Document::parse.
Status parse_tree(Tree& tree, const Limits& limits);

}  // namespace rl::model::json
