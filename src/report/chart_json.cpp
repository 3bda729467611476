#include <nlohmann/json.hpp>

#include "report/chart.h"
#include "report/text.h"

namespace rl::report {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json point_json(const Point& point, const std::string& unit) {
  Json json{{"x", point.x}, {"label", printable(point.label)}, {"y", number(point.y)}};
  std::string text = format_value(point.y, unit);
  if (point.ci95) {
    json["low"] = number(point.ci95->low);
    json["high"] = number(point.ci95->high);
    text += " " + format_interval(*point.ci95, point.y, unit);
  }
  json["sampling"] = printable(point.sampling);
  json["valid"] = point.valid;
  json["text"] = printable(text);
  return json;
}

}  // namespace

std::string chart_json(const ChartData& data, const ChartAxes& axes, const record::Chart& chart) {
  Json json{{"bars", chart.bars}, {"categories", data.categories}};
  json["x"] = {{"title", printable(axes.x_title)},
               {"log", chart.log_x && !data.categories},
               {"low", axes.x_low},
               {"high", axes.x_high},
               {"ticks", axes.x_ticks}};
  json["y"] = {{"title", printable(axes.y_title)},
               {"log", chart.log_y},
               {"low", axes.y_low},
               {"high", axes.y_high},
               {"ticks", axes.y_ticks},
               {"factor", axes.y.factor}};
  if (chart.bar_base != 0) json["y"]["base"] = chart.bar_base / axes.y.factor;
  Json labels = Json::array();
  for (const std::string& label : data.labels) labels.push_back(printable(label));
  json["labels"] = labels;
  Json all = Json::array();
  for (const Series& series : data.series) {
    Json points = Json::array();
    for (const Point& point : series.points) points.push_back(point_json(point, data.unit));
    all.push_back({{"name", printable(series.name)}, {"points", points}});
  }
  json["series"] = all;

  std::string out;
  for (const char c : json.dump(-1, ' ', true, Json::error_handler_t::replace)) switch (c) {
      case '<':
        out += "\\u003c";
        break;
      case '>':
        out += "\\u003e";
        break;
      case '&':
        out += "\\u0026";
        break;
      default:
        out += c;
    }
  return out;
}

}  // namespace rl::report
