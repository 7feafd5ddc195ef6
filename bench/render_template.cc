// SPDX-License-Identifier: Apache-2.0
// Renders templates for tools/chat_template_test.py: reads a JSON object per line, {"template", "context"}, and writes
// one per line: {"text", "trusted"} with the bytes that the template wrote itself, or {"error"}.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "cairn/text/jinja/json.h"
#include "cairn/text/jinja/template.h"

namespace {

using Json = nlohmann::ordered_json;

cairn::Result<cairn::jinja::Text> render(const Json& request) {
  const std::string context_text = request.at("context").dump();
  const auto source = request.at("template").get<std::string>();
  CAIRN_TRY(const cairn::jinja::Template parsed, cairn::jinja::Template::parse(source));
  CAIRN_TRY(const cairn::jinja::Value context, cairn::jinja::read_json(context_text));
  const std::time_t now = std::time(nullptr);
  cairn::jinja::RenderOptions options;
  localtime_r(&now, &options.now);
  return parsed.render(*context.dict(), options);
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    const auto text = render(Json::parse(line));
    Json answer;
    if (text) {
      answer["text"] = text->bytes();
      answer["trusted"] = Json::array();
      for (const cairn::TextRange& range : text->trusted_ranges()) {
        answer["trusted"].push_back({range.begin, range.end});
      }
    } else {
      answer["error"] = text.error().message;
    }
    std::cout << answer.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  }
  return 0;
}
