# What REDLINE_DIST changes (tools/dist): programs look for shared libraries in lib/ beside them, and the tests of a card
# are made to travel: they find the files they read in tests/source beside the program.
if(REDLINE_DIST)
  set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
  # The last: where NVIDIA's own packages put cuBLASLt.
  set(CMAKE_INSTALL_RPATH "$ORIGIN/lib;/usr/local/cuda/lib64")
endif()

# rl_test of a relocatable build: redline and the tests of a card become one program, build/dist/gpu_tests, since each on
# its own would carry the engine and the kernels again.
function(rl_dist_test sources links)
  if(NOT TARGET gpu_tests)
    add_executable(gpu_tests ${PROJECT_SOURCE_DIR}/tests/check/gpu_tests.cpp)
    target_link_libraries(gpu_tests PRIVATE rl_flags rl_app rl_check GTest::gmock)
    target_compile_definitions(gpu_tests PRIVATE REDLINE_SOURCE_DIR="source" REDLINE_BINARY_DIR="..")
    target_compile_options(gpu_tests PRIVATE -O1)
    target_precompile_headers(gpu_tests REUSE_FROM rl_test_pch)
  endif()
  list(TRANSFORM sources PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ REGEX "^[^/]")
  get_target_property(all gpu_tests SOURCES)
  list(APPEND all ${sources})
  list(REMOVE_DUPLICATES all)
  set_target_properties(gpu_tests PROPERTIES SOURCES "${all}")
  target_link_libraries(gpu_tests PRIVATE ${links})
endfunction()

# Rooms where no time is spent: compiled for size, which halves them. (Loops of rl_model have -O3 of their own, and no
# precompiled header then.)
function(rl_dist_room name)
  set(small rl_app rl_experiments rl_lab rl_model rl_ops rl_quality rl_record rl_report rl_selftest rl_telemetry)
  if(NOT REDLINE_DIST OR NOT name IN_LIST small)
    target_precompile_headers(${name} REUSE_FROM rl_pch)
    return()
  endif()
  if(NOT TARGET rl_pch_small)
    add_library(rl_pch_small STATIC ${PROJECT_SOURCE_DIR}/cmake/pch.cpp)
    target_link_libraries(rl_pch_small PRIVATE rl_flags fmt::fmt)
    target_compile_options(rl_pch_small PRIVATE -Os)
    target_precompile_headers(rl_pch_small PRIVATE ${PROJECT_SOURCE_DIR}/cmake/pch.h)
  endif()
  target_compile_options(${name} PRIVATE -Os)
  set_target_properties(${name} PROPERTIES PCH_WARN_INVALID OFF)
  target_precompile_headers(${name} REUSE_FROM rl_pch_small)
endfunction()
