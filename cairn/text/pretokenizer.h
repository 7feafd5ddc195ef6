// SPDX-License-Identifier: Apache-2.0
// Cuts text into the words that byte-level BPE merges within. The only user of PCRE2.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"

struct pcre2_real_code_8;

namespace cairn::text {

// Immutable and thread-safe.
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

}  // namespace cairn::text
