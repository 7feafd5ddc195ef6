// SPDX-License-Identifier: Apache-2.0
// Next-token distributions of Cairn against those that llama.cpp wrote for the same model file (logits_file.h).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "bench/logits_file.h"
#include "cairn/engine/engine.h"

namespace cairn {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string model;
  std::string logits;
  unsigned threads = 0;
  std::string codec = "raw_f16";
  bool json = false;
};

struct Comparison {
  std::vector<double> divergences;  // KL(peer || cairn) of each position, in nats
  std::size_t same_top = 0;
  std::size_t scored = 0;  // positions whose next token the file gives a probability
  double cairn_log_loss = 0;
  double peer_log_loss = 0;
};

// In place, with the sum in double.
void log_softmax(std::span<float> logits) {
  const float max = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
  const double shift = max + std::log(sum);
  for (float& logit : logits) logit = static_cast<float>(logit - shift);
}

void compare_position(std::span<const float> peer, std::span<float> logits, TokenId next, Comparison& total) {
  log_softmax(logits);
  double divergence = 0;
  for (std::size_t id = 0; id < peer.size(); ++id) {
    if (std::isinf(peer[id])) continue;
    divergence += std::exp(static_cast<double>(peer[id])) * (static_cast<double>(peer[id]) - logits[id]);
  }
  total.divergences.push_back(divergence);
  // The file's codes are coarse enough for ties: any of the peer's best tokens counts as its best.
  const auto top = static_cast<std::size_t>(std::ranges::max_element(logits) - logits.begin());
  total.same_top += peer[top] == *std::ranges::max_element(peer);
  const auto actual = static_cast<std::size_t>(next);
  if (std::isinf(peer[actual])) return;
  ++total.scored;
  total.cairn_log_loss -= logits[actual];
  total.peer_log_loss -= peer[actual];
}

// Logits [positions_per_window, vocab] of one window, computed from an empty sequence in passes of the largest size.
Status window_logits(Engine& engine, std::span<const TokenId> tokens, std::size_t first, std::vector<float>& logits) {
  Sequence sequence = engine.open({});
  float* out = logits.data();
  for (std::size_t begin = 0; begin < tokens.size(); begin += Forward::kMaxRows) {
    const std::size_t end = std::min(begin + Forward::kMaxRows, tokens.size());
    const std::size_t wanted = end > first ? end - std::max(begin, first) : 0;
    const ForwardRows rows = {&sequence, tokens.subspan(begin, end - begin), static_cast<std::uint32_t>(wanted), out};
    CAIRN_TRY_VOID(engine.forward({&rows, 1}));
    out += wanted * engine.config().vocab;
  }
  return {};
}

Result<Comparison> compare(Engine& engine, LogitsFile& file) {
  if (engine.config().vocab != file.vocab())
    return fail(ErrorCode::kInvalidArgument, "the model has " + std::to_string(engine.config().vocab) +
                                                 " tokens, the logits file " + std::to_string(file.vocab()) +
                                                 "; name the model that the file was made with");
  Comparison total;
  std::vector<float> logits(std::size_t{file.positions_per_window()} * file.vocab());
  std::vector<float> peer;
  for (std::uint32_t w = 0; w < file.windows(); ++w) {
    const std::span<const TokenId> stored = file.tokens(w);
    const auto known = [&](TokenId id) { return id >= 0 && static_cast<std::uint32_t>(id) < file.vocab(); };
    if (!std::ranges::all_of(stored, known)) return fail(ErrorCode::kCorrupt, "the logits file holds an unknown token");
    // The file has the text's tokens; the peer puts the begin token in place of the first of each window.
    std::vector<TokenId> tokens(stored.begin(), stored.end() - 1);
    if (engine.tokenizer().adds_bos() && engine.tokenizer().bos()) tokens.front() = *engine.tokenizer().bos();
    CAIRN_TRY_VOID(window_logits(engine, tokens, file.first_position(), logits));
    CAIRN_TRY_VOID(file.read_window(peer));
    for (std::uint32_t p = 0; p < file.positions_per_window(); ++p) {
      const std::size_t row = std::size_t{p} * file.vocab();
      compare_position(std::span(peer).subspan(row, file.vocab()), std::span(logits).subspan(row, file.vocab()),
                       stored[file.first_position() + p + 1], total);
    }
    std::fprintf(stderr, "window %u of %u\n", w + 1, file.windows());
  }
  return total;
}

