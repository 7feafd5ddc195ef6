// SPDX-License-Identifier: Apache-2.0
// Expressions.
#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "cairn/text/jinja/interpreter.h"
#include "cairn/text/jinja/interpreter_scopes.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/print.h"

namespace cairn::jinja {
namespace {

// Names that Jinja gives every template and this build does not.
bool is_left_out(std::string_view name) {
  constexpr std::array<std::string_view, 4> kLeftOut = {"cycler", "joiner", "lipsum", "self"};
  return std::ranges::find(kLeftOut, name) != kLeftOut.end();
}

}  // namespace

Result<Value> Interpreter::evaluate(const Expression& expression) {
  const Level level(*this);
  CAIRN_TRY_VOID(level.status());
  Result<Value> value = evaluate_inner(expression);
  // What cannot fail may have used up the steps.
  if (const Status within = runtime_.budget.steps(0); value && !within) value = std::unexpected(within.error());
  if (!value && line_ == 0) line_ = expression.line;
  return value;
}

Result<Value> Interpreter::evaluate_inner(const Expression& expression) {
  const auto& operands = expression.operands;
  switch (expression.kind) {
    case ExpressionKind::kConstant: return expression.value;
    case ExpressionKind::kName: {
      Value value = look_up(expression.name);
      if (value.is_undefined() && is_left_out(expression.name)) {
        return refused("'" + expression.name + "' is not supported");
      }
      return value;
    }
    case ExpressionKind::kList:
    case ExpressionKind::kTuple:
    case ExpressionKind::kDict: return evaluate_literal(expression);
    case ExpressionKind::kAttribute: {
      CAIRN_TRY(const Value object, evaluate(*operands[0]));
      return attribute_of(object, expression.name);
    }
    case ExpressionKind::kItem: {
      CAIRN_TRY(const Value object, evaluate(*operands[0]));
      CAIRN_TRY(const Value key, evaluate(*operands[1]));
      return item_of(object, key);
    }
    case ExpressionKind::kSlice: return evaluate_slice(expression);
    case ExpressionKind::kCall: return evaluate_call(expression);
    case ExpressionKind::kFilter: return evaluate_filter(expression, nullptr);
    case ExpressionKind::kTest: {
      CAIRN_TRY(const Value value, evaluate(*operands[0]));
      CAIRN_TRY(const Arguments arguments, evaluate_arguments(expression.arguments));
      CAIRN_TRY(const bool holds, apply_test(runtime_, expression.name, value, arguments));
      return Value(holds);
    }
    case ExpressionKind::kUnary: {
      CAIRN_TRY(const Value value, evaluate(*operands[0]));
      if (expression.operators[0] == Operator::kNot) return Value(!value.truth());
      return sign(expression.operators[0], value);
    }
    case ExpressionKind::kBinary: {
      CAIRN_TRY(const Value left, evaluate(*operands[0]));
      CAIRN_TRY(const Value right, evaluate(*operands[1]));
      return arithmetic(expression.operators[0], left, right, runtime_.budget);
    }
    case ExpressionKind::kComparison: return evaluate_comparison(expression);
    case ExpressionKind::kConcat: return evaluate_concat(expression);
    case ExpressionKind::kAnd:
    case ExpressionKind::kOr:
    case ExpressionKind::kConditional: return evaluate_logic(expression);
  }
  return Value();
}

Result<Value> Interpreter::evaluate_literal(const Expression& expression) {
  CAIRN_TRY_VOID(runtime_.budget.values(expression.operands.size() + 1));
  Values items;
  items.reserve(expression.operands.size());
  for (const ExpressionPtr& operand : expression.operands) {
    CAIRN_TRY(Value item, evaluate(*operand));
    items.push_back(std::move(item));
  }
  if (expression.kind == ExpressionKind::kList) return make_list(std::move(items));
  if (expression.kind == ExpressionKind::kTuple) return make_tuple(std::move(items));
  Dict dict;
  for (std::size_t i = 0; i < items.size(); i += 2) CAIRN_TRY_VOID(dict.set(items[i], items[i + 1]));
  return Value(std::move(dict));
}

Result<Value> Interpreter::evaluate_comparison(const Expression& expression) {
  CAIRN_TRY(Value left, evaluate(*expression.operands[0]));
  for (std::size_t i = 0; i < expression.operators.size(); ++i) {
    CAIRN_TRY(Value right, evaluate(*expression.operands[i + 1]));
    CAIRN_TRY(const bool holds, compare(expression.operators[i], left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Result<Value> Interpreter::evaluate_concat(const Expression& expression) {
  Text text;
  for (const ExpressionPtr& operand : expression.operands) {
    CAIRN_TRY(const Value value, evaluate(*operand));
    CAIRN_TRY(const Text part, print(value, runtime_.budget));
    CAIRN_TRY_VOID(runtime_.budget.bytes(part.size()));
    text.append(part);
  }
  return Value(std::move(text));
}

Result<Value> Interpreter::evaluate_logic(const Expression& expression) {
  CAIRN_TRY(Value first, evaluate(*expression.operands[0]));
  if (expression.kind == ExpressionKind::kAnd && !first.truth()) return first;
  if (expression.kind == ExpressionKind::kOr && first.truth()) return first;
  if (expression.kind != ExpressionKind::kConditional || first.truth()) return evaluate(*expression.operands[1]);
  if (expression.operands.size() > 2) return evaluate(*expression.operands[2]);
  return Value::undefined("an inline if without an else was false");
}

Result<Value> Interpreter::evaluate_slice(const Expression& expression) {
  Value parts[4];
  for (std::size_t i = 0; i < 4; ++i) {
    if (expression.operands[i] != nullptr) {
      CAIRN_TRY(parts[i], evaluate(*expression.operands[i]));
    }
  }
  return slice(parts[0], parts[1], parts[2], parts[3], runtime_.budget);
}

Result<Arguments> Interpreter::evaluate_arguments(const CallArguments& arguments) {
  Arguments result;
  for (const ExpressionPtr& expression : arguments.positional) {
    CAIRN_TRY(Value value, evaluate(*expression));
    result.positional.push_back(std::move(value));
  }
  if (arguments.rest != nullptr) {
    CAIRN_TRY(const Value rest, evaluate(*arguments.rest));
    CAIRN_TRY(const Values items, iterate(rest, runtime_.budget));
    result.positional.insert(result.positional.end(), items.begin(), items.end());
  }
  for (const auto& [name, expression] : arguments.named) {
    CAIRN_TRY(Value value, evaluate(*expression));
    result.named.emplace_back(name, std::move(value));
  }
  if (arguments.named_rest == nullptr) return result;
  CAIRN_TRY(const Value rest, evaluate(*arguments.named_rest));
  if (!rest.is_dict()) return refused("what follows ** must be a dict");
  const Arguments given{.positional = {}, .named = result.named};  // the keys of a dict are not twice among themselves
  for (const Dict::Item& item : rest.dict()->items()) {
    if (!item.key.is_text()) return refused("names of arguments must be strings");
    const std::string& name = item.key.text()->bytes();
    CAIRN_TRY_VOID(runtime_.budget.steps(1 + arguments.named.size()));
    if (given.find(name) != nullptr) return refused("the argument '" + name + "' is given twice");
    result.named.emplace_back(name, item.value);
  }
  return result;
}

Result<Value> Interpreter::evaluate_filter(const Expression& expression, const Value* input) {
  Value value;
  if (expression.operands[0] == nullptr) {
    value = *input;
  } else if (input != nullptr) {  // a chain of filters on what a block holds
    CAIRN_TRY(value, evaluate_filter(*expression.operands[0], input));
  } else {
    CAIRN_TRY(value, evaluate(*expression.operands[0]));
  }
  CAIRN_TRY(const Arguments arguments, evaluate_arguments(expression.arguments));
  return apply_filter(runtime_, expression.name, value, arguments);
}

Result<Value> Interpreter::evaluate_call(const Expression& expression, const Value* caller) {
  CAIRN_TRY(const Value callee, evaluate(*expression.operands[0]));
  CAIRN_TRY(Arguments arguments, evaluate_arguments(expression.arguments));
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  return call(callee, arguments);
}

Result<Value> Interpreter::call(const Value& callee, const Arguments& arguments) {
  if (callee.is_undefined()) return undefined_error(callee);
  if (LoopState* loop = callee.loop()) return call_loop(*loop, arguments);
  const Callable* callable = callee.callable();
  if (callable == nullptr) return refused("'" + std::string(callee.type_name()) + "' cannot be called");
  if (callable->macro != nullptr) return call_macro(*callable, arguments);
  CAIRN_TRY_VOID(count_work(runtime_.budget, callable->self, arguments));
  return callable->function(runtime_, callable->self, arguments);
}

Result<Value> Interpreter::call_loop(LoopState& loop, const Arguments& arguments) {
  CAIRN_TRY(const Bound bound, Bound::bind("loop", arguments, {"iterable"}, 1));
  if (loop.recursive == nullptr) return refused("the loop is not marked as recursive");
  CAIRN_TRY(Values items, iterate(bound.at(0), runtime_.budget));
  Text out;
  CAIRN_TRY_VOID(run_loop(*loop.recursive, std::move(items), loop.depth + 1, out));
  CAIRN_TRY_VOID(runtime_.budget.bytes(out.size()));
  return Value(std::move(out));
}

// A macro sees the names of where it stands, not of where it is called.
Result<Value> Interpreter::call_macro(const Callable& callable, const Arguments& arguments) {
  const bool alive = callable.scope < scopes_.size() && scopes_[callable.scope]->number == callable.scope_number;
  if (!alive) return refused("the macro '" + std::string(callable.name) + "' is called after its block has ended");
  std::vector<Scope*> callers(scopes_.begin() + static_cast<std::ptrdiff_t>(callable.scope) + 1, scopes_.end());
  scopes_.resize(callable.scope + 1);
  Text out;
  Status status;
  {
    const Within scope(*this);
    status = bind_macro(*callable.macro, arguments);
    if (status) {
      if (const Result<Flow> flow = run(callable.macro->body, out); !flow) status = std::unexpected(flow.error());
    }
  }
  scopes_.insert(scopes_.end(), callers.begin(), callers.end());
  CAIRN_TRY_VOID(status);
  CAIRN_TRY_VOID(runtime_.budget.bytes(out.size()));
  return Value(std::move(out));
}

Status Interpreter::bind_macro(const Macro& macro, const Arguments& arguments) {
  const std::size_t count = macro.parameters.size();
  const auto wrong = [&](const std::string& what) { return refused("the macro '" + macro.name + "' " + what); };
  CAIRN_TRY_VOID(runtime_.budget.steps((count + 1) * arguments.named.size()));
  Values rest;
  Dict named_rest;
  for (std::size_t i = count; i < arguments.positional.size(); ++i) rest.push_back(arguments.positional[i]);
  if (!rest.empty() && !macro.uses_varargs) return wrong("takes " + std::to_string(count) + " arguments");
  const auto is_parameter = [&](const std::string& name) {
    return std::find(macro.parameters.begin(), macro.parameters.end(), name) != macro.parameters.end();
  };
  if (macro.uses_caller && !is_parameter("caller")) {
    const Value* caller = arguments.find("caller");
    set("caller", caller != nullptr ? *caller : Value::undefined("no caller is defined"));
  }
  for (const auto& [name, value] : arguments.named) {
    if (is_parameter(name) || (name == "caller" && macro.uses_caller)) continue;
    if (!macro.uses_kwargs) return wrong("has no parameter '" + name + "'");
    CAIRN_TRY_VOID(named_rest.set(Value::plain(name), value));
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::string& name = macro.parameters[i];
    const Value* given = arguments.find(name);
    if (i < arguments.positional.size()) {
      if (given != nullptr) return wrong("gets '" + name + "' twice");
      set(name, arguments.positional[i]);
    } else if (given != nullptr) {
      set(name, *given);
    } else if (const std::size_t optional = count - macro.defaults.size(); i >= optional) {
      CAIRN_TRY(Value value, evaluate(*macro.defaults[i - optional]));
      set(name, std::move(value));
    } else {
      set(name, Value::undefined("the parameter '" + name + "' was not given"));
    }
  }
  if (macro.uses_varargs) {
    CAIRN_TRY(Value value, make_tuple(std::move(rest)));
    set("varargs", std::move(value));
  }
  if (macro.uses_kwargs) set("kwargs", Value(std::move(named_rest)));
  return {};
}

}  // namespace cairn::jinja
