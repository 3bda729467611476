// The program: flags are read in cli.cpp, each verb is cmd_<verb>.cpp.

#include "app/cli.h"

int main(int argc, char** argv) { return rl::app::run_command_line(argc, argv); }
