// SPDX-License-Identifier: Apache-2.0
// Statements.
#include "cairn/text/jinja/interpreter.h"

#include <algorithm>
#include <utility>

#include "cairn/text/jinja/interpreter_scopes.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/print.h"
#include "cairn/text/jinja/work.h"

namespace cairn::jinja {

Result<Text> Interpreter::run(const Body& body) {
  const Within root(*this);
  Text out;
  CAIRN_TRY_VOID(run(body, out));
  return out;
}

Result<Interpreter::Flow> Interpreter::run(const Body& body, Text& out) {
  for (const Statement& statement : body) {
    CAIRN_TRY(const Flow flow, run(statement, out));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Result<Interpreter::Flow> Interpreter::run(const Statement& statement, Text& out) {
  const Level level(*this);
  CAIRN_TRY_VOID(level.status());
  Result<Flow> flow = run_inner(statement, out);
  if (!flow && line_ == 0) line_ = statement.line;
  return flow;
}

Result<Interpreter::Flow> Interpreter::run_inner(const Statement& statement, Text& out) {
  switch (statement.kind) {
    case StatementKind::kOutput: CAIRN_TRY_VOID(run_output(statement, out)); break;
    case StatementKind::kSet: {
      CAIRN_TRY(const Value value, evaluate(*statement.expressions[0]));
      CAIRN_TRY_VOID(assign(statement.target, value));
      break;
    }
    case StatementKind::kIf: return run_if(statement, out);
    case StatementKind::kFor: return run_for(statement, out);
    case StatementKind::kWith: return run_with(statement, out);
    case StatementKind::kMacro: set(statement.macro->name, macro_value(*statement.macro)); break;
    case StatementKind::kCallBlock: CAIRN_TRY_VOID(run_call_block(statement, out)); break;
    case StatementKind::kSetBlock:
    case StatementKind::kFilter: return run_captured(statement, out);
    case StatementKind::kScope: {
      const Within scope(*this);
      return run(statement.body, out);
    }
    case StatementKind::kBreak: return Flow::kBreak;
    case StatementKind::kContinue: return Flow::kContinue;
  }
  return Flow::kNext;
}

Status Interpreter::put(const Text& text, Text& out) {
  const std::size_t most = runtime_.budget.limits().max_output_bytes;
  if (text.size() > most || out.size() > most - text.size()) {
    return refused("its output has more than " + std::to_string(most) + " bytes");
  }
  out.append(text);
  return {};
}

Status Interpreter::run_output(const Statement& statement, Text& out) {
  for (const ExpressionPtr& expression : statement.expressions) {
    CAIRN_TRY(const Value value, evaluate(*expression));
    if (const Text* text = value.text()) {
      CAIRN_TRY_VOID(put(*text, out));
    } else {
      CAIRN_TRY(const Text printed, print(value, runtime_.budget));
      CAIRN_TRY_VOID(put(printed, out));
    }
  }
  return {};
}

Result<Interpreter::Flow> Interpreter::run_if(const Statement& statement, Text& out) {
  for (const auto& [test, then] : statement.branches) {
    CAIRN_TRY(const Value holds, evaluate(*test));
    if (holds.truth()) return run(then, out);
  }
  return run(statement.otherwise, out);
}

Result<Interpreter::Flow> Interpreter::run_for(const Statement& statement, Text& out) {
  CAIRN_TRY(const Value value, evaluate(*statement.expressions[0]));
  CAIRN_TRY(Values items, iterate(value, runtime_.budget));
  return run_loop(statement, std::move(items), 0, out);
}

Result<Values> Interpreter::kept_items(const Statement& statement, Values items) {
  if (statement.expressions[1] == nullptr) return items;
  Values kept;
  for (Value& item : items) {
    const Within scope(*this);
    CAIRN_TRY_VOID(assign(statement.target, item));
    CAIRN_TRY(const Value holds, evaluate(*statement.expressions[1]));
    if (holds.truth()) kept.push_back(std::move(item));
  }
  return kept;
}

Result<Interpreter::Flow> Interpreter::run_loop(const Statement& statement, Values items, std::size_t depth,
                                                Text& out) {
  CAIRN_TRY(items, kept_items(statement, std::move(items)));
  CAIRN_TRY_VOID(runtime_.budget.values(4));
  LoopState& loop = runtime_.loops.emplace_back();
  loop.items = std::move(items);
  loop.size = loop.items.size();
  loop.depth = depth;
  if (statement.recursive) loop.recursive = &statement;
  bool otherwise = true;
  Result<Flow> flow = Flow::kNext;
  for (; loop.index < loop.size; ++loop.index) {
    const Within scope(*this);
    if (Status status = assign(statement.target, loop.items[loop.index]); !status) {
      flow = std::unexpected(std::move(status).error());
      break;
    }
    set("loop", Value(&loop));
    flow = run(statement.body, out);
    if (!flow || *flow == Flow::kBreak) break;
    // As Jinja has it, a turn that `continue` or `break` cut short does not count against `else`.
    if (*flow == Flow::kNext) otherwise = false;
  }
  loop.items.clear();
  loop.last_changed.reset();
  loop.recursive = nullptr;
  if (!flow) return flow;
  if (!otherwise) return Flow::kNext;
  const Within scope(*this);
  return run(statement.otherwise, out);
}

Result<Interpreter::Flow> Interpreter::run_with(const Statement& statement, Text& out) {
  Values values;
  for (const ExpressionPtr& expression : statement.expressions) {
    CAIRN_TRY(Value value, evaluate(*expression));
    values.push_back(std::move(value));
  }
  const Within scope(*this);
  for (std::size_t i = 0; i < values.size(); ++i) CAIRN_TRY_VOID(assign(statement.target.parts[i], values[i]));
  return run(statement.body, out);
}

Result<Interpreter::Flow> Interpreter::run_captured(const Statement& statement, Text& out) {
  Text inside;
  {
    const Within scope(*this);
    CAIRN_TRY(const Flow flow, run(statement.body, inside));
    if (flow != Flow::kNext) return flow;
  }
  CAIRN_TRY_VOID(runtime_.budget.bytes(inside.size()));
  Value value(std::move(inside));
  if (!statement.expressions.empty()) {
    const Value captured = value;
    CAIRN_TRY(value, evaluate_filter(*statement.expressions[0], &captured));
  }
  if (statement.kind == StatementKind::kSetBlock) {
    CAIRN_TRY_VOID(assign(statement.target, value));
    return Flow::kNext;
  }
  CAIRN_TRY(const Text printed, print(value, runtime_.budget));
  CAIRN_TRY_VOID(put(printed, out));
  return Flow::kNext;
}

Status Interpreter::run_call_block(const Statement& statement, Text& out) {
  const Value caller = macro_value(*statement.macro);
  CAIRN_TRY(const Value value, evaluate_call(*statement.expressions[0], &caller));
  CAIRN_TRY(const Text printed, print(value, runtime_.budget));
  return put(printed, out);
}

Status Interpreter::assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    if (value.is_undefined()) return undefined_error(value);
    CAIRN_TRY(const Values parts, iterate(value, runtime_.budget));
    if (parts.size() != target.parts.size()) {
      return refused("there are " + std::to_string(parts.size()) + " values for " +
                     std::to_string(target.parts.size()) + " names");
    }
    for (std::size_t i = 0; i < parts.size(); ++i) CAIRN_TRY_VOID(assign(target.parts[i], parts[i]));
    return {};
  }
  if (target.attribute.empty()) {
    set(target.name, value);
    return {};
  }
  Namespace* space = look_up(target.name).space();
  if (space == nullptr) return refused("'" + target.name + "' is no namespace: its attributes cannot be set");
  return space->values.set(Value::trusted(target.attribute), value);
}

Value Interpreter::look_up(std::string_view name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    count_bytes((*scope)->names.size() + name.size());
    for (const auto& [known, value] : (*scope)->names) {
      if (known == name) return value;
    }
  }
  if (const Value* value = context_.find_name(name)) return *value;
  if (const Function function = find_global(name)) return Callable{.name = name, .function = function};
  return Value::undefined("'" + std::string(name) + "' is undefined");
}

void Interpreter::set(std::string_view name, Value value) {
  auto& names = scopes_.back()->names;
  count_bytes(names.size() + name.size());
  const auto known = std::ranges::find_if(names, [&](const auto& entry) { return entry.first == name; });
  if (known == names.end()) {
    names.emplace_back(name, std::move(value));
  } else {
    known->second = std::move(value);
  }
}

Value Interpreter::macro_value(const Macro& macro) const {
  return Callable{
      .name = macro.name, .macro = &macro, .scope = scopes_.size() - 1, .scope_number = scopes_.back()->number};
}

}  // namespace cairn::jinja
