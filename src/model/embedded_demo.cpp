#include "model/embedded_demo.h"

#include <fmt/core.h>

// Defined in embedded_demo.S.
extern "C" {
extern const std::byte redline_demo_config_begin[], redline_demo_config_end[];
extern const std::byte redline_demo_generation_config_begin[], redline_demo_generation_config_end[];
extern const std::byte redline_demo_weights_begin[], redline_demo_weights_end[];
extern const std::byte redline_demo_tokenizer_begin[], redline_demo_tokenizer_end[];
extern const std::byte redline_demo_tokenizer_config_begin[], redline_demo_tokenizer_config_end[];
extern const std::byte redline_demo_eval_begin[], redline_demo_eval_end[];
}

namespace rl::model {
namespace {

class EmbeddedDemo final : public FileSet {
 public:
  std::string name() const override { return "the embedded demo model"; }
  bool exists(std::string_view file) const override { return find(file) != nullptr; }
  Result<FileView> open(std::string_view file) const override {
    if (const Entry* entry = find(file))
      return FileView::of_static(fmt::format("demo/{}", file), {entry->begin, entry->end});
    return Error{.kind = ErrorKind::io, .what = "the demo model has no such file", .file = std::string(file)};
  }

 private:
  struct Entry {
    std::string_view file;
    const std::byte *begin, *end;
  };
  static const Entry* find(std::string_view file) {
    static const Entry kEntries[] = {
        {"config.json", redline_demo_config_begin, redline_demo_config_end},
        {"generation_config.json", redline_demo_generation_config_begin, redline_demo_generation_config_end},
        {"model.safetensors", redline_demo_weights_begin, redline_demo_weights_end},
        {"tokenizer.json", redline_demo_tokenizer_begin, redline_demo_tokenizer_end},
        {"tokenizer_config.json", redline_demo_tokenizer_config_begin, redline_demo_tokenizer_config_end},
        {"eval.txt", redline_demo_eval_begin, redline_demo_eval_end},
    };
    for (const Entry& entry : kEntries)
      if (entry.file == file) return &entry;
    return nullptr;
  }
};

}  // namespace

std::unique_ptr<FileSet> embedded_demo_files() { return std::make_unique<EmbeddedDemo>(); }

}  // namespace rl::model
