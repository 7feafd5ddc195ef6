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
// An empty text is no name at all. Errors: kInvalidArgument, naming the option: no JSON that parse_chat_kwargs takes,
// or names for a `chat` that is a built-in family, which reads none.
Result<jinja::Dict> read_chat_kwargs(const std::string& json, const ChatTemplate& chat);

// A prompt without a template. Its text may bring the begin token, also where no control tokens are read
// (parse_special): the ids then have one begin token, and a line on standard error says so.
std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, std::string_view text, EncodeOptions options);

// Writes short chats with the template, so that one that can write none is found before anybody asks. True: a chat
// begins with the token that the tokenizer would put in front.
// Errors: kUnsupported, the first failure, when no chat could be written and the template did not merely refuse them.
Result<bool> probe_writes_bos_twice(const Tokenizer& tokenizer, const ChatTemplate& chat, const jinja::Dict& kwargs);

}  // namespace cairn::cli
