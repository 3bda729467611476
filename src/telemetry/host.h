#pragma once
// What the machine and the program are, for a record. Nothing personal: no host or user name, no path of a home folder.

#include <filesystem>
#include <string>
#include <vector>

#include "record/record.h"

namespace rl::telemetry {

// Of this machine, now. What the system does not say stays empty or 0. load_after and backends are the caller's to
// fill.
record::Environment capture_environment();

// The same from the files of a system whose root folder is `root`, for the processors `cpus`: tests use a recorded one.
record::Environment read_environment(const std::filesystem::path& root, const std::vector<int>& cpus);

// Where a program of this user keeps what it can make again: XDG_CACHE_HOME, else ~/.cache; empty if there is neither.
std::filesystem::path cache_folder();

// Processors this process may run on.
std::vector<int> allowed_cpus();

double load_average();  // over the last minute; 0 where the system does not say

// The text with this user's home folder, user name and host name replaced by "~", "user" and "host", and other users'
// home folders by "/home/user". Names are replaced as whole words only; "root" and "localhost" name nobody.
std::string scrub(std::string text);

struct Identity {
  std::string home, user, host;  // empty: nothing to replace
};
std::string scrub(std::string text, const Identity& identity);

}  // namespace rl::telemetry
