// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/jinja/token_stream.h"

#include "cairn/base/utf8.h"

namespace cairn::jinja {
namespace {

std::string described(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd: return "the end of the template";
    case TokenKind::kVariableEnd: return "'}}'";
    case TokenKind::kBlockEnd: return "'%}'";
    case TokenKind::kString: return "a string";
    default: return "'" + printable_start(token.text, 40) + "'";
  }
}

}  // namespace

std::unexpected<Error> TokenStream::unexpected(std::string_view wanted) const {
  return wrong_at(line(), std::string(wanted) + " is expected, but there is " + described(peek()));
}

Result<std::string> TokenStream::expect_name() {
  if (!is(TokenKind::kName)) return unexpected("a name");
  return next().text;
}

Status TokenStream::expect_operator(std::string_view op) {
  if (!take_operator(op)) return unexpected("'" + std::string(op) + "'");
  return {};
}

Status TokenStream::expect(TokenKind kind) {
  if (!is(kind)) return unexpected(kind == TokenKind::kBlockEnd ? "'%}'" : "'}}'");
  next();
  return {};
}

Status TokenStream::enter() {
  if (++depth_ <= kMaxHeight) return {};
  return wrong_at(line(), "it nests deeper than " + std::to_string(kMaxHeight));
}

}  // namespace cairn::jinja
