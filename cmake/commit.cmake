# Run at every build: writes version.h, only when its text changed, so that nothing is compiled again without need.
#   cmake -D SOURCE=... -D OUTPUT=.../version.h -D VERSION=0.1.0 -D BUILD=Release -D COMPILER="g++ 12.2" -P commit.cmake
set(commit "unknown")
find_program(GIT git)
if(GIT AND EXISTS ${SOURCE}/.git)
  execute_process(COMMAND ${GIT} -C ${SOURCE} rev-parse --short=10 HEAD
    OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(commit ${head})
    execute_process(COMMAND ${GIT} -C ${SOURCE} status --porcelain --untracked-files=no
      OUTPUT_VARIABLE changes OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(changes)
      string(APPEND commit " (modified)")
    endif()
  endif()
endif()
set(text "#pragma once
// Written by cmake/commit.cmake at every build.
namespace rl {
inline constexpr char kVersion[] = \"${VERSION}\";
inline constexpr char kCommit[] = \"${commit}\";
inline constexpr char kBuild[] = \"${BUILD} ${COMPILER}\";
}  // namespace rl
")
set(old "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} old)
endif()
if(NOT old STREQUAL text)
  file(WRITE ${OUTPUT} "${text}")
endif()
