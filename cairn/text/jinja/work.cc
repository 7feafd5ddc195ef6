// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/jinja/work.h"

#include <string.h>

#include <string>
#include <utility>

namespace cairn::jinja {
namespace {

constexpr std::size_t kBytesPerStep = 16;

thread_local Budget* counting = nullptr;

}  // namespace

CountedWork::CountedWork(Budget& budget) : before_(std::exchange(counting, &budget)) {}

CountedWork::~CountedWork() {
  counting = before_;
}

Status take_steps(std::size_t count) {
  return counting == nullptr ? Status() : counting->steps(count);
}

bool count_steps(std::size_t count) {
  return take_steps(count).has_value();
}

bool count_bytes(std::size_t count) {
  return count < kBytesPerStep || count_steps(count / kBytesPerStep);
}

bool count_text(const Value& value) {
  return !value.is_text() || count_bytes(value.text()->size());
}

std::size_t find_first(std::string_view text, std::string_view part, std::size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

std::size_t find_last(std::string_view text, std::string_view part) {
  // No search from the right in the C library is linear, so both are turned round.
  const std::string mirrored(text.rbegin(), text.rend()), mirrored_part(part.rbegin(), part.rend());
  const std::size_t at = find_first(mirrored, mirrored_part);
  return at == std::string_view::npos ? at : text.size() - at - part.size();
}

}  // namespace cairn::jinja
