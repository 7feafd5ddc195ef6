// SPDX-License-Identifier: Apache-2.0
// Which chat template a command uses, and what it is given.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/text/chat_template.h"
#include "cairn/text/tokenizer.h"

namespace cairn::cli {

// --chat-template; help for its values is in it.
CLI::Option* add_chat_template_option(CLI::App& command, std::string& choice);
// --chat-template-kwargs
CLI::Option* add_chat_kwargs_option(CLI::App& command, std::string& json);

// The chosen one, or the model's own where `choice` is empty. Errors: those of ChatTemplate and of opening the file.
Result<ChatTemplate> choose_chat_template(const std::string& choice, const std::string& model);
// An empty text is no name at all. Errors: kInvalidArgument, naming the option.
Result<jinja::Dict> read_chat_kwargs(const std::string& json);

// A prompt that stands without a template. Whoever writes one may write the begin token too, also where no control
// tokens are read (parse_special): there is one, and a line on standard error says so.
std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, std::string_view text, EncodeOptions options);

// A chat of this template begins with the token that the tokenizer would put in front.
bool writes_bos_twice(const Tokenizer& tokenizer, const ChatTemplate& chat);

}  // namespace cairn::cli
