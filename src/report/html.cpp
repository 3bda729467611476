#include "report/assets.h"
#include "report/facts.h"
#include "report/html_parts.h"
#include "report/quantity.h"
#include "report/report.h"
#include "report/text.h"

namespace rl::report {
namespace {

using namespace record;

void head(Markup& out, const Run& run) {
  out.open("head").empty("meta", {{"charset", "utf-8"}});
  out.empty("meta", {{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}});
  out.empty("meta", {{"name", "color-scheme"}, {"content", "light dark"}});
  // The page needs nothing from anywhere: whatever a record holds, a browser must not fetch or send.
  out.empty("meta", {{"http-equiv", "Content-Security-Policy"},
                     {"content",
                      "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; "
                      "form-action 'none'"}});
  out.leaf("title", "Redline: run " + run.id);
  out.open("style").trusted(report_css()).close("style").close("head");
}

void top(Markup& out, const Run& run) {
  out.open("header", {{"class", "top"}}).open("div", {{"class", "brand"}});
  out.open("svg", {{"viewBox", "0 0 44 18"}, {"width", "44"}, {"height", "18"}, {"aria-hidden", "true"}});
  out.empty("path", {{"class", "scale"}, {"d", "M2 16V9M10 16V6M18 16V9M26 16V6"}});
  out.empty("path", {{"class", "red"}, {"d", "M34 16V3M42 16V3"}}).close("svg");
  out.leaf("span", "Redline").close("div");
  out.leaf("button", "theme", {{"type", "button"}, {"id", "theme"}, {"hidden", "hidden"}}).close("header");

  const Environment& e = run.environment;
  out.leaf("p", fmt::format("Run {}", run.id), {{"class", "kicker"}});
  out.open("h1").text(run.model.name.empty() ? "What this machine reaches" : run.model.name).text(" on ");
  out.text(!e.gpu.empty() ? e.gpu : !e.cpu.empty() ? e.cpu : "this machine").close("h1");
  std::vector<std::string> facts;
  if (!run.mode.empty()) facts.push_back(run.mode + " mode");
  if (!run.started.empty()) facts.push_back(format_timestamp(run.started));
  if (run.elapsed_seconds > 0) facts.push_back("took " + format_duration(run.elapsed_seconds));
  if (!e.version.empty()) facts.push_back("Redline " + e.version);
  if (!e.commit.empty()) facts.push_back("commit " + e.commit);
  out.leaf("p", joined(facts, " · "), {{"class", "muted"}});
}

void warnings(Markup& out, const Run& run) {
  const auto box = [&](const char* css, const char* label, const std::string& text) {
    out.open("p", {{"class", css}, {"role", "note"}}).leaf("b", label).text(" " + text).close("p");
  };
  if (!run.validity.valid) box("alert broken", "This run is INVALID.", joined(run.validity.reasons, "; "));
  if (run.finished.empty())
    box("alert", "Not finished.", "The run ended before its end; what it had measured is below.");
  for (const std::string& warning : run.validity.warnings) box("alert", "Note.", warning);
}

void answer(Markup& out, const Run& run) {
  out.open("section", {{"id", "answer"}}).leaf("h2", "The answer");
  if (run.experiments.empty()) {
    out.leaf("p", "This run has no experiments.").close("section");
    return;
  }
  out.open("ul", {{"class", "tally"}});
  for (const Tally& entry : tally(run)) {
    out.open("li").leaf("b", fmt::format("{} ", entry.count));
    badge(out, entry.badge);
    out.close("li");
  }
  out.close("ul").open("table", {{"class", "headline"}});
  head_row(out, {"experiment", "expected", "measured", "verdict"});
  for (const Experiment& experiment : run.experiments) {
    const Badge verdict = badge_of(experiment);
    const bool absent = experiment.state == State::not_built;
    out.open("tbody", {{"class", absent ? "absent" : ""}}).open("tr").open("th", {{"scope", "row"}});
    out.leaf("a", title_of(experiment), {{"href", absent ? "#not-built" : "#" + anchor_of(experiment)}});
    if (!experiment.plan.empty()) out.leaf("small", plan_text(experiment));
    out.close("th");
    out.leaf("td", expected_text(experiment), {{"data-label", "expected"}})
        .leaf("td", measured_text(experiment), {{"data-label", "measured"}});
    out.open("td", {{"class", "verdict"}});
    badge(out, verdict);
    out.close("td").close("tr");
    if (!experiment.meaning.empty() || !experiment.advice.empty()) {
      out.open("tr", {{"class", "meaning"}}).open("td", {{"colspan", "4"}}).prose(experiment.meaning);
      if (!experiment.advice.empty())
        out.text(" ").open("span", {{"class", "advice"}}).prose("→ " + experiment.advice).close("span");
      out.close("td").close("tr");
    }
    out.close("tbody");
  }
  out.close("table").close("section");
}

void facts_card(Markup& out, const char* title, const Facts& facts) {
  out.open("div", {{"class", "card"}}).leaf("h3", title).open("dl", {{"class", "facts"}});
  for (const auto& [name, value] : facts) out.leaf("dt", name).leaf("dd", value);
  out.close("dl").close("div");
}

void machine(Markup& out, const Run& run) {
  out.open("section", {{"id", "machine"}}).leaf("h2", "The machine and its ceilings");
  if (const auto ceilings = ceilings_of(run); !ceilings.empty()) {
    out.open("ul", {{"class", "ceilings"}});
    for (const Ceiling& ceiling : ceilings) {
      out.open("li").leaf("span", ceiling.name).leaf("b", format_value(ceiling.metric->value, ceiling.metric->unit));
      std::string about =
          ceiling.metric->ci95
              ? format_interval(*ceiling.metric->ci95, ceiling.metric->value, ceiling.metric->unit) + ", "
              : "";
      out.leaf("small", about + sampling_text(*ceiling.metric));
      if (!ceiling.valid) badge(out, {Tone::broken, "INVALID"});
      out.close("li");
    }
    out.close("ul");
  }
  out.open("div", {{"class", "cards"}});
  facts_card(out, "Machine", machine_facts(run));
  facts_card(out, "Model", model_facts(run));
  facts_card(out, "Run", run_facts(run));
  out.close("div").close("section");
}

void not_built(Markup& out, const Run& run) {
  const auto absent = [](const Experiment& e) { return e.state == State::not_built; };
  if (std::none_of(run.experiments.begin(), run.experiments.end(), absent)) return;
  out.open("section", {{"id", "not-built"}}).leaf("h2", "Not built yet");
  out.leaf("p", "Rows of the plan that this version of Redline cannot measure. Nothing is assumed about them.",
           {{"class", "muted"}});
  open_table(out, "Not built yet", "absent-table");
  head_row(out, {"plan", "experiment", "expected by the plan", "question"});
  out.open("tbody");
  for (const Experiment& e : run.experiments)
    if (absent(e))
      out.open("tr")
          .leaf("td", e.plan)
          .leaf("th", title_of(e), {{"scope", "row"}})
          .leaf("td", expected_text(e))
          .leaf("td", e.question)
          .close("tr");
  out.close("tbody");
  close_table(out);
  out.close("section");
}

void method(Markup& out, const Run& run) {
  out.open("section", {{"id", "method"}})
      .leaf("h2", "Method")
      .leaf("h3", "What the verdicts mean")
      .open("dl", {{"class", "rules"}});
  for (const auto& [verdict, rule] : verdict_rules()) {
    out.open("dt");
    badge(out, verdict);
    out.close("dt").leaf("dd", rule);
  }
  out.close("dl").leaf("h3", "How numbers are taken").open("ul", {{"class", "notes"}});
  for (const std::string& note : method_notes()) out.open("li").prose(note).close("li");
  out.close("ul").close("section");
  out.open("section", {{"id", "reproduce"}})
      .leaf("h2", "How to reproduce")
      .open("pre")
      .leaf("code", run.command)
      .close("pre");
  out.open("p").prose(reproduce_text(run)).close("p").close("section");
}

}  // namespace

void badge(Markup& out, const Badge& badge) {
  out.open("span", {{"class", std::string("badge tone-") + tone_name(badge.tone)}});
  out.leaf("span", tone_sign(badge.tone), {{"aria-hidden", "true"}}).text(" " + badge.word).close("span");
}

void open_table(Markup& out, std::string_view label, std::string_view css) {
  out.open("div", {{"class", "scroll"}, {"role", "region"}, {"tabindex", "0"}, {"aria-label", label}})
      .open("table", {{"class", css}});
}

void close_table(Markup& out) { out.close("table").close("div"); }

void head_row(Markup& out, const std::vector<std::string>& cells) {
  out.open("thead").open("tr");
  for (const std::string& cell : cells) out.leaf("th", cell, {{"scope", "col"}});
  out.close("tr").close("thead");
}

std::string html(const Run& run) {
  Markup out;
  out.trusted("<!DOCTYPE html>\n").open("html", {{"lang", "en"}});
  head(out, run);
  out.open("body").open("main");
  top(out, run);
  warnings(out, run);
  answer(out, run);
  machine(out, run);
  for (const Experiment& experiment : run.experiments)
    if (experiment.state != State::not_built) experiment_section(out, experiment);
  not_built(out, run);
  method(out, run);
  out.close("main");
  if (std::any_of(run.experiments.begin(), run.experiments.end(), has_chart))
    out.open("script").trusted(chart_js()).close("script");
  out.open("script").trusted(report_js()).close("script");
  out.close("body").close("html");
  return out.take() + "\n";
}

}  // namespace rl::report
