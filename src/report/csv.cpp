#include "report/report.h"
#include "report/text.h"
#include "report/view.h"

namespace rl::report {
namespace {

std::string number(double value) { return std::isfinite(value) ? fmt::format("{}", value) : std::string(); }

constexpr std::array<std::string_view, 12> kColumns = {
    "experiment", "metric", "unit", "statistic", "value", "low", "high", "n", "noise", "timing", "valid", "reasons"};

}  // namespace

std::string csv(const record::Run& run) {
  std::vector<std::string> axes;
  for (const record::Experiment& experiment : run.experiments)
    for (const record::Row& row : experiment.rows)
      for (const auto& [name, value] : row.axes)
        if (std::find(axes.begin(), axes.end(), name) == axes.end()) axes.push_back(name);

  std::string out = "experiment";
  for (const std::string& axis : axes) {
    // An axis of the name of a fixed column keeps a column of its own.
    const bool taken = std::find(kColumns.begin(), kColumns.end(), axis) != kColumns.end();
    out += "," + escape_csv(taken ? "axis_" + axis : axis);
  }
  out += ",metric,unit,statistic,value,low,high,n,noise,timing,valid,reasons\n";

  for (const record::Experiment& experiment : run.experiments)
    for (const record::Row& row : experiment.rows) {
      std::string start = escape_csv(experiment.id);
      for (const std::string& axis : axes) {
        const std::string* value = axis_value(row, axis);
        start += "," + (value != nullptr ? escape_csv(*value) : std::string());
      }
      // A row without a number (its correctness gate failed, say) keeps a line: what failed is a result.
      if (row.metrics.empty())
        out += fmt::format("{},,,,,,,0,,,{},{}\n", start, row.validity.valid ? "true" : "false",
                           escape_csv(joined(row.validity.reasons, "; ")));
      for (const record::Metric& metric : row.metrics)
        out +=
            start + fmt::format(",{},{},{},{},{},{},{},{},{},{},{}\n", escape_csv(metric.name), escape_csv(metric.unit),
                                escape_csv(metric.statistic), number(metric.value),
                                metric.ci95 ? number(metric.ci95->low) : "",
                                metric.ci95 ? number(metric.ci95->high) : "", metric.samples.size(),
                                metric.noise ? number(*metric.noise) : "", record::name_of(metric.timing),
                                row.validity.valid ? "true" : "false", escape_csv(joined(row.validity.reasons, "; ")));
    }
  return out;
}

}  // namespace rl::report
