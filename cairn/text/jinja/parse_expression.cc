// SPDX-License-Identifier: Apache-2.0
// From the loosest binding to the tightest.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "cairn/text/jinja/budget.h"
#include "cairn/text/jinja/token_stream.h"

namespace cairn::jinja {
namespace {

struct OperatorName {
  std::string_view name;
  Operator op;
};

constexpr std::array<OperatorName, 6> kComparisons = {{{"==", Operator::kEqual},
                                                       {"!=", Operator::kNotEqual},
                                                       {"<", Operator::kLess},
                                                       {"<=", Operator::kLessEqual},
                                                       {">", Operator::kGreater},
                                                       {">=", Operator::kGreaterEqual}}};
constexpr std::array<OperatorName, 2> kSums = {{{"+", Operator::kAdd}, {"-", Operator::kSubtract}}};
constexpr std::array<OperatorName, 4> kProducts = {
    {{"*", Operator::kMultiply}, {"/", Operator::kDivide}, {"//", Operator::kFloorDivide}, {"%", Operator::kModulo}}};
constexpr std::array<OperatorName, 1> kPowers = {{{"**", Operator::kPower}}};

template <std::size_t n>
std::optional<Operator> take_one_of(TokenStream& tokens, const std::array<OperatorName, n>& table) {
  for (const OperatorName& entry : table) {
    if (tokens.take_operator(entry.name)) return entry.op;
  }
  return std::nullopt;
}

std::vector<ExpressionPtr> listed(ExpressionPtr a, ExpressionPtr b = nullptr, ExpressionPtr c = nullptr) {
  std::vector<ExpressionPtr> list;
  list.push_back(std::move(a));
  if (b != nullptr) list.push_back(std::move(b));
  if (c != nullptr) list.push_back(std::move(c));
  return list;
}

}  // namespace

Result<Value> number_value(const Token& token) {
  const std::string& text = token.text;
  if (token.kind == TokenKind::kFloat) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    // Beyond the range of a double strtod knows whether that is zero or infinity.
    return Value(error == std::errc() && end == text.data() + text.size() ? value : std::strtod(text.c_str(), nullptr));
  }
  const char mark = text.size() > 2 ? static_cast<char>(text[1] | 0x20) : '\0';
  const int base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
  const char* const begin = text.data() + (base == 10 ? 0 : 2);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) {
    return wrong_at(token.line, "a whole number has more than 64 bits");
  }
  return Value(value);
}

Status ExpressionParser::measure(Expression& expression) const {
  std::size_t height = 0;
  const auto look = [&](const ExpressionPtr& below) {
    if (below != nullptr) height = std::max(height, below->height);
  };
  for (const ExpressionPtr& operand : expression.operands) look(operand);
  for (const ExpressionPtr& argument : expression.arguments.positional) look(argument);
  for (const auto& [name, argument] : expression.arguments.named) look(argument);
  look(expression.arguments.rest);
  look(expression.arguments.named_rest);
  expression.height = height + 1;
  if (expression.height <= kMaxHeight) return {};
  return wrong_at(expression.line, "an expression nests deeper than " + std::to_string(kMaxHeight));
}

Result<ExpressionPtr> ExpressionParser::make(ExpressionKind kind, std::size_t line, std::vector<ExpressionPtr> operands,
                                             std::vector<Operator> operators) {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->line = line;
  made->operands = std::move(operands);
  made->operators = std::move(operators);
  CAIRN_TRY_VOID(measure(*made));
  return made;
}

Result<ExpressionPtr> ExpressionParser::expression(bool conditional) {
  CAIRN_TRY_VOID(tokens_.enter());
  Result<ExpressionPtr> result = conditional ? condition() : disjunction();
  tokens_.leave();
  return result;
}

