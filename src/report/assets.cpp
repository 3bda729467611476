#include "report/assets.h"

// Defined in assets.S.
extern "C" {
extern const char rl_asset_chart_js[], rl_asset_chart_js_end[];
extern const char rl_asset_report_js[], rl_asset_report_js_end[];
extern const char rl_asset_report_css[], rl_asset_report_css_end[];
}

namespace rl::report {
namespace {
std::string_view between(const char* begin, const char* end) { return {begin, static_cast<std::size_t>(end - begin)}; }
}  // namespace

std::string_view chart_js() { return between(rl_asset_chart_js, rl_asset_chart_js_end); }
std::string_view report_js() { return between(rl_asset_report_js, rl_asset_report_js_end); }
std::string_view report_css() { return between(rl_asset_report_css, rl_asset_report_css_end); }

}  // namespace rl::report
