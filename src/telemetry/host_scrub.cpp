#include <pwd.h>
#include <unistd.h>

#include "telemetry/host.h"

namespace rl::telemetry {
namespace {

bool part_of_a_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

// Every occurrence that is not part of a longer name.
void replace_word(std::string& text, std::string_view word, std::string_view by) {
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at)) {
    const std::size_t end = at + word.size();
    const bool starts = at == 0 || !part_of_a_name(text[at - 1]) || !part_of_a_name(word.front());
    const bool ends = end == text.size() || !part_of_a_name(text[end]);
    if (starts && ends) text.replace(at, word.size(), by);
    at += starts && ends ? by.size() : 1;
  }
}

// "/home/ann/models" -> "/home/user/models"
void replace_home_folders(std::string& text, std::string_view parent) {
  for (std::size_t at = text.find(parent); at != std::string::npos; at = text.find(parent, at)) {
    at += parent.size();
    const std::size_t end = std::min(text.find_first_of("/ \"'\n\t", at), text.size());
    if (end == at) continue;
    text.replace(at, end - at, "user");
    at += 4;
  }
}

Identity this_user() {
  Identity identity;
  char host[256] = {};
  if (::gethostname(host, sizeof(host) - 1) == 0) identity.host = host;
  std::vector<char> space(16384);
  passwd entry{}, *found = nullptr;
  if (::getpwuid_r(::getuid(), &entry, space.data(), space.size(), &found) == 0 && found) {
    identity.home = entry.pw_dir;
    identity.user = entry.pw_name;
  }
  return identity;
}

}  // namespace

std::string scrub(std::string text, const Identity& identity) {
  std::string home = identity.home;
  while (home.size() > 1 && home.back() == '/') home.pop_back();
  if (home.size() > 1) replace_word(text, home, "~");
  replace_home_folders(text, "/home/");
  replace_home_folders(text, "/Users/");
  for (std::string host = identity.host; !host.empty() && host != "localhost";) {
    replace_word(text, host, "host");
    const std::size_t dot = host.find('.');  // then the short name
    host = dot == std::string::npos ? "" : host.substr(0, dot);
  }
  if (!identity.user.empty() && identity.user != "root") replace_word(text, identity.user, "user");
  return text;
}

std::string scrub(std::string text) {
  Identity identity = this_user();
  // A shell's ~ is $HOME, which need not be the account's folder.
  if (const char* home = std::getenv("HOME"); home && identity.home != home)
    text = scrub(std::move(text), {.home = home});
  return scrub(std::move(text), identity);
}

}  // namespace rl::telemetry
