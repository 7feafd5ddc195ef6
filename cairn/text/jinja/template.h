// SPDX-License-Identifier: Apache-2.0
// A Jinja template, as transformers runs those of chats: Jinja2's sandbox for immutable values with trim_blocks,
// lstrip_blocks and loop controls. docs/chat-templates.md says what is in it and what is not.
#pragma once

#include <ctime>
#include <string>
#include <string_view>

#include "cairn/base/result.h"
#include "cairn/text/jinja/ast.h"
#include "cairn/text/jinja/budget.h"
#include "cairn/text/jinja/value.h"

namespace cairn::jinja {

struct RenderOptions {
  std::tm now{};  // for strftime_now()
  Limits limits{};
};

// A template reads what it is given and nothing else: no files, no clock, nothing of this program. Immutable and
// thread-safe.
class Template {
 public:
  // Errors: kInvalidArgument, "line N: ..." with what is wrong or not supported there.
  static Result<Template> parse(std::string_view source, const Limits& limits = {});

  // The text, with what the template wrote itself marked as trusted. `context` gives the names it can use.
  // Errors: kInvalidArgument: the text of raise_exception(); kUnsupported: "line N: ..." for everything else.
  Result<Text> render(const Dict& context, const RenderOptions& options = {}) const;

 private:
  explicit Template(Body body) : body_(std::move(body)) {}

  Body body_;
};

}  // namespace cairn::jinja
