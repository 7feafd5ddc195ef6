// SPDX-License-Identifier: Apache-2.0
// The two tokenizer families, behind make_tokenizer(). Part of the tokenizer.
#pragma once

#include <memory>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/text/tokenizer.h"

namespace cairn {

// SentencePiece-style ("llama"): scores decide which pair merges first, bytes without a token become <0xXX>.
Result<std::unique_ptr<const Tokenizer>> make_spm_tokenizer(TokenizerData data);

// Byte-level BPE ("gpt2"): a pre-tokenizer cuts the text, merge rules join the bytes of each cut.
Result<std::unique_ptr<const Tokenizer>> make_bpe_tokenizer(TokenizerData data);

// Starts the digest with what both families have: the family's name, the tokens and the special ids.
Hasher begin_tokenizer_digest(std::string_view family, const Vocabulary& vocabulary);

}  // namespace cairn
