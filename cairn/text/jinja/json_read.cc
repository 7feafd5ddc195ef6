// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <cstdint>

#include "cairn/base/utf8.h"
#include "cairn/text/jinja/json.h"

namespace cairn::jinja {
namespace {

class JsonReader {
 public:
  explicit JsonReader(std::string_view text) : text_(text) {}

  Result<Value> document() {
    CAIRN_TRY(Value read, value(0));
    skip_spaces();
    if (at_ != text_.size()) return wrong("something follows");
    return read;
  }

 private:
  std::unexpected<Error> wrong(std::string_view what) const {
    return refused("not valid JSON at byte " + std::to_string(at_) + ": " + std::string(what));
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  void skip_spaces() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }

  Result<Value> value(std::size_t depth) {
    if (depth > kMaxNesting) return wrong("it nests too deep");
    skip_spaces();
    if (take('{')) return object(depth);
    if (take('[')) return array(depth);
    if (take('"')) {
      CAIRN_TRY(std::string text, string());
      return Value::plain(std::move(text));
    }
    if (take("true")) return Value(true);
    if (take("false")) return Value(false);
    if (take("null")) return Value();
    return number();
  }

  Result<Value> object(std::size_t depth) {
    Dict dict;
    skip_spaces();
    if (take('}')) return Value(std::move(dict));
    do {
      skip_spaces();
      if (!take('"')) return wrong("a key is expected");
      CAIRN_TRY(std::string key, string());
      skip_spaces();
      if (!take(':')) return wrong("':' is expected");
      CAIRN_TRY(Value held, value(depth + 1));
      CAIRN_TRY_VOID(dict.set(Value::plain(std::move(key)), std::move(held)));
      skip_spaces();
    } while (take(','));
    if (!take('}')) return wrong("',' or '}' is expected");
    return Value(std::move(dict));
  }

  Result<Value> array(std::size_t depth) {
    Values items;
    skip_spaces();
    if (take(']')) return make_list({});
    do {
      CAIRN_TRY(Value item, value(depth + 1));
      items.push_back(std::move(item));
      skip_spaces();
    } while (take(','));
    if (!take(']')) return wrong("',' or ']' is expected");
    return make_list(std::move(items));
  }

  Result<std::string> string() {
    std::string out;
    while (true) {
      const std::size_t end = text_.find_first_of("\"\\", at_);
      if (end == std::string_view::npos) return wrong("a string has no end");
      const std::string_view run = text_.substr(at_, end - at_);
      for (const char c : run) {
        if (static_cast<unsigned char>(c) < 0x20) return wrong("a string holds a control character");
      }
      out += run;
      at_ = end + 1;
      if (text_[end] == '"') return out;
      CAIRN_TRY_VOID(escape(out));
    }
  }

  Status escape(std::string& out) {
    constexpr std::string_view kNames = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
    const char name = peek();
    if (const std::size_t known = kNames.find(name); name != '\0' && known != std::string_view::npos) {
      out += kMeant[known];
      ++at_;
      return {};
    }
    if (!take('u')) return wrong("unknown escape");
    CAIRN_TRY(char32_t point, four_digits());
    if (point >= 0xD800 && point < 0xDC00 && text_.substr(at_).starts_with("\\u")) {
      const std::size_t before = at_;
      at_ += 2;
      CAIRN_TRY(const char32_t low, four_digits());
      if (low >= 0xDC00 && low < 0xE000) {
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
      } else {
        at_ = before;
      }
    }
    out += utf8_encode(point);
    return {};
  }

  Result<char32_t> four_digits() {
    const std::string_view digits = text_.substr(at_, 4);
    std::uint32_t point = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), point, 16);
    if (digits.size() < 4 || error != std::errc() || end != digits.data() + 4) return wrong("\\u needs four digits");
    at_ += 4;
    return static_cast<char32_t>(point);
  }

  Result<Value> number() {
    const std::size_t end = std::min(text_.find_first_not_of("+-.0123456789eE", at_), text_.size());
    const std::string_view token = text_.substr(at_, end - at_);
    const std::string_view digits = token.starts_with('-') ? token.substr(1) : token;
    const bool leading_zero = digits.size() > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9';
    if (digits.empty() || digits[0] < '0' || digits[0] > '9' || leading_zero) return wrong("a value is expected");
    const char* const last = token.data() + token.size();
    if (token.find_first_of(".eE") == std::string_view::npos) {
      std::int64_t whole = 0;
      const auto [stop, error] = std::from_chars(token.data(), last, whole);
      if (error == std::errc() && stop == last) return at_ = end, Value(whole);
    }
    double real = 0;
    const auto [stop, error] = std::from_chars(token.data(), last, real);
    if (error != std::errc() || stop != last || token.back() == '.') return wrong("not a number");
    at_ = end;
    return Value(real);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

Result<Value> read_json(std::string_view text) {
  return JsonReader(text).document();
}

}  // namespace cairn::jinja