// The value that a share `quantile` of the values does not exceed. Requires: sorted, not empty.
double quantile_of(const std::vector<double>& sorted, double quantile) {
  const double rank = std::ceil(quantile * static_cast<double>(sorted.size()));
  return sorted[std::min(static_cast<std::size_t>(std::max(rank, 1.0)), sorted.size()) - 1];
}

Json report_json(const Options& options, Comparison comparison) {
  std::vector<double>& kl = comparison.divergences;
  std::ranges::sort(kl);
  const auto count = static_cast<double>(kl.size());
  const auto scored = static_cast<double>(comparison.scored);
  return {{"model", options.model},
          {"codec", options.codec},
          {"positions", kl.size()},
          {"kl",
           {{"mean", std::accumulate(kl.begin(), kl.end(), 0.0) / count},
            {"median", quantile_of(kl, 0.5)},
            {"p99", quantile_of(kl, 0.99)},
            {"max", kl.back()}}},
          {"top1_agreement", static_cast<double>(comparison.same_top) / count},
          {"perplexity",
           {{"positions", comparison.scored},
            {"cairn", std::exp(comparison.cairn_log_loss / scored)},
            {"peer", std::exp(comparison.peer_log_loss / scored)}}}};
}

void print_text(const Json& report) {
  const Json& kl = report.at("kl");
  std::printf("positions         %zu\n", report.at("positions").get<std::size_t>());
  std::printf("KL(peer || cairn) mean %.3g, median %.3g, p99 %.3g, max %.3g nats\n", kl.at("mean").get<double>(),
              kl.at("median").get<double>(), kl.at("p99").get<double>(), kl.at("max").get<double>());
  std::printf("same top token    %.2f %%\n", 100 * report.at("top1_agreement").get<double>());
  const Json& perplexity = report.at("perplexity");
  std::printf("perplexity        cairn %.4f, peer %.4f (over %zu positions)\n", perplexity.at("cairn").get<double>(),
              perplexity.at("peer").get<double>(), perplexity.at("positions").get<std::size_t>());
}

Status run(const Options& options) {
  CAIRN_TRY(LogitsFile file, LogitsFile::open(options.logits));
  EngineOptions engine_options;
  engine_options.threads = options.threads;
  engine_options.codec = options.codec;
  engine_options.context = static_cast<std::uint32_t>(file.tokens(0).size());
  engine_options.reuse = false;
  CAIRN_TRY(const std::unique_ptr<Engine> engine, Engine::load(options.model, engine_options));
  CAIRN_TRY(Comparison comparison, compare(*engine, file));
  const Json report = report_json(options, std::move(comparison));
  if (options.json) {
    std::cout << report.dump(2) << '\n';
  } else {
    print_text(report);
  }
  return {};
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  cairn::Options options;
  CLI::App app("Compares Cairn's next-token distributions with those of llama.cpp on the same model file.");
  app.add_option("-m,--model", options.model, "Model file (GGUF)")->required();
  app.add_option("logits", options.logits, "File made by llama-perplexity --kl-divergence-base")->required();
  app.add_option("-t,--threads", options.threads, "Threads; 0 is one per core")->capture_default_str();
  app.add_option("--codec", options.codec, "How the KV cache is stored")->capture_default_str();
  app.add_flag("--json", options.json, "Print JSON");
  CLI11_PARSE(app, argc, argv);
  if (const cairn::Status status = cairn::run(options); !status) {
    std::cerr << "compare_logits: " << status.error().message << '\n';
    return 1;
  }
  return 0;
}
