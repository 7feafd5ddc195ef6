// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/chat_options.h"

#include <iostream>
#include <optional>
#include <utility>
#include <vector>

#include "cairn/gguf/gguf.h"
#include "cairn/text/begin_token.h"
#include "cairn/text/text_range.h"

namespace cairn::cli {

CLI::Option* add_chat_template_option(CLI::App& command, std::string& choice) {
  return command.add_option("--chat-template", choice,
                            "A file with a Jinja template, or chatml, llama3, mistral, zephyr or plain; default: the "
                            "model's own");
}

CLI::Option* add_chat_kwargs_option(CLI::App& command, std::string& json) {
  return command.add_option("--chat-template-kwargs", json,
                            "Names for the chat template, as '{\"enable_thinking\": false}'");
}

Result<ChatTemplate> choose_chat_template(const std::string& choice, const std::string& model) {
  if (!choice.empty()) return ChatTemplate::named(choice);
  CAIRN_TRY(const GgufFile file, GgufFile::open(model));
  return ChatTemplate::of_model(file);
}

Result<jinja::Dict> read_chat_kwargs(const std::string& json, const ChatTemplate& chat) {
  if (json.empty()) return jinja::Dict();
  auto kwargs = parse_chat_kwargs(json);
  if (!kwargs) return fail(ErrorCode::kInvalidArgument, "--chat-template-kwargs: " + kwargs.error().message);
  if (chat.is_jinja() || kwargs->items().empty()) return kwargs;
  return fail(ErrorCode::kInvalidArgument, "--chat-template-kwargs: the built-in template '" +
                                               std::string(chat.name()) +
                                               "' reads no names: leave it out, or give a Jinja template");
}

std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, std::string_view text, EncodeOptions options) {
  const std::string_view mark = tokenizer.bos() ? tokenizer.token_text(*tokenizer.bos()) : "";
  const TextRange front{0, mark.size()};
  if (options.add_bos && !options.parse_special && text.starts_with(mark)) {
    options.parse_special = true;
    options.special_within = {&front, 1};
  }
  if (doubles_bos(tokenizer, text, options)) std::cerr << "cairn: " << kPromptDoublesBos << '\n';
  return tokenizer.encode(text, options);
}

Result<bool> probe_writes_bos_twice(const Tokenizer& tokenizer, const ChatTemplate& chat, const jinja::Dict& kwargs) {
  // A template may count on instructions, or on an earlier turn.
  const std::vector<ChatMessage> probes[] = {
      {{ChatRole::kUser, "x"}},
      {{ChatRole::kSystem, "x"}, {ChatRole::kUser, "x"}},
      {{ChatRole::kUser, "x"}, {ChatRole::kAssistant, "x"}, {ChatRole::kUser, "x"}},
  };
  std::optional<Error> failure;
  for (const std::vector<ChatMessage>& probe : probes) {
    const auto rendered = chat.render(tokenizer, probe, {.kwargs = kwargs, .now = local_time()});
    if (rendered) return doubles_bos(tokenizer, *rendered);
    if (!failure && rendered.error().code != ErrorCode::kInvalidArgument) failure = rendered.error();
  }
  if (failure) return std::unexpected(*std::move(failure));
  return false;
}

}  // namespace cairn::cli
