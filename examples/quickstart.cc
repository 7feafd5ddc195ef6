// SPDX-License-Identifier: Apache-2.0
// Two questions about one text: the second finds most of its keys and values in the cache.
#include <cairn/engine/engine.h>
#include <cairn/text/sampler.h>

#include <iostream>

cairn::Status ask(cairn::Engine& engine, const std::string& prompt) {
  const std::vector<cairn::TokenId> tokens = engine.tokenizer().encode(prompt);
  cairn::Sequence sequence = engine.open(tokens);  // holds the longest known prefix already
  std::cout << sequence.size() << " of " << tokens.size() << " tokens reused; answer:";

  CAIRN_TRY(cairn::Sampler sampler, cairn::Sampler::make({.temperature = 0}));
  CAIRN_TRY(std::span<const float> logits, engine.prefill(sequence, std::span(tokens).subspan(sequence.size())));
  cairn::TokenStream text(engine.tokenizer(), {.continues_text = true});
  for (int i = 0; i < 6; ++i) {
    CAIRN_TRY(const cairn::TokenId token, sampler.sample(logits));
    std::cout << text.feed(token);
    CAIRN_TRY(logits, engine.decode(sequence, token));
  }
  std::cout << text.finish() << '\n';
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
