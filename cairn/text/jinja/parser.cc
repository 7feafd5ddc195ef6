// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/jinja/parser.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

#include "cairn/base/utf8.h"
#include "cairn/text/jinja/token_stream.h"

namespace cairn::jinja {
namespace {

using Names = std::initializer_list<std::string_view>;

class StatementParser {
 public:
  explicit StatementParser(std::vector<Token> tokens) : tokens_(std::move(tokens)), expressions_(tokens_) {}

  Result<Body> document() { return body({}); }

 private:
  // Statements until a tag that begins with one of these names, which is not taken; without names until the end.
  Result<Body> body(Names ends) {
    CAIRN_TRY_VOID(tokens_.enter());
    Result<Body> result = statements(ends);
    tokens_.leave();
    return result;
  }

  Result<Body> statements(Names ends) {
    Body body;
    while (!tokens_.is(TokenKind::kEnd)) {
      if (tokens_.is(TokenKind::kData)) {
        CAIRN_TRY(Statement data, text());
        body.push_back(std::move(data));
      } else if (tokens_.is(TokenKind::kVariableBegin)) {
        CAIRN_TRY(Statement output, variable());
        body.push_back(std::move(output));
      } else {
        const std::size_t line = tokens_.next().line;  // {%
        if (std::ranges::any_of(ends, [&](std::string_view end) { return tokens_.is_name(end); })) return body;
        CAIRN_TRY(Statement parsed, statement());
        parsed.line = line;
        body.push_back(std::move(parsed));
        CAIRN_TRY_VOID(tokens_.expect(TokenKind::kBlockEnd));
      }
    }
    if (ends.size() > 0) return tokens_.unexpected("'" + std::string(*(ends.end() - 1)) + "'");
    return body;
  }

  Result<Statement> text() {
    const Token& token = tokens_.next();
    Statement output{.kind = StatementKind::kOutput, .line = token.line};
    auto constant = std::make_unique<Expression>();
    constant->line = token.line;
    constant->value = Value::trusted(token.text);
    output.expressions.push_back(std::move(constant));
    return output;
  }

  Result<Statement> variable() {
    Statement output{.kind = StatementKind::kOutput, .line = tokens_.next().line};
    CAIRN_TRY(ExpressionPtr value, expressions_.tuple());
    output.expressions.push_back(std::move(value));
    CAIRN_TRY_VOID(tokens_.expect(TokenKind::kVariableEnd));
    return output;
  }

  Result<Statement> statement() {
    if (tokens_.is_name("else") || tokens_.is_name("elif") || tokens_.peek().text.starts_with("end")) {
      return wrong_at(tokens_.line(), "'" + printable_start(tokens_.peek().text, 40) + "' has no beginning");
    }
    struct Tag {
      std::string_view name;
      Result<Statement> (StatementParser::*parse)();
    };
    constexpr std::array<Tag, 11> kTags = {{{"if", &StatementParser::if_tag},
                                            {"for", &StatementParser::for_tag},
                                            {"set", &StatementParser::set_tag},
                                            {"macro", &StatementParser::macro_tag},
                                            {"call", &StatementParser::call_tag},
                                            {"filter", &StatementParser::filter_tag},
                                            {"with", &StatementParser::with_tag},
                                            {"print", &StatementParser::print_tag},
                                            {"break", &StatementParser::loop_tag},
                                            {"continue", &StatementParser::loop_tag},
                                            {"generation", &StatementParser::generation_tag}}};
    for (const Tag& tag : kTags) {
      if (tokens_.is_name(tag.name)) return (this->*tag.parse)();
    }
    if (!tokens_.is(TokenKind::kName)) return tokens_.unexpected("a tag's name");
    return wrong_at(tokens_.line(), "the tag '" + printable_start(tokens_.peek().text, 40) + "' is not supported");
  }

  // The rest of a tag that opens a block, its content, and the name of the tag that ends it.
  Result<Body> block(Names ends) {
    tokens_.take_operator(":");
    CAIRN_TRY_VOID(tokens_.expect(TokenKind::kBlockEnd));
    return body(ends);
  }
  Result<Body> block_to(std::string_view end) {
    CAIRN_TRY(Body inside, block({end}));
    tokens_.next();
    return inside;
  }

