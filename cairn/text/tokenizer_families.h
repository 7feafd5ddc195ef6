// SPDX-License-Identifier: Apache-2.0
// The inside of the tokenizer: its two families, and the merging of neighbouring pieces that both of them do.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/text/tokenizer.h"

struct pcre2_real_code_8;

namespace cairn::text {

// Cuts text into the words that byte-level BPE merges within. Immutable and thread-safe.
class PreTokenizer {
 public:
  // `name` as in tokenizer.ggml.pre. Errors: kCorrupt (empty), kUnsupported (unknown; the message lists the known
  // ones).
  static Result<PreTokenizer> make(std::string_view name);

  // Cuts `text` into pieces that cover it, in order; every byte that is not UTF-8 is a piece of its own. Linear time.
  std::vector<std::string_view> split(std::string_view text) const;

  // The one name that all its aliases share.
  std::string_view name() const { return name_; }
  // A piece that is a token as a whole is taken as it is, whatever the merge rules would make of it.
  bool takes_whole_tokens() const { return takes_whole_tokens_; }
  bool adds_bos_by_default() const { return adds_bos_by_default_; }

 private:
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const;
  };
  PreTokenizer() = default;

  std::string_view name_;
  bool takes_whole_tokens_ = false;
  bool adds_bos_by_default_ = false;
  std::vector<std::unique_ptr<pcre2_real_code_8, FreeCode>> stages_;  // each cuts the pieces of the one before
};

// SentencePiece-style ("llama"): scores decide which pair merges first, bytes without a token become <0xXX>.
Result<std::unique_ptr<const Tokenizer>> make_spm_tokenizer(TokenizerData data);

// Byte-level BPE ("gpt2"): a pre-tokenizer cuts the text, merge rules join the bytes of each cut.
Result<std::unique_ptr<const Tokenizer>> make_bpe_tokenizer(TokenizerData data);

// Starts the digest with what both families have: the family's name, the tokens and the special ids.
Hasher begin_tokenizer_digest(std::string_view family, const Vocabulary& vocabulary);

// A stretch of the text, [begin, begin + length), linked to its neighbours. A piece that was merged away has length 0.
struct TextPiece {
  std::uint32_t begin = 0;
  std::uint32_t length = 0;
  TokenId id = -1;  // meaning chosen by the family
  std::uint32_t previous = 0;
  std::uint32_t next = 0;
};

// The pair may become one piece with this id; lower order merges first.
struct PairMerge {
  double order = 0;
  TokenId id = -1;
};

inline constexpr std::uint32_t kNoPiece = UINT32_MAX;

// Greedy, best pair first: merges until `find_merge(left, right) -> optional<PairMerge>` finds nothing among the
// neighbours; among pairs of equal order the leftmost goes first. `pieces` come in text order with begin, length and id
// set; the survivors keep their places, the others end with length 0. O(n log n) with n pieces.
template <class FindMerge>
void merge_pieces(std::vector<TextPiece>& pieces, FindMerge&& find_merge) {
  struct Candidate {
    double order;
    std::uint32_t left, right, length;
    TokenId id;
    bool operator<(const Candidate& other) const {  // the queue's top is its greatest
      return order > other.order || (order == other.order && left > other.left);
    }
  };
  std::vector<Candidate> initial;
  const auto candidate = [&](std::uint32_t left, std::uint32_t right) -> std::optional<Candidate> {
    const auto merge = find_merge(pieces[left], pieces[right]);
    if (!merge) return std::nullopt;
    return Candidate{merge->order, left, right, pieces[left].length + pieces[right].length, merge->id};
  };

  const auto count = static_cast<std::uint32_t>(pieces.size());
  for (std::uint32_t i = 0; i < count; ++i) {
    pieces[i].previous = i == 0 ? kNoPiece : i - 1;
    pieces[i].next = i + 1 == count ? kNoPiece : i + 1;
    if (i == 0) continue;
    if (const auto c = candidate(i - 1, i)) initial.push_back(*c);
  }
  std::priority_queue<Candidate> queue({}, std::move(initial));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    TextPiece& left = pieces[best.left];
    TextPiece& right = pieces[best.right];
    // One of the two has grown or gone since: the pair is no longer there.
    if (left.length == 0 || right.length == 0 || left.length + right.length != best.length) continue;
    left.length = best.length;
    left.id = best.id;
    left.next = right.next;
    right.length = 0;
    if (left.next != kNoPiece) pieces[left.next].previous = best.left;
    if (left.previous != kNoPiece) {
      if (const auto c = candidate(left.previous, best.left)) queue.push(*c);
    }
    if (left.next != kNoPiece) {
      if (const auto c = candidate(best.left, left.next)) queue.push(*c);
    }
  }
}

}  // namespace cairn::text
