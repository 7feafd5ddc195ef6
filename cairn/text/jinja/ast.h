// SPDX-License-Identifier: Apache-2.0
// What a template says, as a tree. Built by the parser, then immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/value.h"

namespace cairn::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

// (a, b, name=c, *rest, **named_rest)
struct CallArguments {
  std::vector<ExpressionPtr> positional{};
  std::vector<std::pair<std::string, ExpressionPtr>> named{};
  ExpressionPtr rest{};
  ExpressionPtr named_rest{};
};

enum class ExpressionKind : std::uint8_t {
  kConstant,     // value
  kName,         // name
  kList,         // operands
  kTuple,        // operands
  kDict,         // operands: key, value, key, value, ...
  kAttribute,    // operands[0].name
  kItem,         // operands[0][operands[1]]
  kSlice,        // operands[0][operands[1]:operands[2]:operands[3]], null where left out
  kCall,         // operands[0](arguments)
  kFilter,       // operands[0]|name(arguments); operands[0] is null in a filter block
  kTest,         // operands[0] is name(arguments)
  kUnary,        // operators[0] operands[0]
  kBinary,       // operands[0] operators[0] operands[1]
  kComparison,   // operands[0] operators[0] operands[1] operators[1] operands[2] ...
  kConcat,       // operands joined by ~
  kAnd,          // operands[0] and operands[1]
  kOr,           // operands[0] or operands[1]
  kConditional,  // operands[1] if operands[0] else operands[2], which may be null
};

struct Expression {
  ExpressionKind kind = ExpressionKind::kConstant;
  std::size_t line = 1;
  std::size_t height = 1;  // of the tree below
  std::string name{};
  Value value{};
  std::vector<ExpressionPtr> operands{};
  std::vector<Operator> operators{};
  CallArguments arguments{};
};

// Where an assignment goes: a name, an attribute of a namespace, or several of them.
struct Target {
  std::string name{};
  std::string attribute{};  // not empty: of the namespace `name`
  bool is_tuple = false;
  std::vector<Target> parts{};  // of a tuple
};

struct Statement;
using Body = std::vector<Statement>;

// A macro, or the body of a call block.
struct Macro {
  std::string name{};
  std::vector<std::string> parameters{};
  std::vector<ExpressionPtr> defaults{};  // of the last parameters
  Body body;
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

enum class StatementKind : std::uint8_t {
  kOutput,     // expressions; a constant is text of the template
  kSet,        // target = expressions[0]
  kSetBlock,   // target = body through the filter expressions[0], if any
  kIf,         // branches, then otherwise
  kFor,        // target in expressions[0] if expressions[1], which may be null: body, or otherwise
  kWith,       // parts of target = expressions, within body
  kMacro,      // macro
  kCallBlock,  // expressions[0] is a call, macro its caller
  kFilter,     // body through the filter expressions[0]
  kScope,      // body, with names of its own
  kBreak,
  kContinue,
};

struct Statement {
  StatementKind kind = StatementKind::kOutput;
  std::size_t line = 1;
  std::vector<ExpressionPtr> expressions{};
  Target target{};
  Body body{};
  Body otherwise{};
  std::vector<std::pair<ExpressionPtr, Body>> branches{};
  std::unique_ptr<Macro> macro{};
  bool recursive = false;
};

}  // namespace cairn::jinja
