// SPDX-License-Identifier: Apache-2.0
// Literals and names, and what may follow them: subscripts, calls, filters and tests.
#include <utility>

#include "cairn/text/jinja/token_stream.h"

namespace cairn::jinja {

Result<ExpressionPtr> ExpressionParser::primary() {
  const std::size_t line = tokens_.line();
  if (tokens_.is_operator("[")) return list();
  if (tokens_.is_operator("{")) return dict();
  if (tokens_.take_operator("(")) {
    CAIRN_TRY_VOID(tokens_.enter());
    Result<ExpressionPtr> inside = tuple(true, "", /*in_parentheses=*/true);
    tokens_.leave();
    CAIRN_TRY(ExpressionPtr result, std::move(inside));
    CAIRN_TRY_VOID(tokens_.expect_operator(")"));
    return result;
  }
  CAIRN_TRY(ExpressionPtr made, make(ExpressionKind::kConstant, line, {}));
  if (tokens_.is(TokenKind::kString)) {
    std::string text;
    while (tokens_.is(TokenKind::kString)) text += tokens_.next().text;
    made->value = Value::trusted(std::move(text));
    return made;
  }
  if (tokens_.is(TokenKind::kInteger) || tokens_.is(TokenKind::kFloat)) {
    CAIRN_TRY(made->value, number_value(tokens_.next()));
    return made;
  }
  if (!tokens_.is(TokenKind::kName)) return tokens_.unexpected("a value");
  const std::string& name = tokens_.next().text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    made->value = Value(name == "true" || name == "True");
  } else if (name != "none" && name != "None") {
    made->kind = ExpressionKind::kName;
    made->name = name;
    mentioned.varargs |= name == "varargs";
    mentioned.kwargs |= name == "kwargs";
    mentioned.caller |= name == "caller";
  }
  return made;
}

Result<ExpressionPtr> ExpressionParser::list() {
  const std::size_t line = tokens_.line();
  CAIRN_TRY_VOID(tokens_.expect_operator("["));
  std::vector<ExpressionPtr> items;
  while (!tokens_.is_operator("]")) {
    if (!items.empty()) CAIRN_TRY_VOID(tokens_.expect_operator(","));
    if (tokens_.is_operator("]")) break;
    CAIRN_TRY(ExpressionPtr item, expression());
    items.push_back(std::move(item));
  }
  tokens_.next();
  return make(ExpressionKind::kList, line, std::move(items));
}

Result<ExpressionPtr> ExpressionParser::dict() {
  const std::size_t line = tokens_.line();
  CAIRN_TRY_VOID(tokens_.expect_operator("{"));
  std::vector<ExpressionPtr> items;
  while (!tokens_.is_operator("}")) {
    if (!items.empty()) CAIRN_TRY_VOID(tokens_.expect_operator(","));
    if (tokens_.is_operator("}")) break;
    CAIRN_TRY(ExpressionPtr key, expression());
    CAIRN_TRY_VOID(tokens_.expect_operator(":"));
    CAIRN_TRY(ExpressionPtr value, expression());
    items.push_back(std::move(key));
    items.push_back(std::move(value));
  }
  tokens_.next();
  return make(ExpressionKind::kDict, line, std::move(items));
}

