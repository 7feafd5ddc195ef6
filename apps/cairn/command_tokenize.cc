// SPDX-License-Identifier: Apache-2.0
// cairn tokenize: text to ids and back.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/cairn/chat_options.h"
#include "apps/cairn/commands.h"
#include "apps/cairn/input.h"
#include "apps/cairn/options.h"
#include "cairn/gguf/gguf.h"
#include "cairn/text/chat_template.h"
#include "cairn/text/tokenizer.h"

namespace cairn::cli {
namespace {

struct TokenizeOptions {
  std::string model;
  std::string prompt;
  std::string file = "-";
  std::vector<TokenId> decode;
  bool has_prompt = false;
  bool ids_only = false;
  bool json = false;
  bool lines = false;
  bool no_bos = false;
  bool special = false;
  bool chat = false;
  std::string system;
  std::string chat_template;  // empty: from the file
  std::string chat_kwargs;    // JSON
};

std::string_view bytes_of(const Tokenizer& tokenizer, TokenId id) {
  return tokenizer.is_special(id) ? tokenizer.token_text(id) : tokenizer.token_bytes(id);
}

void print_object(const nlohmann::ordered_json& json) {
  std::cout << json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

nlohmann::ordered_json tokens_json(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  nlohmann::ordered_json tokens = nlohmann::ordered_json::array();
  for (const TokenId id : ids) {
    tokens.push_back({{"id", id}, {"text", bytes_of(tokenizer, id)}, {"special", tokenizer.is_special(id)}});
  }
  return {{"count", ids.size()}, {"ids", ids}, {"tokens", tokens}};
}

std::string quoted_text(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// One id per line with the bytes it stands for.
void print_table(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  for (const TokenId id : ids) {
    std::cout << id << '\t' << quoted_text(bytes_of(tokenizer, id)) << '\n';
  }
}

void print_ids(const std::vector<TokenId>& ids) {
  std::cout << nlohmann::json(ids).dump() << '\n';
}

// The text as a user's message, in the form that the chat template gives it: first the whole, then its tokens.
Status tokenize_chat(const TokenizeOptions& options, const Tokenizer& tokenizer, std::string text) {
  CAIRN_TRY(const ChatTemplate chat, choose_chat_template(options.chat_template, options.model));
  CAIRN_TRY(jinja::Dict kwargs, read_chat_kwargs(options.chat_kwargs, chat));
  const ChatRenderOptions render{.kwargs = std::move(kwargs), .now = local_time()};
  std::vector<ChatMessage> messages;
  if (!options.system.empty()) messages.push_back({ChatRole::kSystem, options.system});
  messages.push_back({ChatRole::kUser, std::move(text)});
  CAIRN_TRY(const std::vector<TokenId> ids, chat.encode(tokenizer, messages, render));
  CAIRN_TRY(const RenderedChat rendered, chat.render(tokenizer, messages, render));
  if (doubles_bos(tokenizer, rendered)) std::cerr << "cairn: " << kDoubledBos << '\n';
  if (options.json) {
    nlohmann::ordered_json json = {{"text", rendered.text}};
    json.update(tokens_json(tokenizer, ids));
    print_object(json);
    return {};
  }
  if (options.ids_only) {
    print_ids(ids);
    return {};
  }
  std::cout << "text\t" << quoted_text(rendered.text) << '\n';
  print_table(tokenizer, ids);
  return {};
}

Status run_tokenize(const TokenizeOptions& options) {
  CAIRN_TRY(const GgufFile file, GgufFile::open(options.model));
  CAIRN_TRY(TokenizerData data, read_tokenizer_data(file));
  CAIRN_TRY(const std::unique_ptr<const Tokenizer> tokenizer, make_tokenizer(std::move(data)));
  if (!options.decode.empty()) {
    for (const TokenId id : options.decode) {
      if (id < 0 || static_cast<std::size_t>(id) >= tokenizer->size()) {
        return fail(ErrorCode::kInvalidArgument, "token id " + std::to_string(id) + " is outside the vocabulary of " +
                                                     std::to_string(tokenizer->size()) + " tokens");
      }
    }
    const std::string text = tokenizer->decode(options.decode, {.show_control = options.special});
    if (options.json) {
      print_object({{"text", text}});
    } else {
      std::cout << text << '\n';
    }
    return {};
  }
  EncodeOptions encode{.add_bos = !options.no_bos && !options.lines, .parse_special = options.special};
  if (options.lines) {
    for (std::string line; std::getline(std::cin, line);) print_ids(tokenizer->encode(line, encode));
    return {};
  }
  std::string text = options.prompt;
  if (!options.has_prompt) {
    CAIRN_TRY(text, read_text(options.file));
  }
  if (options.chat) return tokenize_chat(options, *tokenizer, std::move(text));
  const std::vector<TokenId> ids = encode_prompt(*tokenizer, text, encode);
  if (options.json) {
    print_object(tokens_json(*tokenizer, ids));
  } else if (options.ids_only) {
    print_ids(ids);
  } else {
    print_table(*tokenizer, ids);
  }
  return {};
}

}  // namespace

void add_tokenize_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("tokenize", "Turn text into token ids, or ids into text");
  auto options = std::make_shared<TokenizeOptions>();
  add_model_argument(*command, options->model);
  CLI::Option* prompt =
      command->add_option("-p,--prompt", options->prompt, "The text; without -p and -f it is read from stdin");
  CLI::Option* file = command->add_option("-f,--file", options->file, "Read the text from a file ('-' is stdin)");
  CLI::Option* decode =
      command->add_option("--decode", options->decode, "Print the text of these ids, as --decode 1,73,9")
          ->delimiter(',');
  CLI::Option* lines = command->add_flag("--lines", options->lines,
                                         "One JSON array of ids for each line of stdin, without a begin token");
  command->add_flag("--ids", options->ids_only, "Print one JSON array instead of a table of ids and their text");
  command->add_flag("--json", options->json, "Print one JSON object")->excludes(lines);
  CLI::Option* no_bos = command->add_flag("--no-bos", options->no_bos, "Do not put the begin token in front");
  CLI::Option* special = command->add_flag("--special", options->special,
                                           "Read and write control tokens by their text, such as <|im_end|>");
  CLI::Option* chat = command->add_flag("--chat", options->chat,
                                        "The text is a user's message: show what the chat template makes of it");
  // The template decides what is a control token, and whether a begin token stands in front.
  chat->excludes(decode)->excludes(lines)->excludes(special)->excludes(no_bos);
  command->add_option("--system", options->system, "With --chat: instructions that stand before it")->needs(chat);
  add_chat_template_option(*command, options->chat_template)->needs(chat);
  add_chat_kwargs_option(*command, options->chat_kwargs)->needs(chat);
  prompt->excludes(file)->excludes(decode)->excludes(lines);
  file->excludes(decode)->excludes(lines);
  decode->excludes(lines);
  command->callback([options, prompt, &outcome] {
    options->has_prompt = prompt->count() > 0;
    outcome = run_tokenize(*options);
  });
}

}  // namespace cairn::cli
