// SPDX-License-Identifier: Apache-2.0
// The tokens of a template as the parser eats them, and what its parts share.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/text/jinja/ast.h"
#include "cairn/text/jinja/lexer.h"

namespace cairn::jinja {

inline constexpr std::size_t kMaxHeight = 200;  // of the tree

// Thread-compatible.
class TokenStream {
 public:
  // Requires: the last token is a kEnd.
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(std::size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  const Token& next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  std::size_t line() const { return peek().line; }

  bool is(TokenKind kind, std::size_t ahead = 0) const { return peek(ahead).kind == kind; }
  bool is_name(std::string_view name, std::size_t ahead = 0) const { return is_text(TokenKind::kName, name, ahead); }
  bool is_operator(std::string_view op, std::size_t ahead = 0) const {
    return is_text(TokenKind::kOperator, op, ahead);
  }
  bool take_name(std::string_view name) { return is_name(name) && (next(), true); }
  bool take_operator(std::string_view op) { return is_operator(op) && (next(), true); }

  Result<std::string> expect_name();
  Status expect_operator(std::string_view op);
  Status expect(TokenKind kind);
  // "line N: what, but X stands there"
  std::unexpected<Error> unexpected(std::string_view wanted) const;

  // Levels of what is being parsed; an error beyond kMaxHeight.
  Status enter();
  void leave() { --depth_; }

 private:
  bool is_text(TokenKind kind, std::string_view text, std::size_t ahead) const {
    return is(kind, ahead) && peek(ahead).text == text;
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
};

// Expressions. Names that macros must know of are noted as they are met. Thread-compatible.
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  Result<ExpressionPtr> expression(bool conditional = true);
  // Several with commas between them are a tuple. Ends before `end`, a name, too.
  Result<ExpressionPtr> tuple(bool conditional = true, std::string_view end = "", bool in_parentheses = false);
  // |name(arguments) and so on, applied to `input`; null when there is none.
  Result<ExpressionPtr> filters(ExpressionPtr input);
  Result<ExpressionPtr> filter(ExpressionPtr input);

  // Which of varargs, kwargs and caller were met since the macro began.
  struct Mentioned {
    bool varargs = false, kwargs = false, caller = false;
  };
  Mentioned mentioned{};

 private:
  Result<ExpressionPtr> condition();
  Result<ExpressionPtr> disjunction();
  Result<ExpressionPtr> conjunction();
  Result<ExpressionPtr> negation();
  Result<ExpressionPtr> comparison();
  Result<ExpressionPtr> sum();
  Result<ExpressionPtr> concatenation();
  Result<ExpressionPtr> product();
  Result<ExpressionPtr> power();
  Result<ExpressionPtr> unary(bool with_filters = true);
  Result<ExpressionPtr> primary();
  Result<ExpressionPtr> list();
  Result<ExpressionPtr> dict();
  Result<ExpressionPtr> postfix(ExpressionPtr expression);
  Result<ExpressionPtr> postfix_filters(ExpressionPtr expression);
  Result<ExpressionPtr> subscript(ExpressionPtr container);
  Result<ExpressionPtr> call(ExpressionPtr callee);
  Result<ExpressionPtr> test(ExpressionPtr value);
  Result<CallArguments> arguments();
  Result<std::string> dotted_name();

  // A node with these below it; an error when it becomes too high.
  Result<ExpressionPtr> make(ExpressionKind kind, std::size_t line, std::vector<ExpressionPtr> operands,
                             std::vector<Operator> operators = {});
  Status measure(Expression& expression) const;

  TokenStream& tokens_;
};

// The value that a number token writes. Errors: kInvalidArgument for whole numbers beyond 64 bits.
Result<Value> number_value(const Token& token);

}  // namespace cairn::jinja
