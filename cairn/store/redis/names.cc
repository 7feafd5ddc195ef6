// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/redis/names.h"

#include <charconv>
#include <cstring>

#include "cairn/base/checksum.h"
#include "cairn/store/record/block_record.h"

namespace cairn::redis {
namespace {

constexpr std::size_t kMaxUrlBytes = 4096;
constexpr std::size_t kMaxSocketPath = 107;  // of sockaddr_un
constexpr std::int64_t kMaxTtlSeconds = std::int64_t{100} * 365 * 86400;

template <class T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    if (i + 2 >= text.size()) return std::nullopt;
    const char* const end = text.data() + i + 3;
    const auto [at, error] = std::from_chars(text.data() + i + 1, end, value, 16);
    if (error != std::errc{} || at != end) return std::nullopt;
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

std::unexpected<Error> refuse(const std::string& why) {
  return fail(ErrorCode::kInvalidArgument, "Redis URL: " + why);
}

Status read_parameters(std::string_view query, Url& url) {
  while (!query.empty()) {
    const std::string_view item = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), item.size() + 1));
    const std::string_view name = item.substr(0, item.find('='));
    const std::string_view value = name.size() < item.size() ? item.substr(name.size() + 1) : std::string_view();
    if (name == "ttl") {
      const auto seconds = number<std::int64_t>(value);
      if (!seconds || *seconds < 0 || *seconds > kMaxTtlSeconds) return refuse("ttl takes seconds, 0 for none");
      url.ttl_s = *seconds;
    } else if (name == "cluster") {
      if (value != "0" && value != "1") return refuse("cluster takes 0 or 1");
      url.cluster = value == "1";
    } else if (name == "db") {
      const auto database = number<std::uint32_t>(value);
      if (!database) return refuse("db takes a number");
      url.login.database = *database;
    } else {
      return refuse("its parameters are ttl, cluster and db");
    }
  }
  return {};
}

Status read_login(std::string_view text, Login& login) {
  const std::size_t colon = text.find(':');
  const auto user = percent_decoded(text.substr(0, colon));
  const auto password = percent_decoded(colon == std::string_view::npos ? "" : text.substr(colon + 1));
  if (!user || !password) return refuse("a % in user or password begins two hexadecimal digits");
  login.user = *user;
  login.password = *password;
  return {};
}

constexpr char kCommitMagic[] = {'C', 'A', 'I', 'R', 'N', 'R', 'C', '1'};
constexpr std::string_view kPrefix = "kv1:{";
constexpr std::string_view kHeaderEnd = "}:h";
constexpr std::string_view kRecipePrefix = "kv1:recipe:";

void put_little(std::byte* out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::byte>(value >> 8 * i);
}

std::uint64_t get_little(const std::byte* in, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value |= static_cast<std::uint64_t>(in[i]) << 8 * i;
  return value;
}

