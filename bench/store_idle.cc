// SPDX-License-Identifier: Apache-2.0
// What a store costs when nothing of it is ever reused. Two engines over the same weights and threads, one of them with
// a store, read prompts that nothing else begins like and decode after them in short stretches, in turns: on a machine
// whose speed drifts, only stretches next to each other compare. A stretch of the engine with the store begins while
// its earlier blocks are still being written; the other's begin when nothing is.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/engine/engine.h"
#include "cairn/store/store.h"

namespace cairn {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string model, text, folder;
  unsigned threads = 2;
  std::size_t prompt = 1088;  // tokens
  std::size_t stretch = 32;   // tokens decoded at a time
  int stretches = 6;          // of each engine after each prompt
  int rounds = 20;
};

struct Cost {
  double wall_s = 0, cpu_s = 0;
};

// Of this whole process, the store's threads included.
double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

template <class Work>
Cost measure(Work&& work) {
  const double cpu = cpu_seconds();
  const auto start = Clock::now();
  work();
  return {std::chrono::duration<double>(Clock::now() - start).count(), cpu_seconds() - cpu};
}

TokenId best(std::span<const float> logits) {
  return static_cast<TokenId>(std::ranges::max_element(logits) - logits.begin());
}

[[noreturn]] void fail_with(const std::string& text) {
  std::cerr << "store_idle: " << text << "\n";
  std::exit(1);
}

// Pairs of neighbouring costs, with the store and without.
struct Figure {
  std::vector<Cost> on, off;

  std::vector<Cost>& of(bool stored) { return stored ? on : off; }

  std::vector<double> slowdowns(double Cost::*what) const {
    std::vector<double> values;
    for (std::size_t i = 0; i < on.size(); ++i) values.push_back(on[i].*what / (off[i].*what) - 1);
    std::ranges::sort(values);
    return values;
  }
  double total(const std::vector<Cost>& costs, double Cost::*what) const {
    double sum = 0;
    for (const Cost& cost : costs) sum += cost.*what;
    return sum;
  }
  // The median's 95 % interval by order statistics: nothing is assumed of the noise but that pairs are independent.
  Json summary(double Cost::*what) const {
    const std::vector<double> values = slowdowns(what);
    const auto n = static_cast<double>(values.size());
    const auto below = static_cast<std::size_t>(std::max(0.0, std::floor(n / 2 - 0.98 * std::sqrt(n))));
    return {{"median", values[values.size() / 2]},
            {"from", values[below]},
            {"to", values[values.size() - 1 - below]},
            {"of_totals", total(on, what) / total(off, what) - 1}};
  }
  Json json(std::size_t tokens) const {
    const double pairs = static_cast<double>(on.size());
    return {{"pairs", on.size()},
            {"tokens_per_s_off", static_cast<double>(tokens) * pairs / total(off, &Cost::wall_s)},
            {"tokens_per_s_on", static_cast<double>(tokens) * pairs / total(on, &Cost::wall_s)},
            {"slowdown", summary(&Cost::wall_s)},
            {"slowdown_of_each", slowdowns(&Cost::wall_s)},
            {"more_cpu_time", summary(&Cost::cpu_s)}};
  }
};

class Side {
 public:
  Side(Engine& engine, Store* store) : engine_(engine), store_(store) {}

  Cost read(std::span<const TokenId> prompt) {
    sequence_.emplace(engine_.open(prompt));
    if (sequence_->size() != 0) fail_with("a prompt was not new");
    return measure([&] { take(engine_.prefill(*sequence_, prompt)); });
  }
  Cost decode(std::size_t tokens) {
    return measure([&] {
      for (std::size_t i = 0; i < tokens; ++i) take(engine_.decode(*sequence_, next_));
    });
  }
  void seal() const {
    const Deadline deadline = deadline_in(std::chrono::seconds(60));
    while (store_ != nullptr && store_->stats().queued_bytes != 0) {
      if (passed(deadline)) fail_with("the store does not come to the end of its writes");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

 private:
  void take(const Result<std::span<const float>>& logits) {
    if (!logits) fail_with(logits.error().message);
    next_ = best(*logits);
  }

  Engine& engine_;
  Store* store_;
  std::optional<Sequence> sequence_;
  TokenId next_ = 0;
};

void run(const Options& options) {
  std::ifstream file(options.text);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  StoreConfig config;
  config.tiers = {options.folder};
  config.required = true;
  auto opened = open_store(config);
  if (!opened) fail_with(opened.error().message);
  const std::shared_ptr<Store> store = opened->store;
  auto with = Engine::load(options.model, {.threads = options.threads, .store = store});
  if (!with) fail_with(with.error().message);
  auto without = (*with)->sibling({.threads = options.threads});
  if (!without) fail_with(without.error().message);
  const std::vector<TokenId> tokens = (*with)->tokenizer().encode(text);
  std::size_t at = 0;
  const auto piece = [&] { return std::span(tokens).subspan(options.prompt * at++, options.prompt); };
  if (tokens.size() < static_cast<std::size_t>(options.rounds) * 2 * options.prompt)
    fail_with("the text is too short for so many new prompts: " + std::to_string(tokens.size()) + " tokens");

  Side on(**with, store.get()), off(**without, nullptr);
  Figure prefill, decode;
  for (int round = 0; round < options.rounds; ++round) {
    for (int stretch = 0; stretch < options.stretches; ++stretch) {
      for (const bool stored : {(round + stretch) % 2 == 0, (round + stretch) % 2 != 0}) {
        on.seal();
        Side& side = stored ? on : off;
        // What the store still writes of a prompt falls on its first stretch, as in any program.
        if (stretch == 0) prefill.of(stored).push_back(side.read(piece()));
        decode.of(stored).push_back(side.decode(options.stretch));
      }
    }
    std::cerr << "round " << round + 1 << " of " << options.rounds << "\r" << std::flush;
  }
  const StoreStats stats = store->stats();
  if (stats.writes == 0 || stats.writes_dropped + stats.writes_failed != 0)
    fail_with("the store did not write everything");
  std::cout << Json{{"prompt_tokens", options.prompt},
                    {"stretch_tokens", options.stretch},
                    {"threads", options.threads},
                    {"blocks_written", stats.writes},
                    {"copying_s", (*with)->connector()->stats().write_seconds},
                    {"prefill", prefill.json(options.prompt)},
                    {"decode", decode.json(options.stretch)}}
                   .dump(2)
            << "\n";
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  cairn::Options options;
  CLI::App app("Measures what a store costs prefill and decoding when nothing of it is ever reused.");
  app.add_option("-m,--model", options.model, "GGUF file")->required();
  app.add_option("--text", options.text, "A long text; prompts are pieces of it")->required();
  app.add_option("--store", options.folder, "A new folder for the store, on the disk in question")->required();
  app.add_option("-t,--threads", options.threads, "Threads that compute")->capture_default_str();
  app.add_option("--prompt", options.prompt, "Tokens of a prompt")
      ->check(CLI::Range(64, 1 << 20))
      ->capture_default_str();
  app.add_option("--stretch", options.stretch, "Tokens decoded in turn")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--stretches", options.stretches, "Of each after each prompt")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--rounds", options.rounds, "Prompts of each")->check(CLI::Range(1, 10000))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  cairn::run(options);
}
