#pragma once
// The one list of a record's fields and their JSON keys, in the order written. The writer and the reader both walk it,
// so that neither can forget a field. Io is called as io(key, member), or as io.rare(key, member) for one that is left
// out where it is empty or zero, so that records from before it had a name are read, and written, as they were.

#include "record/record.h"

namespace rl::record {

template <class Io>
void fields(Io& io, Interval& v) {
  io("low", v.low);
  io("high", v.high);
}

template <class Io>
void fields(Io& io, Metric& v) {
  io("name", v.name);
  io("unit", v.unit);
  io("better", v.better);
  io("value", v.value);
  io("statistic", v.statistic);
  io("ci95", v.ci95);
  io("noise", v.noise);
  io("timing", v.timing);
  io("stop", v.stop);
  io("warmup", v.warmup);
  io("inner", v.inner);
  io("discarded", v.discarded);
  io("outliers", v.outliers);
  io("seed", v.seed);
  io("samples", v.samples);
}

template <class Io>
void fields(Io& io, Validity& v) {
  io("valid", v.valid);
  io("reasons", v.reasons);
  io("warnings", v.warnings);
  io.rare("rules", v.rules);
}

template <class Io>
void fields(Io& io, Row& v) {
  io("axes", v.axes);
  io("metrics", v.metrics);
  io("path", v.path);
  io("validity", v.validity);
  io("note", v.note);
}

template <class Io>
void fields(Io& io, Comparison& v) {
  io("baseline", v.baseline);
  io("candidate", v.candidate);
  io("metric", v.metric);
  io("ratio", v.ratio);
  io("ci95", v.ci95);
  io("smallest_effect", v.smallest_effect);
  io("verdict", v.verdict);
}

template <class Io>
void fields(Io& io, Hypothesis& v) {
  io("id", v.id);
  io("claim", v.claim);
  io("metric", v.metric);
  io("where", v.where);
  io("expected", v.expected);
  io("measured", v.measured);
  io("measured_value", v.measured_value);
  io("outcome", v.outcome);
  io("reason", v.reason);
}

template <class Io>
void fields(Io& io, Chart& v) {
  io("title", v.title);
  io("x", v.x);
  io("y", v.y);
  io("series", v.series);
  io("where", v.where);
  io("log_x", v.log_x);
  io("log_y", v.log_y);
  io("bars", v.bars);
  io.rare("bar_base", v.bar_base);
}

template <class Io>
void fields(Io& io, Experiment& v) {
  io("id", v.id);
  io("title", v.title);
  io("plan", v.plan);
  io("question", v.question);
  io("baseline", v.baseline);
  io("state", v.state);
  io("reasons", v.reasons);
  io("remedy", v.remedy);
  io("expected", v.expected);
  io("measured", v.measured);
  io("outcome", v.outcome);
  io("meaning", v.meaning);
  io("advice", v.advice);
  io("hypotheses", v.hypotheses);
  io("rows", v.rows);
  io("comparisons", v.comparisons);
  io("charts", v.charts);
  io("notes", v.notes);
  io("elapsed_seconds", v.elapsed_seconds);
  io("peak_memory_bytes", v.peak_memory_bytes);
}

template <class Io>
void fields(Io& io, Environment& v) {
  io("os", v.os);
  io("kernel", v.kernel);
  io("cpu", v.cpu);
  io("cores", v.cores);
  io("memory_bytes", v.memory_bytes);
  io("last_cache_bytes", v.last_cache_bytes);
  io("isa", v.isa);
  io("governor", v.governor);
  io("cpu_hz", v.cpu_hz);
  io("load_before", v.load_before);
  io("load_after", v.load_after);
  io("backends", v.backends);
  io("gpu", v.gpu);
  io("driver", v.driver);
  io("cuda", v.cuda);
  io("version", v.version);
  io("commit", v.commit);
  io("build", v.build);
}

template <class Io>
void fields(Io& io, ModelInfo& v) {
  io("name", v.name);
  io("family", v.family);
  io("fingerprint", v.fingerprint);
  io("tokenizer_fingerprint", v.tokenizer_fingerprint);
  io("parameters", v.parameters);
  io("stored_as", v.stored_as);
  io("computed_as", v.computed_as);
}

template <class Io>
void fields(Io& io, Run& v) {
  io("schema_version", v.schema_version);
  io("id", v.id);
  io("command", v.command);
  io("mode", v.mode);
  io("started", v.started);
  io("finished", v.finished);
  io("seed", v.seed);
  io("settings", v.settings);
  io("elapsed_seconds", v.elapsed_seconds);
  io("environment", v.environment);
  io("model", v.model);
  io("validity", v.validity);
  io("experiments", v.experiments);
}

}  // namespace rl::record
