// SPDX-License-Identifier: Apache-2.0
// Every kernel set of this machine on one thread: the quantised product by format and number of rows, and the steps of
// attention over one head of a raw or a quantised page. Counters: bytes of weights or pages per second, operations per
// second.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "cairn/base/aligned_buffer.h"
#include "cairn/kernels/kernels.h"
#include "cairn/kernels/panel.h"

namespace cairn {
namespace {

using benchmark::Counter;

// Of a 1B-class model: wide enough to leave the second-level cache.
constexpr std::uint32_t kOutputs = 2048, kInputs = 2048;
constexpr std::uint32_t kHeadDim = 64, kGroup = 4;  // query rows that share a KV head in decoding
constexpr const char* kElementNames[kElements] = {"f16", "bf16", "f32"};
constexpr std::size_t kElementBytes[kElements] = {2, 2, 4};

void report(benchmark::State& state, double bytes, double operations) {
  const auto iterations = static_cast<double>(state.iterations());
  state.counters["bytes"] = Counter(bytes * iterations, Counter::kIsRate, Counter::kIs1000);
  state.counters["ops"] = Counter(operations * iterations, Counter::kIsRate, Counter::kIs1000);
}

// Values do not change the time of a kernel as long as they are ordinary numbers.
std::vector<float> ordinary_floats(std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i * 7919 % 2039) / 1019.0f - 1;
  return values;
}

// Both a small f16 scale and codes, whatever the format.
constexpr int kWeightByte = 0x15;

void quantise_and_multiply(benchmark::State& state, const Kernels& set, WeightFormat format) {
  const auto rows = static_cast<std::uint32_t>(state.range(0));
  const std::size_t bytes = panel_bytes(format, kInputs) * (kOutputs / kPanelRows);
  Scratch<std::byte> weights;
  std::memset(weights.ensure(bytes), kWeightByte, bytes);
  const PanelMatrix matrix = {format, kOutputs, kInputs, weights.data()};
  const std::size_t values = std::size_t{rows} * kInputs;
  const std::vector<float> x = ordinary_floats(values);
  std::vector<std::int8_t> codes(values);
  std::vector<float> scales(values / kGroupValues), sums(values / kGroupValues);
  std::vector<std::int32_t> biases(values / 16);
  const ActivationTiles activations = {rows, kInputs, codes.data(), scales.data(), biases.data(), sums.data()};
  std::vector<float> out(std::size_t{rows} * kOutputs);
  for (auto _ : state) {
    for (std::uint32_t tile = 0; tile * kTileRows < rows; ++tile)
      set.quantise_tile(x.data(), kInputs, activations, tile);
    set.matmul({matrix, activations, out.data(), kOutputs, 0, kOutputs / kPanelRows});
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  report(state, static_cast<double>(bytes), 2.0 * rows * kInputs * kOutputs);
}

void multiply_dense(benchmark::State& state, const Kernels& set, WeightFormat format) {
  const auto rows = static_cast<std::uint32_t>(state.range(0));
  const std::size_t bytes = panel_bytes(format, kInputs) * (kOutputs / kPanelRows);
  Scratch<std::byte> weights;
  std::memset(weights.ensure(bytes), kWeightByte, bytes);
  const std::vector<float> x = ordinary_floats(std::size_t{rows} * kInputs);
  std::vector<float> out(std::size_t{rows} * kOutputs);
  for (auto _ : state) {
    set.multiply_dense(
        {{format, kOutputs, kInputs, weights.data()}, x.data(), rows, out.data(), kOutputs, 0, kOutputs / kPanelRows});
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  report(state, static_cast<double>(bytes), 2.0 * rows * kInputs * kOutputs);
}

// One head of one page, `rows` query rows; the page stays in the first-level cache.
struct PageOfHead {
  std::uint32_t rows;
  std::size_t bytes;
  Scratch<float> page, q, scores, weights, acc, state;

  PageOfHead(const Kernels& set, std::size_t element, std::uint32_t query_rows)
      : rows(query_rows), bytes(std::size_t{kHeadDim} * kPageTokens * kElementBytes[element]) {
    const std::vector<float> page_values = ordinary_floats(std::size_t{kHeadDim} * kPageTokens);
    set.narrow[element](page_values.data(), page_values.size(), page.ensure(page_values.size()));
    std::fill_n(q.ensure(std::size_t{rows} * kHeadDim), std::size_t{rows} * kHeadDim, 0.1f);
    std::fill_n(scores.ensure(std::size_t{rows} * kPageTokens), std::size_t{rows} * kPageTokens, 0.5f);
    std::fill_n(weights.ensure(std::size_t{rows} * kPageTokens), std::size_t{rows} * kPageTokens, 0.5f);
    std::fill_n(acc.ensure(std::size_t{rows} * kHeadDim), std::size_t{rows} * kHeadDim, 0.0f);
    std::fill_n(state.ensure(std::size_t{rows} * 3), std::size_t{rows} * 3, 0.0f);
  }

  double operations() const { return 2.0 * rows * kHeadDim * kPageTokens; }
};

void scores(benchmark::State& state, const Kernels& set, std::size_t element) {
  PageOfHead head(set, element, static_cast<std::uint32_t>(state.range(0)));
  for (auto _ : state) {
    set.scores[element](head.page.data(), kHeadDim, head.q.data(), head.rows, kWholePage, {}, head.scores.data());
    benchmark::ClobberMemory();
  }
  report(state, static_cast<double>(head.bytes), head.operations());
}

void accumulate(benchmark::State& state, const Kernels& set, std::size_t element) {
  PageOfHead head(set, element, static_cast<std::uint32_t>(state.range(0)));
  float* correction = head.state.data();  // zero: sums do not grow from one iteration to the next
  for (auto _ : state) {
    set.accumulate[element](head.page.data(), kHeadDim, head.weights.data(), correction, head.rows, kPageTokens,
                            kWholePage, {}, head.acc.data());
    benchmark::ClobberMemory();
  }
  report(state, static_cast<double>(head.bytes), head.operations());
}

// One head of one quantised page; keys have a scale per channel and token, values one per token and group.
struct CodesOfHead {
  std::uint32_t head_dim, rows;
  std::size_t bytes;
  Scratch<std::uint8_t> packed, levels;
  std::vector<float> floats;
  Scratch<float> out;
  CodeKeys keys;
  CodeValues values;

  CodesOfHead(const benchmark::State& state, std::uint32_t bits, bool with_levels)
      : head_dim(static_cast<std::uint32_t>(state.range(0))),
        rows(static_cast<std::uint32_t>(state.range(1))),
        bytes(code_bytes(kPageTokens, head_dim, bits)),
        floats(positive_floats(std::size_t{kPageTokens} * std::max(head_dim, rows) * 2)) {
    std::memset(packed.ensure(bytes), kWeightByte, bytes);
    const std::size_t tables = std::size_t{head_dim} * 16;
    std::memset(levels.ensure(tables), kWeightByte, tables);
    const std::uint8_t* table = with_levels ? levels.data() : nullptr;
    std::fill_n(out.ensure(floats.size()), floats.size(), 0.0f);
    const float* any = floats.data();
    keys = {{packed.data(), bits, kPageTokens, head_dim, table}, 15, any, nullptr, any, kPageTokens};
    values = {{packed.data(), bits, head_dim, kPageTokens, table}, 15, 32, any, nullptr, nullptr};
  }

  static std::vector<float> positive_floats(std::size_t count) {
    std::vector<float> floats = ordinary_floats(count);
    for (float& value : floats) value = value * 0.4f + 0.5f;
    return floats;
  }

  double operations() const { return 2.0 * rows * head_dim * kPageTokens; }
};

void code_scores(benchmark::State& state, const Kernels& set, std::uint32_t bits, bool levels) {
  CodesOfHead head(state, bits, levels);
  for (auto _ : state) {
    set.code_scores(head.keys, head.floats.data(), head.rows, {}, head.out.data());
    benchmark::ClobberMemory();
  }
  report(state, static_cast<double>(head.bytes), head.operations());
}

void code_accumulate(benchmark::State& state, const Kernels& set, std::uint32_t bits, bool levels) {
  CodesOfHead head(state, bits, levels);
  const std::vector<float> correction(head.rows);
  for (auto _ : state) {
    set.code_accumulate(head.values, head.floats.data(), correction.data(), head.rows, {}, head.out.data());
    benchmark::ClobberMemory();
  }
  report(state, static_cast<double>(head.bytes), head.operations());
}

void softmax_block(benchmark::State& state, const Kernels& set) {
  PageOfHead head(set, 0, static_cast<std::uint32_t>(state.range(0)));
  const std::vector<std::uint64_t> masks(head.rows, ~0ull);
  float* max = head.state.data();
  for (auto _ : state) {
    set.softmax_block(head.scores.data(), masks.data(), head.rows, max, max + head.rows, max + 2 * head.rows);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * head.rows * kPageTokens);
}

void register_all() {
  for (const Kernels* set : available_kernels()) {
    const std::string isa = std::string(set->name) + "/";
    for (const WeightFormatInfo& info : weight_formats()) {
      const WeightFormat format = info.format;
      const std::string name = isa + "matmul/" + info.name;
      const auto product = is_dense(format) ? multiply_dense : quantise_and_multiply;
      auto* bench = benchmark::RegisterBenchmark(
          name.c_str(), [set, format, product](benchmark::State& state) { product(state, *set, format); });
      bench->ArgName("rows")->Arg(1)->Arg(12)->Arg(64)->Arg(256)->Arg(512);
    }
    for (std::size_t element = 0; element < kElements; ++element) {
      const std::string suffix = std::string("/") + kElementNames[element];
      for (const auto& [name, step] : {std::pair("scores", &scores), std::pair("accumulate", &accumulate)}) {
        const auto run = [set, element, step = step](benchmark::State& state) { step(state, *set, element); };
        benchmark::RegisterBenchmark((isa + name + suffix).c_str(), run)->ArgName("rows")->Arg(kGroup)->Arg(64);
      }
    }
    for (const auto& [name, step] :
         {std::pair("code_scores", &code_scores), std::pair("code_accumulate", &code_accumulate)}) {
      for (const auto& [codes, bits, levels] :
           {std::tuple("/2bit", 2u, false), {"/4bit", 4u, false}, {"/4bit_levels", 4u, true}, {"/8bit", 8u, false}}) {
        const auto run = [set, step = step, bits = bits, levels = levels](benchmark::State& state) {
          step(state, *set, bits, levels);
        };
        auto* bench = benchmark::RegisterBenchmark((isa + name + codes).c_str(), run);
        bench->ArgNames({"head_dim", "rows"})->ArgsProduct({{64, 128}, {1, kGroup, 64}});
      }
    }
    benchmark::RegisterBenchmark((isa + "softmax_block").c_str(),
                                 [set](benchmark::State& state) { softmax_block(state, *set); })
        ->ArgName("rows")
        ->Arg(kGroup)
        ->Arg(64);
  }
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  cairn::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
