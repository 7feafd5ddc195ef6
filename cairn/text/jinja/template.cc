// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/jinja/template.h"

#include <utility>

#include "cairn/text/jinja/interpreter.h"
#include "cairn/text/jinja/lexer.h"
#include "cairn/text/jinja/parser.h"
#include "cairn/text/jinja/text_functions.h"
#include "cairn/text/jinja/work.h"

namespace cairn::jinja {

Result<Template> Template::parse(std::string_view source, const Limits& limits) {
  if (source.size() > limits.max_template_bytes) {
    return refused("it has more than " + std::to_string(limits.max_template_bytes) + " bytes");
  }
  if (!is_utf8(source)) return refused("it is not UTF-8");
  CAIRN_TRY(Body body, jinja::parse(source));
  return Template(std::move(body));
}

Result<Text> Template::render(const Dict& context, const RenderOptions& options) const {
  Runtime runtime{.budget = Budget(options.limits), .now = options.now};
  const CountedWork counted(runtime.budget);
  Interpreter interpreter(runtime, context);
  Result<Text> text = interpreter.run(body_);
  // The very last thing done may have used up the steps.
  if (const Status within = runtime.budget.steps(0); text && !within) text = std::unexpected(within.error());
  if (text || runtime.raised) return text;
  return fail(ErrorCode::kUnsupported, wrong_at(interpreter.line(), text.error().message).error().message);
}

}  // namespace cairn::jinja
