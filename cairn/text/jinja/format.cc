// SPDX-License-Identifier: Apache-2.0
// Python's `format % values`.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "cairn/base/utf8.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/print.h"

namespace cairn::jinja {
namespace {

constexpr std::size_t kMaxWidth = 10'000;  // of a field, and places behind the point

struct Field {
  bool left = false, zeros = false, plus = false, space = false, alternate = false;
  std::size_t width = 0;
  std::optional<std::size_t> places{};
  char kind = 's';
};

class PercentFormat {
 public:
  PercentFormat(const Text& format, const Value& values, Budget& budget)
      : format_(format), values_(values), budget_(budget) {
    const Sequence* sequence = values.sequence();
    if (sequence != nullptr && sequence->kind == SequenceKind::kTuple) tuple_ = sequence;
  }

  Result<Value> run() {
    const std::string& bytes = format_.bytes();
    while (at_ < bytes.size()) {
      const std::size_t mark = std::min(bytes.find('%', at_), bytes.size());
      out_.append(format_, at_, mark);
      at_ = mark;
      if (at_ == bytes.size()) break;
      ++at_;
      CAIRN_TRY_VOID(field());
      CAIRN_TRY_VOID(budget_.steps(1));
    }
    CAIRN_TRY_VOID(budget_.bytes(out_.size()));
    const std::size_t given = tuple_ != nullptr ? tuple_->items.size() : 1;
    const bool may_be_left =
        values_.is_dict() || values_.is_undefined() || (values_.is_sequence() && tuple_ == nullptr);
    if (used_ < given && !may_be_left) return refused("a format has fewer fields than there are values");
    return Value(std::move(out_));
  }

 private:
  char peek() const { return at_ < format_.size() ? format_.bytes()[at_] : '\0'; }

  Result<std::size_t> number() {
    std::size_t value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_)
      value = std::min(kMaxWidth + 1, value * 10 + static_cast<std::size_t>(peek() - '0'));
    if (value > kMaxWidth) return refused("a format is wider than " + std::to_string(kMaxWidth));
    return value;
  }

  Result<Value> next_value(const std::optional<std::string>& key) {
    if (key) {
      const Dict* dict = values_.dict();
      if (dict == nullptr) return refused("a format with names needs a dict");
      const Value* value = dict->find_name(*key);
      if (value == nullptr) return refused("a format names '" + *key + "', which is not among the values");
      return *value;
    }
    if (tuple_ != nullptr ? used_ >= tuple_->items.size() : used_ > 0) {
      return refused("a format has more fields than there are values");
    }
    ++used_;
    return tuple_ != nullptr ? tuple_->items[used_ - 1] : values_;
  }

  Status field() {
    Field f;
    std::optional<std::string> key;
    if (peek() == '(') {
      const std::size_t end = format_.bytes().find(')', at_);
      if (end == std::string::npos) return refused("a format has a name without an end");
      key = format_.bytes().substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
    }
    for (bool more = true; more;) {
      switch (peek()) {
        case '-': f.left = true; break;
        case '0': f.zeros = true; break;
        case '+': f.plus = true; break;
        case ' ': f.space = true; break;
        case '#': f.alternate = true; break;
        default: more = false; continue;
      }
      ++at_;
    }
    CAIRN_TRY(f.width, number());
    if (peek() == '.') {
      ++at_;
      CAIRN_TRY(f.places, number());
    }
    f.kind = peek();
    ++at_;
    if (f.kind == '%') {
      out_.append("%", true);
      return {};
    }
    CAIRN_TRY(const Value value, next_value(key));
    CAIRN_TRY(const Text text, converted(f, value));
    pad(f, text);
    return {};
  }

  Result<Text> converted(const Field& f, const Value& value) {
    if (f.kind == 's' || f.kind == 'r') {
      Text text;
      if (f.kind == 's') {
        CAIRN_TRY(text, print(value, budget_));
      } else {
        CAIRN_TRY(std::string bytes, represent(value, budget_));
        text = Text::plain(std::move(bytes));
      }
      CAIRN_TRY_VOID(budget_.bytes(text.size()));
      if (!f.places) return text;
      const std::vector<std::size_t> offsets = character_offsets(text.bytes());
      return text.slice(0, offsets[std::min(*f.places, offsets.size() - 1)]);
    }
    if (f.kind == 'c' && value.is_text()) {
      if (character_count(value.text()->bytes()) != 1) return refused("%c needs one character");
      return *value.text();
    }
    if (value.is_undefined()) return undefined_error(value);
    if (f.kind == 'c') return character(value);
    if (value.is_float() && std::string_view("xXo").find(f.kind) != std::string_view::npos) {
      return refused(std::string("%") + f.kind + " needs a whole number");
    }
    if (!value.is_number()) return refused(std::string("%") + f.kind + " needs a number");
    const bool real = std::string_view("eEfFgG").find(f.kind) != std::string_view::npos;
    if (!real && !std::isfinite(*value.number())) return refused(std::string("%") + f.kind + " needs a finite number");
    return Text::trusted(signed_text(f, value, real));
  }

