// SPDX-License-Identifier: Apache-2.0
// Two questions about one text: the second finds most of its keys and values in the cache.
#include <cairn/engine/generate.h>

#include <iostream>

cairn::Status ask(cairn::Engine& engine, const std::string& prompt) {
  const std::vector<cairn::TokenId> tokens = engine.tokenizer().encode(prompt);
  CAIRN_TRY(const cairn::Generated answer,
            cairn::generate(engine, tokens, {.temperature = 0}, {.max_tokens = 6, .continues_text = true}));
  std::cout << answer.reused_tokens << " of " << tokens.size() << " tokens reused; answer:" << answer.text << '\n';
  return {};
}

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: quickstart MODEL.gguf\n", 2;
  const auto engine = cairn::Engine::load(argv[1], {});
  if (!engine) return std::cerr << engine.error().message << '\n', 1;
  std::string ledger;
  for (const char* line : {"garden is 2784", "river is 5931", "window is 6150", "market is 7415", "winter is 8273"}) {
    ledger += std::string("The code of ") + line + ".\n";
  }
  for (const char* word : {"river", "market"}) {
    const auto done = ask(**engine, ledger + "\nQuestion: What is the code of " + word + "?\nAnswer:");
    if (!done) return std::cerr << done.error().message << '\n', 1;
  }
}
