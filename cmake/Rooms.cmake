# A room is one folder of src/ and one static library. Each room's headers are reached through a folder of their own
# (build/rooms/<room>/<path> -> src/<path>), so that a file can include only the rooms its target links: the layering of
# docs/architecture.md is enforced by the compiler, not by habit.

# rl_room(<path> [SOURCES files...] [ROOMS paths...] [LIBS targets...])
#   <path>   folder under src/, e.g. "base" or "cpu/fast"; the target is rl_<path with _>
#   ROOMS    the rooms it may include, given to those that link it as well
#   LIBS     other libraries, private to the room
function(rl_room path)
  cmake_parse_arguments(ROOM "" "" "SOURCES;ROOMS;LIBS" ${ARGN})
  string(REPLACE "/" "_" name ${path})
  set(view ${CMAKE_BINARY_DIR}/rooms/${name})
  cmake_path(GET path PARENT_PATH parent)
  file(MAKE_DIRECTORY ${view}/${parent})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/src/${path} ${view}/${path} SYMBOLIC)

  set(links "")
  foreach(room IN LISTS ROOM_ROOMS)
    string(REPLACE "/" "_" room ${room})
    list(APPEND links rl_${room})
  endforeach()

  if(ROOM_SOURCES)
    add_library(rl_${name} STATIC ${ROOM_SOURCES})
    target_include_directories(rl_${name} PUBLIC ${view})
    target_link_libraries(rl_${name} PUBLIC ${links} PRIVATE rl_flags ${ROOM_LIBS})
    rl_dist_room(rl_${name})
  else()
    add_library(rl_${name} INTERFACE)
    target_include_directories(rl_${name} INTERFACE ${view})
    target_link_libraries(rl_${name} INTERFACE ${links} ${ROOM_LIBS})
  endif()
endfunction()

# rl_test(<name> [SOAK] SOURCES files... ROOMS paths... [LIBS targets...] [LABELS labels...]): one GoogleTest program under
# build/tests/. SOAK: a long one, built with the others but run by hand through `make soak`, unknown to ctest. Without a
# label it is of the target unit_tests and has the label unit.
function(rl_test name)
  if(NOT REDLINE_TESTS)
    return()
  endif()
  cmake_parse_arguments(TEST "SOAK" "" "SOURCES;ROOMS;LIBS;LABELS" ${ARGN})
  set(links "")
  foreach(room IN LISTS TEST_ROOMS)
    string(REPLACE "/" "_" room ${room})
    list(APPEND links rl_${room})
  endforeach()
  if(REDLINE_DIST)
    rl_dist_test("${TEST_SOURCES}" "${links};${TEST_LIBS}")
    return()
  endif()
  add_executable(${name} ${TEST_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${name} PRIVATE rl_flags ${links} rl_check GTest::gmock GTest::gtest_main ${TEST_LIBS})
  target_compile_definitions(${name} PRIVATE REDLINE_SOURCE_DIR="${PROJECT_SOURCE_DIR}" REDLINE_BINARY_DIR="${CMAKE_BINARY_DIR}")
  target_compile_options(${name} PRIVATE ${test_options})
  target_precompile_headers(${name} REUSE_FROM rl_test_pch)
  if(TEST_SOAK)
    return()
  endif()
  if(NOT TEST_LABELS)
    set(TEST_LABELS unit)
    add_dependencies(unit_tests ${name})
  endif()
  gtest_discover_tests(${name} NO_PRETTY_VALUES DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 300 LABELS "${TEST_LABELS}")
endfunction()
