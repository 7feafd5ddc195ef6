// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/jinja/lexer.h"

#include <algorithm>
#include <array>

#include "cairn/base/utf8.h"
#include "cairn/text/jinja/budget.h"
#include "cairn/text/jinja/string_literal.h"
#include "cairn/text/jinja/text.h"

namespace cairn::jinja {
namespace {

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_name_part(char c) {
  return is_name_start(c) || (c >= '0' && c <= '9');
}

// Longest first.
constexpr std::array<std::string_view, 26> kOperators = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                         "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                         ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

// One newline for all, and without the last one.
std::string normalised(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text += source[i];
      continue;
    }
    text += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) {
      const std::size_t tag = next_tag();
      std::string_view data = std::string_view(source_).substr(at_, tag - at_);
      if (tag == source_.size()) {
        add_data(data);
        break;
      }
      const char kind = source_[tag + 1];
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
      add_data(without_tail(data, kind, sign));
      go_to(tag + (sign == '-' || sign == '+' ? 3 : 2));
      if (kind == '#') {
        CAIRN_TRY_VOID(comment());
      } else if (kind == '%' && is_raw()) {
        CAIRN_TRY_VOID(raw());
      } else {
        CAIRN_TRY_VOID(tag_content(kind == '%'));
      }
    }
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  void go_to(std::size_t position) {
    line_ += static_cast<std::size_t>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                                 source_.begin() + static_cast<std::ptrdiff_t>(position), '\n'));
    at_ = position;
  }
  void skip(std::size_t bytes) { go_to(at_ + bytes); }
  void skip_spaces() { skip(stripped(rest(), true, false).begin); }
  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  void add_data(std::string_view data) {
    if (!data.empty()) add(TokenKind::kData, std::string(data));
  }

  std::size_t next_tag() const {
    for (std::size_t i = at_; (i = source_.find('{', i)) != std::string::npos; ++i) {
      if (i + 1 < source_.size() && (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#')) return i;
    }
    return source_.size();
  }

  // Without the white space that the tag behind it takes away: all with '-'; with a block or comment that begins its
  // line, and without '+', that between the line's beginning and the tag.
  std::string_view without_tail(std::string_view data, char kind, char sign) const {
    if (sign == '-') return data.substr(0, stripped(data, false, true).end);
    if (sign == '+' || kind == '{') return data;
    const std::size_t newline = data.rfind('\n');
    const std::size_t line = newline == std::string_view::npos ? 0 : newline + 1;
    if (line == 0 && newline == std::string_view::npos && at_ > 0 && source_[at_ - 1] != '\n') return data;
    const bool blank = stripped(data.substr(line), true, false).begin == data.size() - line;
    return blank ? data.substr(0, line) : data;
  }

  // After "%}" or "#}" with its sign: '-' takes all white space, none takes one newline.
  void after_tag(char sign) {
    if (sign == '-') return skip_spaces();
    if (sign != '+' && rest().starts_with('\n')) skip(1);
  }

  Status comment() {
    const std::size_t begin = line_;
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) return wrong_at(begin, "a comment has no end");
    const char before = end > at_ ? source_[end - 1] : '\0';
    go_to(end + 2);
    after_tag(before == '-' || before == '+' ? before : '\0');
    return {};
  }

  bool is_raw() const {
    std::string_view text = rest();
    text.remove_prefix(stripped(text, true, false).begin);
    if (!text.starts_with("raw")) return false;
    text.remove_prefix(3);
    text.remove_prefix(stripped(text, true, false).begin);
    return text.starts_with("%}") || text.starts_with("-%}");
  }

  Status raw() {
    const std::size_t begin = line_;
    const std::size_t opened = source_.find("%}", at_);
    const bool strips = source_[opened - 1] == '-';
    go_to(opened + 2);
    if (strips) skip_spaces();
    for (std::size_t tag = at_; (tag = source_.find("{%", tag)) != std::string::npos; tag += 2) {
      std::size_t inside = tag + 2;
      const char sign = inside < source_.size() ? source_[inside] : '\0';
      if (sign == '-' || sign == '+') ++inside;
      const auto skip_inside = [&] { inside += stripped(std::string_view(source_).substr(inside), true, false).begin; };
      skip_inside();
      if (!std::string_view(source_).substr(inside).starts_with("endraw")) continue;
      inside += 6;
      skip_inside();
      const char end_sign = inside < source_.size() ? source_[inside] : '\0';
      if (end_sign == '-' || end_sign == '+') ++inside;
      if (!std::string_view(source_).substr(inside).starts_with("%}")) continue;
      add_data(without_tail(std::string_view(source_).substr(at_, tag - at_), '%', sign));
      go_to(inside + 2);
      after_tag(end_sign == '-' || end_sign == '+' ? end_sign : '\0');
      return {};
    }
    return wrong_at(begin, "a raw block has no end");
  }

  // Whether the tag ends here; takes its end.
  bool take_end(bool block) {
    const std::string_view end = block ? "%}" : "}}";
    const std::string_view text = rest();
    const char sign =
        !text.starts_with(end) && (text.starts_with('-') || (block && text.starts_with('+'))) ? text[0] : '\0';
    if (!text.substr(sign == '\0' ? 0 : 1).starts_with(end)) return false;
    add(block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, "");
    skip(sign == '\0' ? 2 : 3);
    if (block) {
      after_tag(sign);
    } else if (sign == '-') {
      skip_spaces();
    }
    return true;
  }

  Status tag_content(bool block) {
    const std::size_t begin = line_;
    add(block ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
    std::string open;  // brackets that wait for their end
    while (at_ < source_.size()) {
      if (open.empty() && take_end(block)) return {};
      const char c = source_[at_];
      if (stripped(rest().substr(0, 4), true, false).begin > 0) {
        skip_spaces();
      } else if (c >= '0' && c <= '9') {
        number();
      } else if (is_name_start(c)) {
        name();
      } else if (c == '\'' || c == '"') {
        CAIRN_TRY_VOID(string());
      } else {
        CAIRN_TRY_VOID(operation(open));
      }
    }
    return wrong_at(begin, block ? "a tag that {% begins has no end" : "a tag that {{ begins has no end");
  }

  void name() {
    const auto end =
        std::ranges::find_if_not(source_.begin() + static_cast<std::ptrdiff_t>(at_), source_.end(), is_name_part);
    const auto length = static_cast<std::size_t>(end - source_.begin()) - at_;
    add(TokenKind::kName, source_.substr(at_, length));
    skip(length);
  }

  // Digits with single underscores between them, from `i`.
  std::size_t digits(std::size_t i, std::string_view allowed = "0123456789") const {
    const auto is_digit_at = [&](std::size_t at) {
      return at < source_.size() && allowed.find(source_[at]) != std::string_view::npos;
    };
    while (is_digit_at(i) || (i < source_.size() && source_[i] == '_' && is_digit_at(i + 1))) ++i;
    return i;
  }

  void number() {
    std::size_t end = at_;
    TokenKind kind = TokenKind::kInteger;
    const char base =
        source_[at_] == '0' && at_ + 1 < source_.size() ? static_cast<char>(source_[at_ + 1] | 0x20) : '\0';
    const std::string_view allowed = base == 'x'   ? "0123456789abcdefABCDEF"
                                     : base == 'o' ? "01234567"
                                     : base == 'b' ? "01"
                                                   : "";
    if (!allowed.empty() && digits(at_ + 2, allowed) > at_ + 2) {
      end = digits(at_ + 2, allowed);
    } else {
      end = digits(at_);
      const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';  // x.1.2 has no number with a point
      if (!after_dot && end + 1 < source_.size() && source_[end] == '.' && digits(end + 1) > end + 1) {
        kind = TokenKind::kFloat;
        end = digits(end + 1);
      }
      std::size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
      if (!after_dot && end < source_.size() && (source_[end] | 0x20) == 'e' && digits(exponent) > exponent) {
        kind = TokenKind::kFloat;
        end = digits(exponent);
      }
      // Python knows no decimal with a leading zero: it ends behind the zeros.
      if (kind == TokenKind::kInteger && source_[at_] == '0') end = digits(at_, "0");
    }
    std::string text = source_.substr(at_, end - at_);
    std::erase(text, '_');
    add(kind, std::move(text));
    skip(end - at_);
  }

  Status string() {
    const char quote = source_[at_];
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return wrong_at(line_, "a string has no end");
    const auto meant = read_string_literal(std::string_view(source_).substr(at_ + 1, end - at_ - 1));
    if (!meant) return wrong_at(line_, meant.error().message);
    add(TokenKind::kString, *meant);
    skip(end + 1 - at_);
    return {};
  }

  Status operation(std::string& open) {
    const auto known = std::ranges::find_if(kOperators, [&](std::string_view op) { return rest().starts_with(op); });
    if (known == kOperators.end()) {
      return wrong_at(
          line_, "unexpected character '" + printable_start(rest().substr(0, first_character(rest()).length), 1) + "'");
    }
    const char c = known->front();
    if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c) return wrong_at(line_, std::string("unexpected '") + c + "'");
      open.pop_back();
    }
    add(TokenKind::kOperator, std::string(*known));
    skip(known->size());
    return {};
  }

  std::string source_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::unexpected<Error> wrong_at(std::size_t line, std::string_view what) {
  return refused("line " + std::to_string(line) + ": " + std::string(what));
}

Result<std::vector<Token>> tokenize(std::string_view source) {
  return Lexer(normalised(source)).run();
}

}  // namespace cairn::jinja