// CRC-16/XMODEM: polynomial 0x1021, starts at zero, not reflected.
constexpr std::array<std::uint16_t, 256> make_crc_table() {
  std::array<std::uint16_t, 256> table{};
  for (unsigned i = 0; i < 256; ++i) {
    unsigned crc = i << 8;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1;
    table[i] = static_cast<std::uint16_t>(crc);
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

std::string block_prefix(const Digest& key) {
  return std::string(kPrefix) + key.hex() + "}:";
}

}  // namespace

std::string Address::text() const {
  if (!socket.empty()) return "unix://" + socket;
  const bool v6 = host.find(':') != std::string::npos;
  return "redis://" + (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::optional<Address> parse_endpoint(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = number<std::uint16_t>(text.substr(colon + 1));
  std::string_view host = text.substr(0, colon);
  if (!port || *port == 0 || host.size() > 255) return std::nullopt;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  for (const char c : host) {
    if (c <= ' ' || c > '~') return std::nullopt;
  }
  return Address{.host = std::string(host), .port = *port, .socket = {}};
}

Result<Url> parse_url(std::string_view text) {
  if (text.size() > kMaxUrlBytes || text.find('\0') != std::string_view::npos) return refuse("too long, or not text");
  const std::size_t scheme_end = text.find("://");
  const std::string_view scheme = scheme_end == std::string_view::npos ? "" : text.substr(0, scheme_end);
  if (scheme == "rediss") {
    return fail(ErrorCode::kUnsupported,
                "Redis URL: rediss:// needs TLS, which hiredis 0.14 lacks; use redis:// through a TLS tunnel");
  }
  if (scheme != "redis" && scheme != "unix") return refuse("it begins with redis:// or unix://");
  text.remove_prefix(scheme_end + 3);
  Url url;
  // A ? in a password is written %3F, and so is an @ as %40.
  const std::size_t question = text.find('?');
  if (question != std::string_view::npos) {
    CAIRN_TRY_VOID(read_parameters(text.substr(question + 1), url));
    text = text.substr(0, question);
  }
  if (scheme == "unix") {
    if (text.empty() || text.front() != '/' || text.size() > kMaxSocketPath) {
      return refuse("unix:// takes an absolute path of at most 107 bytes");
    }
    if (url.cluster) return refuse("a cluster is not reached through a unix socket");
    url.address.socket = text;
    return url;
  }
  if (const std::size_t at = text.rfind('@'); at != std::string_view::npos) {
    CAIRN_TRY_VOID(read_login(text.substr(0, at), url.login));
    text.remove_prefix(at + 1);
  }
  if (const std::size_t slash = text.find('/'); slash != std::string_view::npos) {
    if (slash + 1 < text.size()) {
      const auto database = number<std::uint32_t>(text.substr(slash + 1));
      if (!database) return refuse("what follows the host's / is a database number");
      url.login.database = *database;
    }
    text = text.substr(0, slash);
  }
  const bool has_port = !text.empty() && text.back() != ']' && text.find(':') != std::string_view::npos;
  const auto endpoint = parse_endpoint(has_port ? std::string(text) : std::string(text) + ":6379");
  if (!endpoint || endpoint->host.empty()) return refuse("no host, or a port that is none");
  if (url.cluster && url.login.database != 0) return refuse("a cluster has database 0 alone");
  url.address = *endpoint;
  return url;
}

std::string header_key(const Digest& key) {
  return block_prefix(key) + "h";
}

std::string slice_key(const Digest& key, std::uint64_t tag, std::uint32_t slice) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string name = block_prefix(key);
  for (int shift = 60; shift >= 0; shift -= 4) name += kDigits[tag >> shift & 15];
  return name + ":" + std::to_string(slice);
}

std::vector<std::string> commit_command(const Digest& key) {
  return {"GETRANGE", header_key(key), std::to_string(-std::int64_t{Commit::kBytes}), "-1"};
}

std::string pin_key(const Digest& key) {
  return block_prefix(key) + "p";
}

std::string recipe_key(const Digest& recipe) {
  return std::string(kRecipePrefix) + recipe.hex();
}

std::optional<Digest> block_of_header_key(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kHeaderEnd)) return std::nullopt;
  if (name.size() < kPrefix.size() + kHeaderEnd.size()) return std::nullopt;
  return parse_digest(name.substr(kPrefix.size(), name.size() - kPrefix.size() - kHeaderEnd.size()));
}

std::optional<Digest> recipe_of_key(std::string_view name) {
  if (!name.starts_with(kRecipePrefix)) return std::nullopt;
  return parse_digest(name.substr(kRecipePrefix.size()));
}

std::uint16_t slot_of(std::string_view name) {
  const std::size_t open = name.find('{');
  if (open != std::string_view::npos) {
    const std::size_t close = name.find('}', open + 1);
    if (close != std::string_view::npos && close > open + 1) name = name.substr(open + 1, close - open - 1);
  }
  unsigned crc = 0;
  for (const char c : name) crc = (crc << 8 & 0xffff) ^ kCrcTable[(crc >> 8 ^ static_cast<unsigned char>(c)) & 0xff];
  return static_cast<std::uint16_t>(crc & 16383);
}

std::array<std::byte, Commit::kBytes> Commit::bytes() const {
  std::array<std::byte, kBytes> out;
  std::memcpy(out.data(), kCommitMagic, sizeof kCommitMagic);
  put_little(&out[8], record_bytes, 8);
  put_little(&out[16], tag, 8);
  put_little(&out[24], slice_bytes, 4);
  put_little(&out[28], slices, 4);
  put_little(&out[32], checksum(std::span(out).first(32)), 8);
  return out;
}

std::optional<Commit> Commit::read(std::span<const std::byte> bytes) {
  if (bytes.size() != kBytes || std::memcmp(bytes.data(), kCommitMagic, sizeof kCommitMagic) != 0) return std::nullopt;
  if (get_little(&bytes[32], 8) != checksum(bytes.first(32))) return std::nullopt;
  const Commit commit{.record_bytes = get_little(&bytes[8], 8),
                      .tag = get_little(&bytes[16], 8),
                      .slice_bytes = static_cast<std::uint32_t>(get_little(&bytes[24], 4)),
                      .slices = static_cast<std::uint32_t>(get_little(&bytes[28], 4))};
  if (commit.record_bytes > kMaxRecordBytes || commit.slice_bytes == 0 || commit.slice_bytes > kMaxSliceBytes) {
    return std::nullopt;
  }
  const std::uint64_t max_slices = (commit.record_bytes + commit.slice_bytes - 1) / commit.slice_bytes;
  if (commit.slices > max_slices || commit.slices > kMaxSlices) return std::nullopt;
  return commit;
}

}  // namespace cairn::redis
