// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/jinja/runtime.h"

#include <algorithm>

#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/work.h"

namespace cairn::jinja {

const Value* Arguments::find(std::string_view name) const {
  const auto found = std::ranges::find_if(named, [&](const auto& argument) { return argument.first == name; });
  return found == named.end() ? nullptr : &found->second;
}

Status count_work(Budget& budget, const Value& input, const Arguments& arguments) {
  count_text(input);
  for (const Value& argument : arguments.positional) {
    count_text(argument);
    // startswith() takes several.
    const Sequence* several = argument.sequence();
    if (several != nullptr && several->kind == SequenceKind::kTuple) std::ranges::for_each(several->items, count_text);
  }
  for (const auto& [name, argument] : arguments.named) count_text(argument);
  return budget.steps(0);
}

Result<Bound> Bound::bind(std::string_view function, const Arguments& arguments,
                          std::initializer_list<std::string_view> parameters, std::size_t needed) {
  const auto wrong = [&](const std::string& what) { return refused(std::string(function) + "() " + what); };
  Bound bound;
  bound.function_ = function;
  bound.names_.assign(parameters.begin(), parameters.end());
  bound.values_.resize(parameters.size());
  if (arguments.positional.size() > parameters.size()) {
    return wrong("takes at most " + std::to_string(parameters.size()) + " arguments");
  }
  std::ranges::copy(arguments.positional, bound.values_.begin());
  for (const auto& [name, value] : arguments.named) {
    const auto at = static_cast<std::size_t>(std::ranges::find(bound.names_, name) - bound.names_.begin());
    if (at == bound.names_.size()) return wrong("has no parameter '" + name + "'");
    if (bound.values_[at]) return wrong("gets '" + name + "' twice");
    bound.values_[at] = value;
  }
  for (std::size_t i = 0; i < needed; ++i) {
    if (!bound.values_[i]) return wrong("needs '" + bound.names_[i] + "'");
  }
  return bound;
}

Result<std::int64_t> Bound::integer(std::size_t i, std::int64_t otherwise) const {
  if (get(i) == nullptr || get(i)->is_none()) return otherwise;
  if (get(i)->is_undefined()) return undefined_error(*get(i));
  const auto value = get(i)->integer();
  if (!value) return refused(function_ + "(): '" + names_[i] + "' must be a whole number");
  return *value;
}

Result<Text> Bound::text(std::size_t i, const Text& otherwise) const {
  if (get(i) == nullptr || get(i)->is_none()) return otherwise;
  if (get(i)->is_undefined()) return undefined_error(*get(i));
  if (!get(i)->is_text()) return refused(function_ + "(): '" + names_[i] + "' must be a string");
  return *get(i)->text();
}

bool Bound::flag(std::size_t i, bool otherwise) const {
  return get(i) == nullptr ? otherwise : get(i)->truth();
}

}  // namespace cairn::jinja
