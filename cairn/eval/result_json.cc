// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/result_json.h"

#include <cmath>

namespace cairn::eval {
namespace {

std::string short_number(double value) {
  const bool whole = value == std::floor(value) && std::fabs(value) < 1e6;
  return whole ? std::to_string(static_cast<long>(value)) : Json(value).dump();
}

}  // namespace

std::optional<Json> parse_json(std::string_view text) {
  constexpr int kMaxNested = 64;
  bool too_deep = false;
  const auto shallow = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep |= depth > kMaxNested;
    return depth <= kMaxNested;
  };
  Json json = Json::parse(text.begin(), text.end(), shallow, /*allow_exceptions=*/false);
  if (too_deep || json.is_discarded()) return std::nullopt;
  return json;
}

std::string dump_json(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string json_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json estimate_json(const Estimate& estimate) {
  return {{"value", estimate.value}, {"low", estimate.low}, {"high", estimate.high}};
}

std::string quote(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, 60)) out += c >= 0x20 && c < 0x7F && c != '\'' ? c : '?';
  return out + (text.size() > 60 ? "...'" : "'");
}

JsonFields::JsonFields(const Json& json, std::string where, std::string& problem)
    : json_(&json), where_(std::move(where)), problem_(&problem) {
  if (!json.is_object()) complain("", "is no object");
}

void JsonFields::complain(std::string_view name, const std::string& what) const {
  if (failed()) return;
  std::string place = where_;
  if (!place.empty() && !name.empty()) place += '.';
  place += name;
  *problem_ = (place.empty() ? "the whole" : place) + " " + what;
}

const Json* JsonFields::find(const char* name) const {
  if (failed()) return nullptr;
  const auto found = json_->find(name);
  if (found != json_->end()) return &*found;
  complain(name, "is missing");
  return nullptr;
}

bool JsonFields::null(const char* name) const {
  const Json* field = find(name);
  return field == nullptr || field->is_null();
}

std::string JsonFields::text(const char* name, std::size_t max_bytes) const {
  const Json* field = find(name);
  if (field == nullptr) return {};
  if (field->is_string() && field->get_ref<const std::string&>().size() <= max_bytes) return field->get<std::string>();
  complain(name, field->is_string() ? "is longer than " + std::to_string(max_bytes) + " bytes" : "is no text");
  return {};
}

double JsonFields::number(const char* name, NumberRange range) const {
  const Json* field = find(name);
  if (field == nullptr) return 0;
  if (!field->is_number()) {
    complain(name, "is no number");
    return 0;
  }
  const double value = field->get<double>();
  if (value >= range.low && value <= range.high) return value;
  complain(name,
           "is " + short_number(value) + ", outside " + short_number(range.low) + " to " + short_number(range.high));
  return 0;
}

std::optional<double> JsonFields::number_or_null(const char* name, NumberRange range) const {
  if (null(name)) return std::nullopt;
  return number(name, range);
}

std::uint64_t JsonFields::count(const char* name, std::uint64_t low, std::uint64_t high) const {
  const double value = number(name, {static_cast<double>(low), static_cast<double>(high)});
  if (value != std::floor(value)) complain(name, "is no whole number");
  return failed() ? 0 : static_cast<std::uint64_t>(value);
}

std::optional<std::uint64_t> JsonFields::count_or_null(const char* name, std::uint64_t low, std::uint64_t high) const {
  if (null(name)) return std::nullopt;
  return count(name, low, high);
}

Estimate JsonFields::interval(const char* name, NumberRange range) const {
  const JsonFields fields = object(name);
  const Estimate estimate = {fields.number("value", range), fields.number("low", range), fields.number("high", range)};
  if (estimate.low > estimate.high) complain(name, "has low above high");
  return estimate;
}

std::optional<Estimate> JsonFields::interval_or_null(const char* name, NumberRange range) const {
  if (null(name)) return std::nullopt;
  return interval(name, range);
}

JsonFields JsonFields::object(const char* name) const {
  const Json* field = find(name);
  return {field == nullptr ? *json_ : *field, where_.empty() ? name : where_ + "." + name, *problem_};
}

std::optional<JsonFields> JsonFields::object_or_null(const char* name) const {
  if (null(name)) return std::nullopt;
  return object(name);
}

std::vector<JsonFields> JsonFields::objects(const char* name, std::size_t max_entries) const {
  std::vector<JsonFields> all;
  const Json* field = find(name);
  if (field == nullptr) return all;
  if (!field->is_array()) complain(name, "is no list");
  if (field->size() > max_entries) complain(name, "holds more than " + std::to_string(max_entries) + " entries");
  for (std::size_t i = 0; i < field->size() && !failed(); ++i) {
    const std::string place = std::string(name) + "[" + std::to_string(i) + "]";
    all.emplace_back((*field)[i], where_.empty() ? place : where_ + "." + place, *problem_);
  }
  return all;
}

void JsonFields::plain_object(const char* name) const {
  const JsonFields fields = object(name);
  if (failed()) return;
  for (const auto& [key, value] : fields.json_->items()) {
    if (!value.is_structured()) continue;
    for (const Json& entry : value) {
      if (entry.is_structured()) fields.complain(quote(key), "is neither a value nor a list of values");
    }
  }
}

}  // namespace cairn::eval
