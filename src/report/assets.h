#pragma once
// Files that are part of the program: src/report/assets/ and the Chart.js of the build machine (3.9, MIT licence; its
// notice is at its head and goes into every page).

#include <string_view>

namespace rl::report {

std::string_view chart_js();
std::string_view report_js();
std::string_view report_css();

}  // namespace rl::report
