// SPDX-License-Identifier: Apache-2.0
// Generated texts, well-formed and not.
#pragma once

#include <rapidcheck.h>

#include <string>
#include <utility>
#include <vector>

namespace cairn::testing {

// Words, special tokens, spaces, scripts, and any bytes; they meet the vocabularies of tokenizer_data.h.
inline rc::Gen<std::string> any_text() {
  static const std::vector<std::string> kSnippets = {"hello",
                                                     " hello",
                                                     "he",
                                                     "aaaa",
                                                     "xyz",
                                                     " ",
                                                     "  ",
                                                     "\n",
                                                     "\n\n",
                                                     "\t",
                                                     "123",
                                                     "'s",
                                                     "'S",
                                                     "é",
                                                     "▁",
                                                     "世界",
                                                     "👩‍👩‍👧",
                                                     "e\u0301",
                                                     "<s>",
                                                     "</s>",
                                                     "<unk>",
                                                     "<0x0A>",
                                                     "<tool>",
                                                     "<tool>>",
                                                     "[INST]",
                                                     "<|im_start|>",
                                                     "<|im_end|>",
                                                     "<|eot_id|>",
                                                     "<|endoftext|>",
                                                     "<tool>\n",
                                                     "\xC3",
                                                     "\xF0\x9F",
                                                     "\xFF",
                                                     "\x80",
                                                     std::string(1, '\0')};
  auto snippet = rc::gen::weightedOneOf<std::string>(
      {{4, rc::gen::elementOf(kSnippets)}, {1, rc::gen::container<std::string>(rc::gen::arbitrary<char>())}});
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(std::move(snippet)), [](const auto& parts) {
    std::string text;
    for (const std::string& part : parts) text += part;
    return text;
  });
}

}  // namespace cairn::testing
