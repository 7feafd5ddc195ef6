// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "cairn/base/utf8.h"
#include "cairn/text/jinja/json.h"
#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/print.h"
#include "cairn/text/jinja/work.h"

namespace cairn::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {
    const auto separators =
        style.separators.value_or(std::pair<std::string, std::string>(style.indent ? "," : ", ", ": "));
    between_ = separators.first;
    behind_key_ = separators.second;
  }

  // Lists and dicts nest at most kMaxNesting deep, and nothing else is followed.
  Status add(const Value& value) {
    count_bytes(4 * (out_.size() - counted_));
    CAIRN_TRY_VOID(budget_.steps(1));
    CAIRN_TRY_VOID(budget_.bytes(out_.size() - counted_));
    counted_ = out_.size();
    if (const Text* text = value.text()) return add_text(text->bytes()), Status();
    if (const Dict* dict = value.dict()) return add_dict(*dict);
    const Sequence* sequence = value.sequence();
    if (sequence != nullptr && sequence->is_indexed() && sequence->kind != SequenceKind::kRange) {
      return add_list(sequence->items);
    }
    if (value.is_none() || value.is_number()) {
      out_ += scalar(value);
      return {};
    }
    return refused("'" + std::string(value.type_name()) + "' cannot be written as JSON");
  }
  std::string take() { return std::move(out_); }

 private:
  static std::string scalar(const Value& value) {
    if (value.is_none()) return "null";
    if (value.is_bool()) return value.truth() ? "true" : "false";
    if (value.is_integer()) return std::to_string(*value.integer());
    const double number = *value.number();
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
    return float_text(number);
  }

  void add_text(std::string_view text) {
    out_ += '"';
    while (!text.empty()) {
      const Character c = first_character(text);
      add_character(c.point, text.substr(0, c.length));
      text.remove_prefix(c.length);
    }
    out_ += '"';
  }

  void add_character(char32_t point, std::string_view bytes) {
    constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b", kNames = "\"\\nrtfb";
    const std::size_t known = point < 0x80 ? kEscaped.find(static_cast<char>(point)) : std::string_view::npos;
    if (known != std::string_view::npos) {
      out_ += '\\';
      out_ += kNames[known];
    } else if (point < 0x20 || (style_.ensure_ascii && point > 0x7E)) {
      add_escape(point);
    } else {
      out_ += bytes;
    }
  }

  void add_escape(char32_t point) {
    char escaped[16];
    if (point < 0x10000) {
      std::snprintf(escaped, sizeof(escaped), "\\u%04x", static_cast<unsigned>(point));
    } else {
      const auto rest = static_cast<unsigned>(point - 0x10000);
      std::snprintf(escaped, sizeof(escaped), "\\u%04x\\u%04x", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    }
    out_ += escaped;
  }

  void break_line() {
    if (!style_.indent) return;
    out_ += '\n';
    for (std::size_t i = 0; i < level_; ++i) out_ += *style_.indent;
  }

  template <class Items, class AddItem>
  Status add_items(const Items& items, char open, char close, const AddItem& add_item) {
    out_ += open;
    ++level_;
    bool first = true;
    for (const auto& item : items) {
      if (!std::exchange(first, false)) out_ += between_;
      break_line();
      CAIRN_TRY_VOID(add_item(item));
    }
    --level_;
    if (!first) break_line();
    out_ += close;
    return {};
  }

  Status add_list(const Values& items) {
    return add_items(items, '[', ']', [&](const Value& item) { return add(item); });
  }

  Status add_dict(const Dict& dict) {
    std::vector<const Dict::Item*> items;
    for (const Dict::Item& item : dict.items()) items.push_back(&item);
    if (style_.sort_keys) {
      Status comparable;
      std::ranges::stable_sort(items, [&](const Dict::Item* a, const Dict::Item* b) {
        const Result<bool> before = less(a->key, b->key);
        if (!before) comparable = std::unexpected(before.error());
        return before && *before;
      });
      CAIRN_TRY_VOID(comparable);
    }
    return add_items(items, '{', '}', [&](const Dict::Item* item) -> Status {
      const Value& key = item->key;
      if (!key.is_text() && !key.is_none() && !key.is_number()) {
        return refused("a key of type '" + std::string(key.type_name()) + "' cannot be written as JSON");
      }
      add_text(key.is_text() ? key.text()->bytes() : scalar(key));
      out_ += behind_key_;
      return add(item->value);
    });
  }

  const JsonStyle& style_;
  Budget& budget_;
  std::string between_, behind_key_;
  std::size_t level_ = 0;
  std::size_t counted_ = 0;  // bytes that the budget knows of
  std::string out_;
};

}  // namespace

Result<std::string> write_json(const Value& value, const JsonStyle& style, Budget& budget) {
  JsonWriter writer(style, budget);
  CAIRN_TRY_VOID(writer.add(value));
  std::string text = writer.take();
  CAIRN_TRY_VOID(budget.bytes(text.size()));
  return text;
}

}  // namespace cairn::jinja
