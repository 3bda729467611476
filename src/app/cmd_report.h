#pragma once
// `redline report RUN`: a run again, in the terminal or in another form.

#include <cstdio>
#include <string>

#include "base/result.h"

namespace rl::app {

struct ReportOptions {
  std::string run = "latest";        // see find_run.h
  std::string runs_folder = "runs";  // where the store is
  std::string out;                   // a folder for report.html, report.md, results.csv and record.json; "": none
  std::string format = "terminal";   // what is printed: terminal, md, html, csv or json
  bool color = false;                // of the terminal form
  int width = 80;                    // as well
};

// Prints the run in `format` and, with `out`, writes all files. Errors: usage for an unknown format; invalid_input for
// a run that is not there or a record that cannot be read, with what is there; io.
Status cmd_report(const ReportOptions& options, std::FILE* out);

}  // namespace rl::app
