// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/api_keys.h"

#include <algorithm>
#include <charconv>
#include <ranges>

#include "cairn/base/file.h"
#include "cairn/base/utf8.h"
#include "cairn/store/open_store.h"

namespace cairn {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{16} << 20;
constexpr std::size_t kLongestTenant = 64;

// Tenants appear in logs, metrics and store keys.
bool is_tenant(std::string_view text) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  return !text.empty() && text.size() <= kLongestTenant && std::ranges::all_of(text, plain);
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  line = line.substr(0, line.find('#'));
  for (std::size_t at = 0; (at = line.find_first_not_of(" \t\r", at)) != std::string_view::npos;) {
    const std::size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

// Limits of a tenant may stand on any of its lines, but not contradict each other.
bool agree(std::size_t& known, std::size_t value) {
  if (value == 0 || (known != 0 && known != value)) return false;
  known = value;
  return true;
}

// One "name=value" into the limits; false when it is none, or another value than before.
bool read_limit(std::string_view word, KeyLimits& limits) {
  const std::size_t equals = word.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view name = word.substr(0, equals), value = word.substr(equals + 1);
  if (name == "kv") {
    const auto bytes = parse_bytes(std::string(value));
    return bytes && agree(limits.kv_bytes, *bytes);
  }
  if (name != "running" && name != "waiting") return false;
  std::size_t limit = 0;
  const auto [end, wrong] = std::from_chars(value.data(), value.data() + value.size(), limit);
  return wrong == std::errc() && end == value.data() + value.size() &&
         agree(name == "running" ? limits.max_running : limits.max_waiting, limit);
}

}  // namespace

Digest hash_api_key(std::string_view key) {
  return Hasher("cairn.api-key.v1").text(key).finish();
}

Result<ApiKeys> ApiKeys::parse(std::string_view text, const std::string& name) {
  ApiKeys keys;
  std::size_t number = 0;
  for (const auto part : std::views::split(text, '\n')) {
    ++number;
    const std::vector<std::string_view> words = words_of({part.begin(), part.end()});
    if (words.empty()) continue;
    const auto wrong = [&](const std::string& what) {
      return fail(ErrorCode::kInvalidArgument, name + ":" + std::to_string(number) + ": " + what);
    };
    // The words are not quoted: a key that somebody wrote here by mistake must not end up in a log.
    if (!is_tenant(words[0])) return wrong("a tenant is made of letters, digits, '-', '_' and '.', at most 64");
    const auto hash = words.size() < 2 ? std::nullopt : parse_digest(words[1]);
    if (!hash) return wrong("no hash of a key behind the tenant; 'cairn serve --hash-key' prints one");
    const std::string tenant(words[0]);
    KeyLimits& limits = keys.tenants_[tenant];
    for (const std::string_view word : words | std::views::drop(2)) {
      if (!read_limit(word, limits)) {
        return wrong("after the hash may come running=N, waiting=N and kv=SIZE, the same on all lines of a tenant");
      }
    }
    if (std::ranges::any_of(keys.entries_, [&](const Entry& entry) { return entry.hash == *hash; }))
      return wrong("this key is there already");
    keys.entries_.push_back({*hash, tenant});
  }
  if (keys.entries_.empty()) return fail(ErrorCode::kInvalidArgument, name + ": no key in it");
  return keys;
}

Result<ApiKeys> ApiKeys::read(const std::string& path) {
  CAIRN_TRY(const std::vector<std::byte> bytes, read_file(path, kMaxFileBytes));
  return parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

std::optional<std::string> ApiKeys::tenant_of(std::string_view key) const {
  const Digest hash = hash_api_key(key);
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (same_in_constant_time(entry.hash, hash)) found = &entry;
  }
  return found == nullptr ? std::nullopt : std::optional(found->tenant);
}

}  // namespace cairn