  Result<Statement> if_tag() {
    Statement made{.kind = StatementKind::kIf};
    std::string end;
    do {
      tokens_.next();  // if or elif
      CAIRN_TRY(ExpressionPtr test, expressions_.tuple(/*conditional=*/false));
      CAIRN_TRY(Body then, block({"elif", "else", "endif"}));
      made.branches.emplace_back(std::move(test), std::move(then));
    } while (tokens_.is_name("elif"));
    if (tokens_.take_name("else")) {
      CAIRN_TRY(made.otherwise, block_to("endif"));
    } else {
      tokens_.next();
    }
    return made;
  }

  Result<Statement> for_tag() {
    tokens_.next();
    Statement made{.kind = StatementKind::kFor};
    CAIRN_TRY(made.target, target("in"));
    if (!tokens_.take_name("in")) return tokens_.unexpected("'in'");
    CAIRN_TRY(ExpressionPtr items, expressions_.tuple(/*conditional=*/false, "recursive"));
    ExpressionPtr test;
    if (tokens_.take_name("if")) {
      CAIRN_TRY(test, expressions_.expression());
    }
    made.expressions.push_back(std::move(items));
    made.expressions.push_back(std::move(test));
    made.recursive = tokens_.take_name("recursive");
    ++loops_;
    Result<Body> inside = block({"endfor", "else"});
    --loops_;
    CAIRN_TRY(made.body, std::move(inside));
    if (tokens_.take_name("else")) {
      CAIRN_TRY(made.otherwise, block_to("endfor"));
    } else {
      tokens_.next();
    }
    return made;
  }

  Result<Statement> set_tag() {
    tokens_.next();
    Statement made{.kind = StatementKind::kSet};
    CAIRN_TRY(made.target, target("", /*with_attributes=*/true));
    if (tokens_.take_operator("=")) {
      CAIRN_TRY(ExpressionPtr value, expressions_.tuple());
      made.expressions.push_back(std::move(value));
      return made;
    }
    made.kind = StatementKind::kSetBlock;
    CAIRN_TRY(ExpressionPtr filter, expressions_.filters(nullptr));
    if (filter != nullptr) made.expressions.push_back(std::move(filter));
    CAIRN_TRY(made.body, block_to("endset"));
    return made;
  }

  Result<Statement> with_tag() {
    tokens_.next();
    Statement made{.kind = StatementKind::kWith};
    made.target.is_tuple = true;
    while (!tokens_.is(TokenKind::kBlockEnd)) {
      if (!made.expressions.empty()) CAIRN_TRY_VOID(tokens_.expect_operator(","));
      CAIRN_TRY(Target part, target(""));
      CAIRN_TRY_VOID(tokens_.expect_operator("="));
      CAIRN_TRY(ExpressionPtr value, expressions_.expression());
      made.target.parts.push_back(std::move(part));
      made.expressions.push_back(std::move(value));
    }
    CAIRN_TRY(made.body, block_to("endwith"));
    return made;
  }

  Result<Statement> print_tag() {
    tokens_.next();
    Statement made{.kind = StatementKind::kOutput};
    while (!tokens_.is(TokenKind::kBlockEnd)) {
      if (!made.expressions.empty()) CAIRN_TRY_VOID(tokens_.expect_operator(","));
      CAIRN_TRY(ExpressionPtr value, expressions_.expression());
      made.expressions.push_back(std::move(value));
    }
    return made;
  }

  Result<Statement> loop_tag() {
    const Token& token = tokens_.next();
    if (loops_ == 0) return wrong_at(token.line, "'" + token.text + "' stands outside of a loop");
    return Statement{.kind = token.text == "break" ? StatementKind::kBreak : StatementKind::kContinue};
  }

  // What the model answers, marked for training; here its content alone counts.
  Result<Statement> generation_tag() {
    tokens_.next();
    Statement made{.kind = StatementKind::kScope};
    const std::size_t loops = std::exchange(loops_, 0);
    Result<Body> inside = block_to("endgeneration");
    loops_ = loops;
    CAIRN_TRY(made.body, std::move(inside));
    return made;
  }

  Result<Statement> filter_tag() {
    tokens_.next();
    Statement made{.kind = StatementKind::kFilter};
    CAIRN_TRY(ExpressionPtr filter, expressions_.filter(nullptr));
    CAIRN_TRY(filter, expressions_.filters(std::move(filter)));
    made.expressions.push_back(std::move(filter));
    CAIRN_TRY(made.body, block_to("endfilter"));
    return made;
  }

