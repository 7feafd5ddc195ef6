// SPDX-License-Identifier: Apache-2.0
// Runs a template's tree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/text/jinja/ast.h"
#include "cairn/text/jinja/runtime.h"
#include "cairn/text/jinja/value.h"

namespace cairn::jinja {

// Names that were assigned since a loop's turn, a macro or a block began; those outside are seen through it.
struct Scope {
  std::size_t number = 0;  // no two of one rendering have the same
  std::vector<std::pair<std::string_view, Value>> names{};
};

// One rendering. The body, its names and what they are set to outlive it. Thread-compatible.
class Interpreter {
 public:
  Interpreter(Runtime& runtime, const Dict& context) : runtime_(runtime), context_(context) {}

  // Errors: kInvalidArgument. line() tells where.
  Result<Text> run(const Body& body);
  std::size_t line() const { return line_; }

 private:
  enum class Flow : std::uint8_t { kNext, kBreak, kContinue };
  class Level;   // one more level of depth, as long as it lives
  class Within;  // a new innermost scope, as long as it lives

  Result<Flow> run(const Body& body, Text& out);
  Result<Flow> run(const Statement& statement, Text& out);
  Result<Flow> run_inner(const Statement& statement, Text& out);
  Result<Flow> run_if(const Statement& statement, Text& out);
  Result<Flow> run_for(const Statement& statement, Text& out);
  Result<Flow> run_loop(const Statement& statement, Values items, std::size_t depth, Text& out);
  Result<Flow> run_with(const Statement& statement, Text& out);
  Result<Flow> run_captured(const Statement& statement, Text& out);
  Status run_output(const Statement& statement, Text& out);
  Status run_call_block(const Statement& statement, Text& out);
  Result<Values> kept_items(const Statement& statement, Values items);
  Status put(const Text& text, Text& out);
  Status assign(const Target& target, const Value& value);

  Result<Value> evaluate(const Expression& expression);
  Result<Value> evaluate_inner(const Expression& expression);
  Result<Value> evaluate_literal(const Expression& expression);
  Result<Value> evaluate_comparison(const Expression& expression);
  Result<Value> evaluate_concat(const Expression& expression);
  Result<Value> evaluate_logic(const Expression& expression);
  Result<Value> evaluate_slice(const Expression& expression);
  Result<Value> evaluate_call(const Expression& expression, const Value* caller = nullptr);
  // `input` stands in for what the innermost filter of a filter block works on.
  Result<Value> evaluate_filter(const Expression& expression, const Value* input);
  Result<Arguments> evaluate_arguments(const CallArguments& arguments);
  Result<Value> call(const Value& callee, const Arguments& arguments);
  Result<Value> call_macro(const Callable& callable, const Arguments& arguments);
  Status bind_macro(const Macro& macro, const Arguments& arguments);
  Result<Value> call_loop(LoopState& loop, const Arguments& arguments);

  Value look_up(std::string_view name) const;
  void set(std::string_view name, Value value);
  Value macro_value(const Macro& macro) const;

  Runtime& runtime_;
  const Dict& context_;
  std::vector<Scope*> scopes_;  // innermost last
  std::size_t scopes_made_ = 0;
  std::size_t line_ = 0;  // of the innermost statement or expression that failed
};

}  // namespace cairn::jinja