  static Result<Text> character(const Value& value) {
    const auto point = value.integer();
    if (!point || *point < 0 || *point > 0x10FFFF || (*point >= 0xD800 && *point <= 0xDFFF)) {
      return refused("%c needs a character or its number");
    }
    return Text::trusted(utf8_encode(static_cast<char32_t>(*point)));
  }

  static std::string signed_text(const Field& f, const Value& value, bool real) {
    std::string text;
    if (real) {
      const std::string format = std::string(f.alternate ? "%#.*" : "%.*") + f.kind;
      const int places = static_cast<int>(f.places.value_or(6));
      const int size = std::snprintf(nullptr, 0, format.c_str(), places, *value.number());
      text.resize(static_cast<std::size_t>(size) + 1);
      std::snprintf(text.data(), text.size(), format.c_str(), places, *value.number());
      text.pop_back();
    } else {
      text = whole_text(f, value);
    }
    if (text.front() != '-' && (f.plus || f.space)) text.insert(0, f.plus ? "+" : " ");
    return text;
  }

  static std::string whole_text(const Field& f, const Value& value) {
    const std::int64_t whole =
        value.is_float() ? static_cast<std::int64_t>(std::clamp(*value.number(), -9e18, 9e18)) : *value.integer();
    const auto size = whole < 0 ? 0 - static_cast<std::uint64_t>(whole) : static_cast<std::uint64_t>(whole);
    char digits[32];
    const char* const format = f.kind == 'x' ? "%lx" : f.kind == 'X' ? "%lX" : f.kind == 'o' ? "%lo" : "%lu";
    std::snprintf(digits, sizeof(digits), format, size);
    std::string text = digits;
    if (f.places && text.size() < *f.places) text.insert(0, *f.places - text.size(), '0');
    if (f.alternate && f.kind != 'd' && f.kind != 'i' && f.kind != 'u') text.insert(0, std::string("0") + f.kind);
    return whole < 0 ? "-" + text : text;
  }

  void pad(const Field& f, const Text& text) {
    const std::size_t size = character_count(text.bytes());
    const std::size_t missing = f.width > size ? f.width - size : 0;
    const bool number = f.kind != 's' && f.kind != 'r' && f.kind != 'c';
    if (f.left) {
      out_.append(text).append(std::string(missing, ' '), true);
    } else if (f.zeros && number) {
      const std::size_t sign = !text.empty() && std::string_view("+- ").find(text.bytes()[0]) != std::string_view::npos;
      out_.append(text, 0, sign).append(std::string(missing, '0'), true).append(text, sign, text.size());
    } else {
      out_.append(std::string(missing, ' '), true).append(text);
    }
  }

  const Text& format_;
  const Value& values_;
  Budget& budget_;
  const Sequence* tuple_ = nullptr;
  std::size_t at_ = 0;
  std::size_t used_ = 0;
  Text out_;
};

bool is_conversion(char kind) {
  return std::string_view("diouxXeEfFgGcrs%").find(kind) != std::string_view::npos;
}

}  // namespace

Result<Value> format_percent(const Text& format, const Value& values, Budget& budget) {
  // Every conversion is known before one is made.
  const std::string& bytes = format.bytes();
  CAIRN_TRY_VOID(budget.steps(bytes.size() / 16));
  for (std::size_t at = bytes.find('%'); at != std::string::npos; at = bytes.find('%', at + 1)) {
    std::size_t end = at + 1;
    if (end < bytes.size() && bytes[end] == '(') end = std::min(bytes.find(')', end), bytes.size() - 1) + 1;
    end = std::min(bytes.find_first_not_of("-0+ #.123456789", end), bytes.size());
    if (end == bytes.size() || !is_conversion(bytes[end])) return refused("a format has a field that is not known");
    at = end;
  }
  return PercentFormat(format, values, budget).run();
}

}  // namespace cairn::jinja