  Result<Statement> macro_tag() {
    tokens_.next();
    Statement made{.kind = StatementKind::kMacro};
    made.macro = std::make_unique<Macro>();
    CAIRN_TRY(made.macro->name, target_name());
    CAIRN_TRY_VOID(signature(*made.macro));
    CAIRN_TRY_VOID(macro_body(*made.macro, "endmacro"));
    return made;
  }

  Result<Statement> call_tag() {
    tokens_.next();
    Statement made{.kind = StatementKind::kCallBlock};
    made.macro = std::make_unique<Macro>();
    made.macro->name = "caller";
    if (tokens_.is_operator("(")) CAIRN_TRY_VOID(signature(*made.macro));
    CAIRN_TRY(ExpressionPtr call, expressions_.expression());
    if (call->kind != ExpressionKind::kCall) return tokens_.unexpected("a call");
    made.expressions.push_back(std::move(call));
    CAIRN_TRY_VOID(macro_body(*made.macro, "endcall"));
    return made;
  }

  Status signature(Macro& macro) {
    CAIRN_TRY_VOID(tokens_.expect_operator("("));
    while (!tokens_.is_operator(")")) {
      if (!macro.parameters.empty()) CAIRN_TRY_VOID(tokens_.expect_operator(","));
      CAIRN_TRY(std::string name, target_name());
      if (tokens_.take_operator("=")) {
        CAIRN_TRY(ExpressionPtr value, expressions_.expression());
        macro.defaults.push_back(std::move(value));
      } else if (!macro.defaults.empty()) {
        return wrong_at(tokens_.line(), "a parameter without a default follows one with a default");
      }
      if (std::ranges::find(macro.parameters, name) != macro.parameters.end()) {
        return wrong_at(tokens_.line(), "the parameter '" + name + "' stands twice");
      }
      macro.parameters.push_back(std::move(name));
    }
    tokens_.next();
    return {};
  }

  Status macro_body(Macro& macro, std::string_view end) {
    const ExpressionParser::Mentioned outside = std::exchange(expressions_.mentioned, {});
    const std::size_t loops = std::exchange(loops_, 0);
    Result<Body> inside = block_to(end);
    loops_ = loops;
    ExpressionParser::Mentioned& met = expressions_.mentioned;
    macro.uses_varargs = met.varargs;
    macro.uses_kwargs = met.kwargs;
    macro.uses_caller = met.caller;
    met = {met.varargs || outside.varargs, met.kwargs || outside.kwargs, met.caller || outside.caller};
    CAIRN_TRY(macro.body, std::move(inside));
    return {};
  }

  // Constants have names too, but nothing is assigned to them.
  Result<std::string> target_name() {
    const std::size_t line = tokens_.line();
    CAIRN_TRY(std::string name, tokens_.expect_name());
    for (const std::string_view constant : {"true", "True", "false", "False", "none", "None"}) {
      if (name == constant) return wrong_at(line, "nothing can be assigned to '" + name + "'");
    }
    return name;
  }

  Result<Target> single_target(bool with_attributes) {
    if (tokens_.take_operator("(")) {
      CAIRN_TRY_VOID(tokens_.enter());
      Result<Target> inside = target("", with_attributes);
      tokens_.leave();
      CAIRN_TRY(Target result, std::move(inside));
      CAIRN_TRY_VOID(tokens_.expect_operator(")"));
      return result;
    }
    Target made;
    CAIRN_TRY(made.name, target_name());
    if (with_attributes && tokens_.take_operator(".")) {
      CAIRN_TRY(made.attribute, tokens_.expect_name());
    }
    return made;
  }

  Result<Target> target(std::string_view end, bool with_attributes = false) {
    CAIRN_TRY(Target first, single_target(with_attributes));
    if (!tokens_.is_operator(",")) return first;
    Target made{.is_tuple = true};
    made.parts.push_back(std::move(first));
    while (tokens_.take_operator(",")) {
      const bool over = tokens_.is(TokenKind::kBlockEnd) || tokens_.is_operator(")") || tokens_.is_operator("=") ||
                        (!end.empty() && tokens_.is_name(end));
      if (over) break;
      CAIRN_TRY(Target part, single_target(with_attributes));
      made.parts.push_back(std::move(part));
    }
    return made;
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  std::size_t loops_ = 0;  // around the statement, within its macro
};

}  // namespace

Result<Body> parse(std::string_view source) {
  CAIRN_TRY(std::vector<Token> tokens, tokenize(source));
  return StatementParser(std::move(tokens)).document();
}

}  // namespace cairn::jinja
