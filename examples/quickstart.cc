// SPDX-License-Identifier: Apache-2.0
// Two questions about one text: the second finds most of its keys and values in the cache.
#include <cairn/cairn.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 2) return std::cerr << "usage: quickstart MODEL.gguf\n", 2;
  const auto model = cairn::Model::load(argv[1]);
  if (!model) return std::cerr << model.error().message << '\n', 1;
  std::string ledger;
  for (const char* line : {"garden is 2784", "river is 5931", "window is 6150", "market is 7415", "winter is 8273"}) {
    ledger += std::string("The code of ") + line + ".\n";
  }
  for (const std::string word : {"river", "market"}) {
    const auto prompt = model->encode(ledger + "\nQuestion: What is the code of " + word + "?\nAnswer:");
    const auto answer = model->generate(prompt, {.temperature = 0}, {.max_tokens = 6, .stop = {"\n"}});
    if (!answer) return std::cerr << answer.error().message << '\n', 1;
    std::cout << answer->reused_tokens << " of " << prompt.size() << " tokens reused; answer:" << answer->text << '\n';
  }
}
