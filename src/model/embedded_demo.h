#pragma once
// The files of models/demo, which are part of the program: config.json, generation_config.json, model.safetensors,
// tokenizer.json, tokenizer_config.json, eval.txt (the held-out text of its reference perplexity). Only a program that
// calls this carries their 15 MB.

#include <memory>

#include "base/file.h"

namespace rl::model {

std::unique_ptr<FileSet> embedded_demo_files();

}  // namespace rl::model
