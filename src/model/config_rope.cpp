#include "model/config_rope.h"

namespace rl::model {
namespace {

using json::Type;
using json::Value;

// The `type` of one rope_scaling or rope_parameters object.
Result<RopeConfig::Type> read_rope_type(const Value& object) {
  const auto modern = object.get("rope_type"), old = object.get("type");
  if (!modern && !old) {
    Error missing = object.invalid("json.missing", "rope scaling without a type", "rope_type");
    missing.field += ".rope_type";
    return missing;
  }
  const Value& type = modern ? *modern : *old;
  RL_ASSIGN(const std::string_view name, type.string());
  if (modern && old) {
    RL_ASSIGN(const std::string_view other, old->string());
    if (other != name) return old->invalid("config.rope_conflict", "rope_type and type differ", std::string(name));
  }
  if (name == "default") return RopeConfig::Type::none;
  if (name == "linear") return RopeConfig::Type::linear;
  if (name == "llama3") return RopeConfig::Type::llama3;
  return type.unsupported("config.rope_type", fmt::format("rope scaling '{}' is not supported", json::printable(name)),
                          "supported: default, linear, llama3");
}

Result<double> number_in(const Value& object, std::string_view key, std::string_view rule) {
  RL_ASSIGN(const Value value, object.at(key));
  RL_ASSIGN(const double number, value.number());
  if (!(number > 0)) return value.invalid(rule, fmt::format("{} must be positive", key), "> 0");
  return number;
}

Result<RopeConfig> read_rope_object(const Value& object, std::int64_t max_positions, bool type_needed) {
  RopeConfig rope;
  RL_TRY(object.expect(Type::object));
  for (const auto [key, value] : object.items())
    if (value.is(Type::object))
      return value.unsupported("config.rope_per_layer", "rope parameters that differ between layers are not supported");
  if (const auto partial = object.get("partial_rotary_factor")) {
    RL_ASSIGN(const double part, partial->number());
    if (part != 1)
      return partial->unsupported("config.partial_rotary_factor", "rotating a part of a head is not supported");
  }
  if (type_needed || object.get("rope_type") || object.get("type")) {
    RL_ASSIGN(rope.type, read_rope_type(object));
  }
  if (object.get("rope_theta")) {
    RL_ASSIGN(rope.theta, number_in(object, "rope_theta", "config.rope_theta"));
  }
  if (rope.type == RopeConfig::Type::none) return rope;
  RL_ASSIGN(rope.factor, number_in(object, "factor", "config.rope_factor"));
  if (rope.type == RopeConfig::Type::linear) return rope;
  RL_ASSIGN(rope.low_freq_factor, number_in(object, "low_freq_factor", "config.rope_factor"));
  RL_ASSIGN(rope.high_freq_factor, number_in(object, "high_freq_factor", "config.rope_factor"));
  if (rope.high_freq_factor <= rope.low_freq_factor)
    return object.find("high_freq_factor")
        ->invalid("config.rope_factor", "high_freq_factor must be above low_freq_factor",
                  fmt::format("> {}", rope.low_freq_factor));
  rope.original_max_positions = max_positions;
  if (const auto original = object.get("original_max_position_embeddings")) {
    RL_ASSIGN(rope.original_max_positions, original->integer());
  }
  return rope;
}

bool same_scaling(const RopeConfig& a, const RopeConfig& b) {
  return a.type == b.type && a.factor == b.factor && a.low_freq_factor == b.low_freq_factor &&
         a.high_freq_factor == b.high_freq_factor && a.original_max_positions == b.original_max_positions;
}

}  // namespace

Status read_rope(ModelConfig& c, const Value& root) {
  const auto parameters = root.get("rope_parameters"), scaling = root.get("rope_scaling"),
             theta = root.get("rope_theta");
  bool theta_inside = false;
  if (parameters) {
    RL_ASSIGN(c.rope, read_rope_object(*parameters, c.max_positions, false));
    theta_inside = parameters->get("rope_theta").has_value();
  }
  if (scaling) {
    RL_ASSIGN(const RopeConfig old, read_rope_object(*scaling, c.max_positions, true));
    if (parameters && !same_scaling(old, c.rope))
      return scaling->invalid("config.rope_conflict", "rope_scaling and rope_parameters differ", "one of them");
    const double inside = c.rope.theta;
    c.rope = old;
    if (theta_inside) c.rope.theta = inside;
    theta_inside = theta_inside || scaling->get("rope_theta").has_value();
  }
  if (theta) {
    RL_ASSIGN(const double outside, number_in(root, "rope_theta", "config.rope_theta"));
    if (theta_inside && outside != c.rope.theta)
      return theta->invalid("config.rope_conflict", "rope_theta differs from that in the rope parameters",
                            fmt::format("{}", c.rope.theta));
    c.rope.theta = outside;
  }
  return ok();
}

}  // namespace rl::model
