# What the module `serve` needs beyond the other modules: libraries, and the page of web/ as a source file.
set(page_folder ${PROJECT_SOURCE_DIR}/web)
if(NOT CAIRN_PAGE)
  set(page_folder ${PROJECT_BINARY_DIR}/no_page)
  file(MAKE_DIRECTORY ${page_folder})
endif()
file(GLOB_RECURSE page_files CONFIGURE_DEPENDS ${page_folder}/*)
set(page_source ${PROJECT_BINARY_DIR}/serve/page_files.cc)
add_custom_command(
  OUTPUT ${page_source}
  COMMAND ${CMAKE_COMMAND} -DFOLDER=${page_folder} -DOUT=${page_source}
          -P ${PROJECT_SOURCE_DIR}/cmake/embed_page.cmake
  DEPENDS ${page_files} ${PROJECT_SOURCE_DIR}/cmake/embed_page.cmake
  VERBATIM)
target_sources(cairn_serve PRIVATE ${page_source})
target_include_directories(cairn_serve SYSTEM PRIVATE ${TOMLPLUSPLUS_INCLUDE})
target_link_libraries(cairn_serve PUBLIC nlohmann_json::nlohmann_json
                      PRIVATE PkgConfig::httplib PkgConfig::openssl PkgConfig::prometheus PkgConfig::spdlog)
# JSON, logging and parsing of requests: their templates take longer to optimise than they will ever run.
target_compile_options(cairn_serve PRIVATE "$<$<CONFIG:Release>:-O1>;$<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds;-Wno-stringop-overflow>")
