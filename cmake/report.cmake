# cairn_report_page(MODULE HEADER FUNCTION FILES...): a page of web/ that a module fills with data, as a function of that
# module. FILES are scripts and style sheets in their order, and the page.
function(cairn_report_page module header function)
  string(REGEX REPLACE ".*::" "" name ${function})
  set(page ${PROJECT_BINARY_DIR}/${module}/${name}.cc)
  set(files ${ARGN})
  list(TRANSFORM files PREPEND ${PROJECT_SOURCE_DIR}/web/)
  add_custom_command(
    OUTPUT ${page}
    COMMAND ${CMAKE_COMMAND} "-DFILES=${files}" -DHEADER=${header} -DFUNCTION=${function} -DOUT=${page}
            -P ${PROJECT_SOURCE_DIR}/cmake/embed_report.cmake
    DEPENDS ${files} ${PROJECT_SOURCE_DIR}/cmake/embed_report.cmake
    VERBATIM)
  target_sources(cairn_${module} PRIVATE ${page})
endfunction()
cairn_report_page(eval cairn/eval/report.h cairn::eval::report_template
                  dom.js plot.js report/figures.js report/results.js report/labels.js report/axes.js report/figure.js
                  report/scatter.js report/turns.js report/tables.js report/report.js base.css report/report.css
                  report/report.html)
cairn_report_page(trace cairn/trace/replay_report.h cairn::replay_template
                  dom.js plot.js report/figures.js report/axes.js report/figure.js report/curves.js report/replay.js
                  base.css report/report.css report/replay.html)
cairn_report_page(eval cairn/eval/board_report.h cairn::eval::board_template
                  dom.js plot.js report/figures.js report/results.js report/labels.js report/axes.js report/figure.js
                  report/scatter.js report/board_rows.js report/board_filters.js report/board_table.js report/board.js
                  base.css report/report.css report/board.html)