Result<ExpressionPtr> ExpressionParser::postfix(ExpressionPtr expression) {
  while (true) {
    if (tokens_.is_operator(".") || tokens_.is_operator("[")) {
      CAIRN_TRY(expression, subscript(std::move(expression)));
    } else if (tokens_.is_operator("(")) {
      CAIRN_TRY(expression, call(std::move(expression)));
    } else {
      return expression;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::postfix_filters(ExpressionPtr expression) {
  while (true) {
    if (tokens_.is_operator("|")) {
      CAIRN_TRY(expression, filters(std::move(expression)));
    } else if (tokens_.is_name("is")) {
      CAIRN_TRY(expression, test(std::move(expression)));
    } else if (tokens_.is_operator("(")) {
      CAIRN_TRY(expression, call(std::move(expression)));
    } else {
      return expression;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::subscript(ExpressionPtr container) {
  const std::size_t line = tokens_.line();
  std::vector<ExpressionPtr> operands;
  operands.push_back(std::move(container));
  if (tokens_.take_operator(".")) {
    if (tokens_.is(TokenKind::kInteger)) {
      CAIRN_TRY(ExpressionPtr index, make(ExpressionKind::kConstant, line, {}));
      CAIRN_TRY(index->value, number_value(tokens_.next()));
      operands.push_back(std::move(index));
      return make(ExpressionKind::kItem, line, std::move(operands));
    }
    CAIRN_TRY(std::string name, tokens_.expect_name());
    CAIRN_TRY(ExpressionPtr made, make(ExpressionKind::kAttribute, line, std::move(operands)));
    made->name = std::move(name);
    return made;
  }
  CAIRN_TRY_VOID(tokens_.expect_operator("["));
  if (!tokens_.is_operator(":")) {
    std::vector<ExpressionPtr> indices;
    while (!tokens_.is_operator("]")) {
      CAIRN_TRY(ExpressionPtr index, expression());
      indices.push_back(std::move(index));
      if (!tokens_.take_operator(",")) break;
    }
    const bool single = indices.size() == 1;
    if (!single) {  // a[1, 2] has one index, which is a tuple
      CAIRN_TRY(ExpressionPtr index, make(ExpressionKind::kTuple, line, std::move(indices)));
      indices.clear();
      indices.push_back(std::move(index));
    }
    operands.push_back(std::move(indices.front()));
    if (tokens_.take_operator("]")) return make(ExpressionKind::kItem, line, std::move(operands));
    if (!single) return tokens_.unexpected("']'");
  } else {
    operands.push_back(nullptr);
  }
  while (operands.size() < 4) {
    ExpressionPtr bound;
    if (tokens_.take_operator(":") && !tokens_.is_operator(":") && !tokens_.is_operator("]")) {
      CAIRN_TRY(bound, expression());
    }
    operands.push_back(std::move(bound));
  }
  CAIRN_TRY_VOID(tokens_.expect_operator("]"));
  return make(ExpressionKind::kSlice, line, std::move(operands));
}

Result<CallArguments> ExpressionParser::arguments() {
  const std::size_t line = tokens_.line();
  CAIRN_TRY_VOID(tokens_.expect_operator("("));
  CallArguments result;
  bool first = true;
  while (!tokens_.is_operator(")")) {
    if (!std::exchange(first, false)) {
      CAIRN_TRY_VOID(tokens_.expect_operator(","));
      if (tokens_.is_operator(")")) break;
    }
    const bool named = tokens_.is(TokenKind::kName) && tokens_.is_operator("=", 1);
    const bool rest = tokens_.is_operator("*"), named_rest = tokens_.is_operator("**");
    const bool in_order = result.named_rest == nullptr && (result.rest == nullptr || named || named_rest) &&
                          (named || rest || named_rest || result.named.empty());
    if (!in_order) return wrong_at(line, "the arguments of a call are in a wrong order");
    if (rest || named_rest) {
      tokens_.next();
      CAIRN_TRY((rest ? result.rest : result.named_rest), expression());
    } else if (named) {
      std::string name = tokens_.next().text;
      tokens_.next();
      CAIRN_TRY(ExpressionPtr value, expression());
      for (const auto& [other, unused] : result.named) {
        if (other == name) return wrong_at(line, "the argument '" + name + "' is given twice");
      }
      result.named.emplace_back(std::move(name), std::move(value));
    } else {
      CAIRN_TRY(ExpressionPtr value, expression());
      result.positional.push_back(std::move(value));
    }
  }
  tokens_.next();
  return result;
}

Result<ExpressionPtr> ExpressionParser::call(ExpressionPtr callee) {
  const std::size_t line = tokens_.line();
  std::vector<ExpressionPtr> operands;
  operands.push_back(std::move(callee));
  CAIRN_TRY(ExpressionPtr made, make(ExpressionKind::kCall, line, std::move(operands)));
  CAIRN_TRY(made->arguments, arguments());
  CAIRN_TRY_VOID(measure(*made));
  return made;
}

Result<std::string> ExpressionParser::dotted_name() {
  CAIRN_TRY(std::string name, tokens_.expect_name());
  while (tokens_.take_operator(".")) {
    CAIRN_TRY(const std::string part, tokens_.expect_name());
    name += "." + part;
  }
  return name;
}

Result<ExpressionPtr> ExpressionParser::filter(ExpressionPtr input) {
  const std::size_t line = tokens_.line();
  CAIRN_TRY(std::string name, dotted_name());
  std::vector<ExpressionPtr> operands;
  operands.push_back(std::move(input));
  CAIRN_TRY(ExpressionPtr made, make(ExpressionKind::kFilter, line, std::move(operands)));
  made->name = std::move(name);
  if (tokens_.is_operator("(")) {
    CAIRN_TRY(made->arguments, arguments());
  }
  CAIRN_TRY_VOID(measure(*made));
  return made;
}

Result<ExpressionPtr> ExpressionParser::filters(ExpressionPtr input) {
  while (tokens_.take_operator("|")) {
    CAIRN_TRY(input, filter(std::move(input)));
  }
  return input;
}

Result<ExpressionPtr> ExpressionParser::test(ExpressionPtr value) {
  const std::size_t line = tokens_.line();
  tokens_.next();  // is
  const bool negated = tokens_.take_name("not");
  CAIRN_TRY(std::string name, dotted_name());
  std::vector<ExpressionPtr> operands;
  operands.push_back(std::move(value));
  CAIRN_TRY(ExpressionPtr made, make(ExpressionKind::kTest, line, std::move(operands)));
  made->name = std::move(name);
  const bool ends = tokens_.is_name("else") || tokens_.is_name("or") || tokens_.is_name("and");
  const bool argument = tokens_.is(TokenKind::kName) || tokens_.is(TokenKind::kString) ||
                        tokens_.is(TokenKind::kInteger) || tokens_.is(TokenKind::kFloat) || tokens_.is_operator("[") ||
                        tokens_.is_operator("{");
  if (tokens_.is_operator("(")) {
    CAIRN_TRY(made->arguments, arguments());
  } else if (argument && !ends) {
    if (tokens_.is_name("is")) return wrong_at(line, "tests with 'is' do not follow on each other");
    CAIRN_TRY(ExpressionPtr operand, primary());
    CAIRN_TRY(operand, postfix(std::move(operand)));
    made->arguments.positional.push_back(std::move(operand));
  }
  CAIRN_TRY_VOID(measure(*made));
  if (!negated) return made;
  std::vector<ExpressionPtr> negation;
  negation.push_back(std::move(made));
  return make(ExpressionKind::kUnary, line, std::move(negation), {Operator::kNot});
}

}  // namespace cairn::jinja
