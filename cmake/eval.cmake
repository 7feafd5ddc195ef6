# What the module `eval` needs beyond the other modules: JSON, and the page that a report is put into.
set(report_page ${PROJECT_BINARY_DIR}/eval/report_template.cc)
set(report_files dom.js plot.js report/figures.js report/results.js report/labels.js report/axes.js report/figure.js
                 report/scatter.js report/turns.js report/tables.js report/report.js base.css report/report.css report/report.html)
list(TRANSFORM report_files PREPEND ${PROJECT_SOURCE_DIR}/web/)
add_custom_command(
  OUTPUT ${report_page}
  COMMAND ${CMAKE_COMMAND} "-DFILES=${report_files}" -DOUT=${report_page} -P ${PROJECT_SOURCE_DIR}/cmake/embed_report.cmake
  DEPENDS ${report_files} ${PROJECT_SOURCE_DIR}/cmake/embed_report.cmake
  VERBATIM)
target_sources(cairn_eval PRIVATE ${report_page})
target_link_libraries(cairn_eval PRIVATE nlohmann_json::nlohmann_json)
# JSON: its templates take longer to optimise than they will ever run.
target_compile_options(cairn_eval PRIVATE "$<$<CONFIG:Release>:$<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds;-Wno-stringop-overflow>>")
