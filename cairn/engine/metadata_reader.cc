// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/metadata_reader.h"

#include <algorithm>
#include <cmath>

namespace cairn {
namespace {

std::unexpected<Error> out_of_range(const std::string& key, std::uint32_t min, std::uint32_t max, std::uint32_t value) {
  return fail(ErrorCode::kCorrupt, "metadata " + in_quotes(key) + " must be " + std::to_string(min) + " to " +
                                       std::to_string(max) + ", but is " + std::to_string(value));
}

}  // namespace

Result<std::uint32_t> MetadataReader::count(std::string_view key, std::uint32_t max) const {
  CAIRN_TRY(const std::uint32_t value, file_.get<std::uint32_t>(full(key)));
  if (value == 0 || value > max) return out_of_range(full(key), 1, max, value);
  return value;
}

Result<std::uint32_t> MetadataReader::count_or(std::string_view key, std::uint32_t max, std::uint32_t fallback) const {
  if (!has(key)) return fallback;
  return count(key, max);
}

Result<std::vector<std::uint32_t>> MetadataReader::counts(std::string_view key, std::uint32_t max,
                                                          std::uint32_t layers) const {
  if (const GgufValue* value = file_.find(full(key)); value == nullptr || value->type != GgufType::kArray) {
    CAIRN_TRY(const std::uint32_t one, count(key, max));
    return std::vector<std::uint32_t>(layers, one);
  }
  CAIRN_TRY(const std::vector<std::int32_t> values, file_.get<std::vector<std::int32_t>>(full(key)));
  const auto fits = [max](std::int32_t value) { return value > 0 && static_cast<std::uint32_t>(value) <= max; };
  if (values.size() != layers || !std::ranges::all_of(values, fits)) {
    return fail(ErrorCode::kCorrupt, "metadata " + in_quotes(full(key)) + " must have " + std::to_string(layers) +
                                         " numbers from 1 to " + std::to_string(max));
  }
  return std::vector<std::uint32_t>(values.begin(), values.end());
}

Result<std::uint32_t> MetadataReader::optional_count(std::string_view key, std::uint32_t max) const {
  CAIRN_TRY(const std::uint32_t value, file_.get_or<std::uint32_t>(full(key), 0));
  if (value > max) return out_of_range(full(key), 0, max, value);
  return value;
}

Result<float> MetadataReader::epsilon(std::string_view key) const {
  CAIRN_TRY(const float value, file_.get<float>(full(key)));
  if (!(value > 0.0f && value < 1.0f)) {
    return fail(ErrorCode::kCorrupt, "metadata " + in_quotes(full(key)) + " must lie between 0 and 1");
  }
  return value;
}

// Within what products and quotients with it can hold.
Status MetadataReader::in_range(std::string_view key, float value) const {
  constexpr float kLeast = 1e-6f, kMost = 1e6f;
  if (value >= kLeast && value <= kMost) return {};
  return fail(ErrorCode::kCorrupt, "metadata " + in_quotes(full(key)) + " must lie between 1e-6 and 1e6");
}

Result<float> MetadataReader::positive_or(std::string_view key, float fallback) const {
  CAIRN_TRY(const float value, file_.get_or<float>(full(key), fallback));
  CAIRN_TRY_VOID(in_range(key, value));
  return value;
}

Result<float> MetadataReader::amount_or(std::string_view key, float fallback) const {
  CAIRN_TRY(const float value, file_.get_or<float>(full(key), fallback));
  if (value != 0.0f) CAIRN_TRY_VOID(in_range(key, value));
  return value;
}

}  // namespace cairn
