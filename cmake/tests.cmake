# One GoogleTest binary per module from its *_test.cc files, plus the checks that read the tree.
include(GoogleTest)
# Most of a test's compile time goes into headers that every test includes, and into optimising what runs for
# milliseconds: the code under test lives in the modules and keeps its own flags.
add_library(cairn_test_headers OBJECT ${PROJECT_SOURCE_DIR}/cairn/testing/precompiled.cc)
function(cairn_test_options target)
  target_include_directories(${target} PRIVATE ${RAPIDCHECK_INCLUDE})
  target_link_libraries(${target} PRIVATE cairn_options GTest::gmock GTest::gtest_main ${RAPIDCHECK_LIB})
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>
                         "$<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds;-Wno-stringop-overflow>")  # g++ 12 warns falsely about joined strings
endfunction()
cairn_test_options(cairn_test_headers)
target_precompile_headers(cairn_test_headers PRIVATE <gmock/gmock.h> <gtest/gtest.h> <rapidcheck.h> <rapidcheck/gtest.h>
                          <algorithm> <map> <random> <ranges> <string> <thread> <vector>)
foreach(module IN LISTS CAIRN_MODULES)
  file(GLOB_RECURSE tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cairn/${module}/*_test.cc)
  if(tests)
    add_executable(${module}_test ${tests})
    cairn_test_options(${module}_test)
    target_link_libraries(${module}_test PRIVATE cairn_${module})
    target_precompile_headers(${module}_test REUSE_FROM cairn_test_headers)
    target_compile_definitions(${module}_test PRIVATE CAIRN_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    gtest_discover_tests(${module}_test DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300)
  endif()
endforeach()
target_link_libraries(serve_test PRIVATE PkgConfig::httplib PkgConfig::openssl)  # tests have a client
target_link_libraries(load_test PRIVATE PkgConfig::httplib PkgConfig::openssl)   # and a server
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME layers COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/check_layers.py ${PROJECT_SOURCE_DIR})
add_test(NAME layers_selftest COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/check_layers_test.py)
add_test(NAME file_size COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/check_size.py ${PROJECT_SOURCE_DIR})
add_test(NAME block_identity COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/block_identity.py
         --check ${PROJECT_SOURCE_DIR}/docs/block-identity.md)
add_test(NAME readme_example COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/readme_test.py)
add_test(NAME command_line COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/cli_test.py)
add_test(NAME command_line_usage COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/cli_usage_test.py)
add_test(NAME command_line_plan COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/cli_plan_test.py)
add_test(NAME command_line_store COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/cli_store_test.py)
add_test(NAME command_line_store_compress COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/cli_store_compress_test.py)
add_test(NAME command_line_replay COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/cli_replay_test.py)
add_test(NAME command_line_eval COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/cli_eval_test.py)
add_test(NAME command_line_serve COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/cli_serve_test.py)
add_test(NAME command_line_load COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/cli_load_test.py)
add_test(NAME serve_clients COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/clients_test.py)
add_test(NAME bench_serve_selftest COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/bench/compare_serve_test.py)
add_test(NAME serve_torture_selftest COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/serve_torture_test.py)
add_test(NAME serve_torture COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/serve_torture.py 300 16 1 tok4+sinks=1)
set_tests_properties(command_line command_line_usage command_line_serve command_line_load serve_torture command_line_store command_line_store_compress command_line_plan command_line_replay command_line_eval PROPERTIES TIMEOUT 300 ENVIRONMENT "CAIRN_BINARY=$<TARGET_FILE:cairn_cli>")
set_tests_properties(serve_clients PROPERTIES TIMEOUT 500 ENVIRONMENT
                     "CAIRN_BINARY=$<TARGET_FILE:cairn_cli>;CAIRN_CLIENTS=${PROJECT_BINARY_DIR}/clients")
add_test(NAME page COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/page_test.py)
add_test(NAME page_views COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/page_views_test.py)
set_tests_properties(page page_views PROPERTIES TIMEOUT 300 ENVIRONMENT "CAIRN_BINARY=$<TARGET_FILE:cairn_cli>")
add_test(NAME eval_report COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/eval_report_test.py)
add_test(NAME replay_page COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/replay_page_test.py)
add_test(NAME eval_report_input COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/eval_report_input_test.py)
set_tests_properties(eval_report eval_report_input replay_page PROPERTIES TIMEOUT 600 ENVIRONMENT "CAIRN_BINARY=$<TARGET_FILE:cairn_cli>")
if(NOT CAIRN_SANITIZE)
  add_test(NAME isa_symbols COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/check_isa_symbols.py
           $<TARGET_FILE:cairn_kernels> avx2 avx512)
  add_test(NAME installed_package COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/tools/install_test.py
           ${CMAKE_COMMAND} ${PROJECT_BINARY_DIR} ${CMAKE_CXX_COMPILER})
  set_tests_properties(installed_package PROPERTIES TIMEOUT 300)
endif()
# The longest begin first, beside the many short ones.
set_tests_properties(page command_line_eval serve_clients eval_report serve_torture PROPERTIES COST 100)
