// SPDX-License-Identifier: Apache-2.0
// The board in three forms: JSON for programs, Markdown, and a page that draws it. All take the head of the result, as
// suite_head() makes it, with what else a reader should know.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cairn/eval/board.h"
#include "cairn/eval/result_json.h"

namespace cairn::eval {

// "cairn.eval.board.v1" (docs/evaluation.md, "Result files"), with a line for each row. All figures but those under
// "busy" depend on model, settings and seed alone.
std::string board_json(const Json& head, std::span<const BoardRow> rows);

std::string board_markdown(const Json& head, std::span<const BoardRow> rows);

// One HTML file that loads nothing. Names stay text whatever they hold. The same rows give the same bytes.
std::string board_page(const Json& head, std::span<const BoardRow> rows);

std::string_view board_template();  // web/report; defined in a file that cmake/embed_report.cmake writes

}  // namespace cairn::eval
