# What REDLINE_DIST changes (tools/dist): programs look for shared libraries in lib/ beside them, and the tests of a card
# are made to travel: they find the files they read in source/ beside them, and share the one copy of the demo model.
if(REDLINE_DIST)
  set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
  # The last: where NVIDIA's own packages put cuBLASLt.
  set(CMAKE_INSTALL_RPATH "$ORIGIN/lib;$ORIGIN/../lib;/usr/local/cuda/lib64")
endif()

# rl_test of a relocatable build: the tests of a card become one program, build/dist/tests/gpu_tests, since each on its
# own would carry the engine and the kernels again.
function(rl_dist_test sources links)
  if(NOT TARGET gpu_tests)
    add_executable(gpu_tests ${PROJECT_SOURCE_DIR}/tests/check/beside.cpp)
    set_target_properties(gpu_tests PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_link_libraries(gpu_tests PRIVATE rl_flags rl_check GTest::gmock GTest::gtest_main)
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

# Rooms where no time is spent: compiled for size, which halves them.
function(rl_dist_room name)
  set(small rl_app rl_experiments rl_lab rl_record rl_report rl_telemetry)
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
  target_precompile_headers(${name} REUSE_FROM rl_pch_small)
endfunction()

# Puts the demo model's data into a library of its own, 15 MB that the program and its tests share.
#   reader   the unit that names the data: as for any shared library, it must not assume where the data lies
function(rl_dist_demo room reader data)
  if(NOT REDLINE_DIST OR NOT REDLINE_TESTS)
    return()
  endif()
  add_library(redline_demo SHARED ${data})
  set_target_properties(redline_demo PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib LINKER_LANGUAGE CXX)
  target_compile_definitions(redline_demo PRIVATE REDLINE_DEMO_SHARED)
  get_target_property(sources ${room} SOURCES)
  list(REMOVE_ITEM sources ${data})
  set_target_properties(${room} PROPERTIES SOURCES "${sources}")
  set_source_files_properties(${reader} PROPERTIES COMPILE_OPTIONS -fPIC SKIP_PRECOMPILE_HEADERS ON)
  target_link_libraries(${room} PUBLIC redline_demo)
endfunction()
