#include "engine/fixture.h"

#include <fstream>

#include <nlohmann/json.hpp>

namespace rl::engine {
namespace {

// golden.safetensors under the name of a checkpoint.
class GoldenFile final : public FileSet {
 public:
  explicit GoldenFile(std::string path) : path_(std::move(path)) {}
  std::string name() const override { return path_; }
  bool exists(std::string_view file) const override { return file == "model.safetensors"; }
  Result<FileView> open(std::string_view) const override { return map_file(path_); }
  bool leads_outside(std::string_view) const override { return false; }

 private:
  std::string path_;
};

nlohmann::json manifest_of(const std::string& model) {
  std::ifstream file(data_folder() + "manifest.json");
  return nlohmann::json::parse(file)["models"][model];
}

}  // namespace

Result<Golden> Golden::open(const std::string& folder) {
  Golden golden;
  golden.files_ = std::make_unique<GoldenFile>(folder + "/golden.safetensors");
  RL_ASSIGN(golden.source_, model::open_safetensors(*golden.files_));
  return golden;
}

template <class T>
std::vector<T> Golden::all(const std::string& name) const {
  const auto& info = source_->tensors().at(name);
  std::vector<std::byte> scratch;
  const auto rows = source_->rows(name, 0, info.shape.at(0), scratch);
  RL_CHECK_MSG(rows.has_value(), rows ? "" : rows.error().message());
  return {rows->template as<const T>(), rows->template as<const T>() + rows->elements()};
}
std::vector<TokenId> Golden::ids(const std::string& name) const { return all<TokenId>(name); }
std::vector<float> Golden::floats(const std::string& name) const { return all<float>(name); }

double tolerance_of(const std::string& model) {
  return model == "demo" ? 1e-3 : manifest_of(model)["tolerance"].get<double>();
}
double perplexity_of(const std::string& model) { return manifest_of(model)["perplexity"]["perplexity"].get<double>(); }

Result<std::unique_ptr<Engine>> make_engine(const std::string& model, const ops::Backend& backend,
                                            const EngineOptions& options, MemoryResource& memory) {
  // The demo model is the one inside the program: tests that are copied to other machines have no other.
  RL_ASSIGN(const model::ModelSource source, model::find_model(model == "demo" ? model : folder_of(model)));
  return Engine::make(source, backend, memory, options);
}

Result<std::vector<std::vector<TokenId>>> run_all(Engine& engine, const std::vector<Request>& requests) {
  std::map<RequestId, std::size_t> index;
  std::vector<std::vector<TokenId>> tokens(requests.size());
  for (const Request& request : requests) {
    RL_ASSIGN(const RequestId id, engine.submit(request));
    index.emplace(id, index.size());
  }
  while (!engine.idle()) {
    RL_ASSIGN(const std::vector<TokenEvent> events, engine.step());
    for (const TokenEvent& event : events) {
      if (event.token >= 0) tokens[index.at(event.request)].push_back(event.token);
      if (event.finished && *event.finished != FinishReason::length && *event.finished != FinishReason::stop)
        return Error{.kind = ErrorKind::internal, .what = name_of(*event.finished)};
    }
  }
  return tokens;
}

Result<double> largest_difference(Engine& engine, std::span<const TokenId> ids, std::span<const float> golden) {
  double worst = 0;
  std::int64_t rows = 0;
  RL_TRY(engine.score(ids, [&](std::int64_t first, const TensorRef& logits) -> Status {
    RL_CHECK(first == rows);
    const std::int64_t vocab = logits.shape[1];
    for (std::int64_t i = 0; i < logits.elements(); ++i) {
      const double difference =
          std::abs(double{logits.as<const float>()[i]} - double{golden[static_cast<std::size_t>(first * vocab + i)]});
      worst = difference <= worst      ? worst
              : std::isnan(difference) ? std::numeric_limits<double>::infinity()
                                       : difference;
    }
    rows += logits.shape[0];
    return ok();
  }));
  RL_CHECK(rows == std::ssize(ids));
  return worst;
}

}  // namespace rl::engine
