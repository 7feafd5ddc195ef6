// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/chat_options.h"

#include <iostream>
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

Result<jinja::Dict> read_chat_kwargs(const std::string& json) {
  if (json.empty()) return jinja::Dict();
  auto kwargs = parse_chat_kwargs(json);
  if (!kwargs) return fail(ErrorCode::kInvalidArgument, "--chat-template-kwargs: " + kwargs.error().message);
  return kwargs;
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

bool writes_bos_twice(const Tokenizer& tokenizer, const ChatTemplate& chat) {
  const std::vector<ChatMessage> probe = {{ChatRole::kUser, "x"}};
  const auto rendered = chat.render(tokenizer, probe, {.now = local_time()});
  return rendered && doubles_bos(tokenizer, *rendered);
}

}  // namespace cairn::cli
