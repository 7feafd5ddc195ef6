// SPDX-License-Identifier: Apache-2.0
// The JSON of result files (docs/evaluation.md): written, parsed within bounds, and read field by field with its type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/eval/statistics.h"

namespace cairn::eval {

using Json = nlohmann::ordered_json;

// Nothing when it is no JSON or nested more than 64 deep: the library copies and writes recursively.
std::optional<Json> parse_json(std::string_view text);

// Indented, ends with a newline; or one line with its newline. Bytes that are no UTF-8 are replaced.
std::string dump_json(const Json& json);
std::string json_line(const Json& json);

Json estimate_json(const Estimate& estimate);  // {"value", "low", "high"}

// For error messages: printable ASCII, at most 60 characters.
std::string quote(std::string_view text);

struct NumberRange {
  double low, high;
};
inline constexpr NumberRange kShare = {0, 1};
inline constexpr NumberRange kPositive = {0, 1e18};
// Divergences of equal distributions come out a rounding error below zero.
inline constexpr NumberRange kDivergence = {-1e-6, 1e6};
inline constexpr std::uint64_t kMaxCount = std::uint64_t{1} << 50;

// Fields of JSON from outside. The first thing that is wrong is kept and everything after it reads as empty, so that a
// reader is a plain list of fields and asks once at the end. Thread-compatible. Refers to the JSON and to `problem`,
// which must outlive it.
class JsonFields {
 public:
  JsonFields(const Json& json, std::string where, std::string& problem);

  std::string text(const char* name, std::size_t max_bytes = 4096) const;
  double number(const char* name, NumberRange range) const;
  std::optional<double> number_or_null(const char* name, NumberRange range) const;
  std::uint64_t count(const char* name, std::uint64_t low = 0, std::uint64_t high = kMaxCount) const;
  std::optional<std::uint64_t> count_or_null(const char* name, std::uint64_t low, std::uint64_t high) const;
  Estimate interval(const char* name, NumberRange range) const;
  std::optional<Estimate> interval_or_null(const char* name, NumberRange range) const;
  JsonFields object(const char* name) const;
  std::vector<JsonFields> objects(const char* name, std::size_t max_entries) const;
  // null instead of an object is nothing.
  std::optional<JsonFields> object_or_null(const char* name) const;
  // Every member must be a scalar, or a list or object of scalars.
  void plain_object(const char* name) const;
  const Json& json() const { return *json_; }

  bool failed() const { return !problem_->empty(); }
  void complain(std::string_view name, const std::string& what) const;  // unless something was wrong before

 private:
  const Json* find(const char* name) const;  // null: missing, and said so
  bool null(const char* name) const;

  const Json* json_;
  std::string where_;
  std::string* problem_;
};

}  // namespace cairn::eval