Result<ExpressionPtr> ExpressionParser::tuple(bool conditional, std::string_view end, bool in_parentheses) {
  const std::size_t line = tokens_.line();
  std::vector<ExpressionPtr> parts;
  bool is_tuple = false;
  while (true) {
    if (!parts.empty()) CAIRN_TRY_VOID(tokens_.expect_operator(","));
    const bool over = tokens_.is(TokenKind::kVariableEnd) || tokens_.is(TokenKind::kBlockEnd) ||
                      tokens_.is_operator(")") || (!end.empty() && tokens_.is_name(end));
    if (over) break;
    CAIRN_TRY(ExpressionPtr part, expression(conditional));
    parts.push_back(std::move(part));
    if (!tokens_.is_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !parts.empty()) return std::move(parts.front());
  if (!is_tuple && !in_parentheses) return tokens_.unexpected("an expression");
  return make(ExpressionKind::kTuple, line, std::move(parts));
}

Result<ExpressionPtr> ExpressionParser::condition() {
  std::size_t line = tokens_.line();
  CAIRN_TRY(ExpressionPtr result, disjunction());
  while (tokens_.take_name("if")) {
    CAIRN_TRY(ExpressionPtr test, disjunction());
    ExpressionPtr otherwise;
    if (tokens_.take_name("else")) {
      CAIRN_TRY_VOID(tokens_.enter());
      Result<ExpressionPtr> parsed = condition();
      tokens_.leave();
      CAIRN_TRY(otherwise, std::move(parsed));
    }
    CAIRN_TRY(result, make(ExpressionKind::kConditional, line,
                           listed(std::move(test), std::move(result), std::move(otherwise))));
    line = tokens_.line();
  }
  return result;
}

Result<ExpressionPtr> ExpressionParser::disjunction() {
  const std::size_t line = tokens_.line();
  CAIRN_TRY(ExpressionPtr left, conjunction());
  while (tokens_.take_name("or")) {
    CAIRN_TRY(ExpressionPtr right, conjunction());
    CAIRN_TRY(left, make(ExpressionKind::kOr, line, listed(std::move(left), std::move(right))));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::conjunction() {
  const std::size_t line = tokens_.line();
  CAIRN_TRY(ExpressionPtr left, negation());
  while (tokens_.take_name("and")) {
    CAIRN_TRY(ExpressionPtr right, negation());
    CAIRN_TRY(left, make(ExpressionKind::kAnd, line, listed(std::move(left), std::move(right))));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::negation() {
  const std::size_t line = tokens_.line();
  if (!tokens_.take_name("not")) return comparison();
  CAIRN_TRY_VOID(tokens_.enter());
  Result<ExpressionPtr> operand = negation();
  tokens_.leave();
  CAIRN_TRY(ExpressionPtr value, std::move(operand));
  return make(ExpressionKind::kUnary, line, listed(std::move(value)), {Operator::kNot});
}

Result<ExpressionPtr> ExpressionParser::comparison() {
  const std::size_t line = tokens_.line();
  CAIRN_TRY(ExpressionPtr first, sum());
  std::vector<ExpressionPtr> operands = listed(std::move(first));
  std::vector<Operator> operators;
  while (true) {
    if (const auto op = take_one_of(tokens_, kComparisons)) {
      operators.push_back(*op);
    } else if (tokens_.take_name("in")) {
      operators.push_back(Operator::kIn);
    } else if (tokens_.is_name("not") && tokens_.is_name("in", 1)) {
      tokens_.next();
      tokens_.next();
      operators.push_back(Operator::kNotIn);
    } else {
      break;
    }
    CAIRN_TRY(ExpressionPtr operand, sum());
    operands.push_back(std::move(operand));
  }
  if (operators.empty()) return std::move(operands.front());
  return make(ExpressionKind::kComparison, line, std::move(operands), std::move(operators));
}

Result<ExpressionPtr> ExpressionParser::sum() {
  const std::size_t line = tokens_.line();
  CAIRN_TRY(ExpressionPtr left, concatenation());
  while (const auto op = take_one_of(tokens_, kSums)) {
    CAIRN_TRY(ExpressionPtr right, concatenation());
    CAIRN_TRY(left, make(ExpressionKind::kBinary, line, listed(std::move(left), std::move(right)), {*op}));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::concatenation() {
  const std::size_t line = tokens_.line();
  CAIRN_TRY(ExpressionPtr first, product());
  std::vector<ExpressionPtr> parts = listed(std::move(first));
  while (tokens_.take_operator("~")) {
    CAIRN_TRY(ExpressionPtr part, product());
    parts.push_back(std::move(part));
  }
  if (parts.size() == 1) return std::move(parts.front());
  return make(ExpressionKind::kConcat, line, std::move(parts));
}

Result<ExpressionPtr> ExpressionParser::product() {
  const std::size_t line = tokens_.line();
  CAIRN_TRY(ExpressionPtr left, power());
  while (const auto op = take_one_of(tokens_, kProducts)) {
    CAIRN_TRY(ExpressionPtr right, power());
    CAIRN_TRY(left, make(ExpressionKind::kBinary, line, listed(std::move(left), std::move(right)), {*op}));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::power() {
  const std::size_t line = tokens_.line();
  CAIRN_TRY(ExpressionPtr left, unary());
  while (const auto op = take_one_of(tokens_, kPowers)) {
    CAIRN_TRY(ExpressionPtr right, unary());
    CAIRN_TRY(left, make(ExpressionKind::kBinary, line, listed(std::move(left), std::move(right)), {*op}));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::unary(bool with_filters) {
  const std::size_t line = tokens_.line();
  ExpressionPtr result;
  if (const auto op = take_one_of(tokens_, kSums)) {
    CAIRN_TRY_VOID(tokens_.enter());
    Result<ExpressionPtr> operand = unary(false);
    tokens_.leave();
    CAIRN_TRY(ExpressionPtr value, std::move(operand));
    CAIRN_TRY(result, make(ExpressionKind::kUnary, line, listed(std::move(value)),
                           {*op == Operator::kAdd ? Operator::kPlus : Operator::kNegate}));
  } else {
    CAIRN_TRY(result, primary());
  }
  CAIRN_TRY(result, postfix(std::move(result)));
  return with_filters ? postfix_filters(std::move(result)) : std::move(result);
}

}  // namespace cairn::jinja
