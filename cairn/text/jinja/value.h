// SPDX-License-Identifier: Apache-2.0
// Values of the template language. They behave as Python's do; lists and dicts never change once they are made, so no
// value can contain itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/text/jinja/text.h"

namespace cairn::jinja {

struct Sequence;
class Dict;
struct Callable;
struct Namespace;
struct LoopState;

struct None {};
// Nothing, with the sentence that is the error when something is done with it.
struct Undefined {
  std::shared_ptr<const std::string> why;
};

// A handle to something immutable, but for namespaces, loops and what is left of a generator. Cheap to copy.
// Namespaces and loops live as long as the rendering that made them. Thread-compatible.
class Value {
 public:
  using Data = std::variant<None, Undefined, bool, std::int64_t, double, std::shared_ptr<const Text>,
                            std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>,
                            std::shared_ptr<const Callable>, Namespace*, LoopState*>;

  Value() = default;  // None
  Value(bool value) : data_(value) {}
  Value(std::int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(Text text) : data_(std::make_shared<const Text>(std::move(text))) {}
  Value(Dict dict);
  Value(Callable callable);
  Value(Namespace* space) : data_(space) {}
  Value(LoopState* loop) : data_(loop) {}
  template <class Other>
  Value(Other) = delete;  // no accidental conversions: a pointer is no boolean
  Value(std::shared_ptr<const Sequence> sequence) : data_(std::move(sequence)) {}

  static Value undefined(std::string why);
  static Value trusted(std::string bytes) { return Text::trusted(std::move(bytes)); }
  static Value plain(std::string bytes) { return Text::plain(std::move(bytes)); }

  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_integer() const { return std::holds_alternative<std::int64_t>(data_); }  // not a bool
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_bool() || is_integer() || is_float(); }
  bool is_text() const { return std::holds_alternative<std::shared_ptr<const Text>>(data_); }
  bool is_dict() const { return std::holds_alternative<std::shared_ptr<const Dict>>(data_); }
  bool is_sequence() const { return std::holds_alternative<std::shared_ptr<const Sequence>>(data_); }

  // Null unless the value is of that type.
  const Text* text() const { return pointer<Text>(); }
  const Sequence* sequence() const { return pointer<Sequence>(); }
  const Dict* dict() const { return pointer<Dict>(); }
  const Callable* callable() const { return pointer<Callable>(); }
  Namespace* space() const { return std::holds_alternative<Namespace*>(data_) ? std::get<Namespace*>(data_) : nullptr; }
  LoopState* loop() const { return std::holds_alternative<LoopState*>(data_) ? std::get<LoopState*>(data_) : nullptr; }
  // Of a bool (0 or 1) or an integer.
  std::optional<std::int64_t> integer() const;
  // Of any number.
  std::optional<double> number() const;
  const std::string& why_undefined() const;  // Requires: is_undefined()

  bool truth() const;
  std::string_view type_name() const;  // as Python calls it
  std::size_t nesting() const;         // 0, or of a list or dict one more than that of what is in it

 private:
  template <class T>
  const T* pointer() const {
    const auto* held = std::get_if<std::shared_ptr<const T>>(&data_);
    return held == nullptr ? nullptr : held->get();
  }

  Data data_;
};

using Values = std::vector<Value>;

enum class SequenceKind : std::uint8_t { kList, kTuple, kGroup, kRange, kKeys, kValues, kItems, kGenerator };

struct Sequence {
  SequenceKind kind = SequenceKind::kList;
  Values items{};
  std::size_t nesting = 1;
  mutable bool consumed = false;               // a generator gives its items once
  std::int64_t start = 0, stop = 0, step = 1;  // of a range

  // What can be indexed and sliced.
  bool is_indexed() const {
    return kind == SequenceKind::kList || kind == SequenceKind::kTuple || kind == SequenceKind::kGroup ||
           kind == SequenceKind::kRange;
  }
};

// Errors: kInvalidArgument when it nests too deep.
Result<Value> make_sequence(SequenceKind kind, Values items);
inline Result<Value> make_list(Values items) {
  return make_sequence(SequenceKind::kList, std::move(items));
}
inline Result<Value> make_tuple(Values items) {
  return make_sequence(SequenceKind::kTuple, std::move(items));
}

// In the order of insertion, as in Python.
class Dict {
 public:
  struct Item {
    Value key, value;
  };

  const std::vector<Item>& items() const { return items_; }
  std::size_t size() const { return items_.size(); }
  std::size_t nesting() const { return nesting_; }

  const Value* find(const Value& key) const;  // null when absent
  const Value* find_name(std::string_view key) const;
  // Replaces the value of a key that is there. Errors: kInvalidArgument for a key that Python could not hash, and when
  // it nests too deep.
  Status set(Value key, Value value);

 private:
  std::optional<std::size_t> position(const Value& key) const;

  std::vector<Item> items_;
  std::unordered_map<std::string, std::size_t> by_text_;
  std::size_t nesting_ = 1;
};

struct Namespace {
  Dict values;
};

struct Statement;
struct Scope;

// The variable `loop`.
struct LoopState {
  Values items{};  // empty once the loop has ended
  std::size_t size = 0;
  std::size_t index = 0;
  std::size_t depth = 0;
  std::optional<Values> last_changed{};
  const Statement* recursive = nullptr;  // what `loop(...)` runs again, within `scope`, or null
  Scope* scope = nullptr;
};

struct Runtime;
struct Arguments;
struct Macro;
using Function = Result<Value> (*)(Runtime& runtime, const Value& self, const Arguments& arguments);

struct Callable {
  std::string_view name;
  Function function = nullptr;  // a global function, or a method of `self`
  Value self{};
  const Macro* macro = nullptr;  // or a macro, with the place and number of the scope that it stands in
  std::size_t scope = 0, scope_number = 0;
};

}  // namespace cairn::jinja
