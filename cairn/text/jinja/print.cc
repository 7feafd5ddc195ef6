// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/jinja/print.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/work.h"

namespace cairn::jinja {
namespace {

// Appends repr() of values. A namespace may hold itself, so the depth is bounded here too.
class Representer {
 public:
  explicit Representer(Budget& budget) : budget_(budget) {}

  Status add(const Value& value) {
    CAIRN_TRY_VOID(budget_.enter());
    const Status status = add_entered(value);
    budget_.leave();
    return status;
  }
  std::string take() { return std::move(out_); }

 private:
  Status add_entered(const Value& value) {
    CAIRN_TRY_VOID(budget_.steps(1));
    if (const Text* text = value.text()) {
      if (!text->is_markup()) return add_text(text->bytes());
      out_ += "Markup(";
      CAIRN_TRY_VOID(add_text(text->bytes()));
      out_ += ')';
      return {};
    }
    if (const Dict* dict = value.dict()) return add_dict(*dict);
    if (const Sequence* sequence = value.sequence()) return add_sequence(*sequence);
    if (const Namespace* space = value.space()) {
      out_ += "<Namespace ";
      CAIRN_TRY_VOID(add_dict(space->values));
      out_ += '>';
    } else if (value.is_none()) {
      out_ += "None";
    } else if (value.is_undefined()) {
      out_ += "Undefined";
    } else if (value.is_bool()) {
      out_ += value.truth() ? "True" : "False";
    } else if (value.is_integer()) {
      out_ += std::to_string(*value.integer());
    } else if (value.is_float()) {
      out_ += float_text(*value.number());
    } else if (const Callable* callable = value.callable()) {
      // Python writes an address, which no template means.
      if (callable->macro == nullptr) {
        return refused("the function '" + std::string(callable->name) + "' is printed, not called");
      }
      out_ += "<Macro '" + std::string(callable->name) + "'>";
    } else {
      out_ +=
          "<LoopContext " + std::to_string(value.loop()->index + 1) + "/" + std::to_string(value.loop()->size) + ">";
    }
    return {};
  }

  Status add_text(std::string_view text) {
    count_bytes(4 * text.size());
    CAIRN_TRY_VOID(budget_.bytes(text.size()));
    const bool has_single = text.find('\'') != std::string_view::npos;
    const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
    out_ += quote;
    while (!text.empty()) {
      const Character c = first_character(text);
      add_character(c.point, text.substr(0, c.length), quote);
      text.remove_prefix(c.length);
    }
    out_ += quote;
    return {};
  }

  void add_character(char32_t point, std::string_view bytes, char quote) {
    const auto hex = [&](const char* format) {
      char escaped[16];
      std::snprintf(escaped, sizeof(escaped), format, static_cast<unsigned>(point));
      out_ += escaped;
    };
    if (point == static_cast<unsigned char>(quote) || point == '\\') {
      out_ += '\\';
      out_ += bytes;
    } else if (point == '\n' || point == '\r' || point == '\t') {
      out_ += point == '\n' ? "\\n" : point == '\r' ? "\\r" : "\\t";
    } else if (is_printable(point)) {
      out_ += bytes;
    } else {
      hex(point < 0x100 ? "\\x%02x" : point < 0x10000 ? "\\u%04x" : "\\U%08x");
    }
  }

  Status add_items(const Values& items) {
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += ", ";
      CAIRN_TRY_VOID(add(items[i]));
    }
    return {};
  }

  Status add_dict(const Dict& dict) {
    out_ += '{';
    bool first = true;
    for (const Dict::Item& item : dict.items()) {
      if (!std::exchange(first, false)) out_ += ", ";
      CAIRN_TRY_VOID(add(item.key));
      out_ += ": ";
      CAIRN_TRY_VOID(add(item.value));
    }
    out_ += '}';
    return {};
  }

  Status add_sequence(const Sequence& sequence) {
    switch (sequence.kind) {
      case SequenceKind::kList:
        out_ += '[';
        CAIRN_TRY_VOID(add_items(sequence.items));
        out_ += ']';
        return {};
      case SequenceKind::kTuple:
      case SequenceKind::kGroup:
        out_ += '(';
        CAIRN_TRY_VOID(add_items(sequence.items));
        out_ += sequence.items.size() == 1 ? ",)" : ")";
        return {};
      case SequenceKind::kRange:
        out_ += "range(" + std::to_string(sequence.start) + ", " + std::to_string(sequence.stop);
        if (sequence.step != 1) out_ += ", " + std::to_string(sequence.step);
        out_ += ')';
        return {};
      case SequenceKind::kGenerator:  // as above
        return refused("what a filter gives one by one is printed: put '| list' behind it");
      default:
        out_ += sequence.kind == SequenceKind::kKeys     ? "dict_keys(["
                : sequence.kind == SequenceKind::kValues ? "dict_values(["
                                                         : "dict_items([";
        CAIRN_TRY_VOID(add_items(sequence.items));
        out_ += "])";
        return {};
    }
  }

  Budget& budget_;
  std::string out_;
};

}  // namespace

Result<Text> print(const Value& value, Budget& budget) {
  if (const Text* text = value.text()) return *text;
  if (value.is_undefined()) return Text();
  CAIRN_TRY(std::string text, represent(value, budget));
  return value.is_none() || value.is_number() ? Text::trusted(std::move(text)) : Text::plain(std::move(text));
}

Result<std::string> represent(const Value& value, Budget& budget) {
  Representer representer(budget);
  CAIRN_TRY_VOID(representer.add(value));
  std::string text = representer.take();
  CAIRN_TRY_VOID(budget.bytes(text.size()));
  return text;
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char digits[64];
  const auto scientific = std::to_chars(digits, digits + sizeof(digits), value, std::chars_format::scientific);
  std::string text(digits, scientific.ptr);
  const int exponent = std::stoi(text.substr(text.find('e') + 1));
  if (exponent < -4 || exponent >= 16) return text;
  char plain[64];
  const auto end = std::to_chars(plain, plain + sizeof(plain), value, std::chars_format::fixed).ptr;
  text.assign(plain, end);
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

std::string fixed_text(double value, int places) {
  const int size = std::snprintf(nullptr, 0, "%.*f", places, value);
  std::string text(static_cast<std::size_t>(size) + 1, '\0');
  std::snprintf(text.data(), text.size(), "%.*f", places, value);
  text.pop_back();
  return text;
}

}  // namespace cairn::jinja
