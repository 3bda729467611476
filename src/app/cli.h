#pragma once

namespace rl::app {

// Reads the command line, runs the verb and returns the exit status (exit_code.h). Errors are printed on standard
// error.
int run_command_line(int argc, const char* const* argv);

}  // namespace rl::app
