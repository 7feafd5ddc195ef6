// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/http/chunk_rules.h"

#include <algorithm>

#include "cairn/serve/http/head_rules.h"

namespace cairn {
namespace {

constexpr std::size_t kMaxDigits = 8;  // a chunk of 4 GiB; bodies have a lower bound of their own

constexpr std::string_view kBadSize = "a chunk's size is not valid";
constexpr std::string_view kBadEnd = "a chunk does not end where its size says";
constexpr std::string_view kTrailer = "trailers are not taken";

// -1 without one.
int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool ChunkRules::take(std::string_view bytes) {
  while (!bytes.empty() && why_.empty()) {
    if (state_ != State::kData) {
      step(bytes.front());
      bytes.remove_prefix(1);
      continue;
    }
    const auto data = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
    left_ -= data;
    bytes.remove_prefix(data);
    if (left_ == 0) state_ = State::kDataCr;
  }
  return why_.empty();
}

void ChunkRules::step(char c) {
  switch (state_) {
    case State::kSize: return size_byte(c);
    case State::kExtension:
      if (c == '\r') {
        state_ = State::kSizeLf;
      } else if (is_control(c)) {
        why_ = kBadSize;
      }
      return;
    case State::kSizeLf: return expect(c == '\n', left_ == 0 ? State::kLastCr : State::kData, kBadSize);
    case State::kDataCr: return expect(c == '\r', State::kDataLf, kBadEnd);
    case State::kDataLf: digits_ = 0; return expect(c == '\n', State::kSize, kBadEnd);
    case State::kLastCr: return expect(c == '\r', State::kLastLf, kTrailer);
    case State::kLastLf: return expect(c == '\n', State::kEnd, kBadEnd);
    case State::kData:
    case State::kEnd: why_ = kBadEnd;
  }
}

void ChunkRules::size_byte(char c) {
  const int digit = hex_digit(c);
  if (digit >= 0 && digits_ < kMaxDigits) {
    ++digits_;
    left_ = left_ * 16 + static_cast<unsigned>(digit);
  } else if (digits_ > 0 && c == ';') {
    state_ = State::kExtension;
  } else {
    expect(digits_ > 0 && c == '\r', State::kSizeLf, kBadSize);
  }
}

void ChunkRules::expect(bool as_it_must_be, State next, std::string_view why) {
  if (as_it_must_be) {
    state_ = next;
  } else {
    why_ = why;
  }
}

}  // namespace cairn
