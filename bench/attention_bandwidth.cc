// SPDX-License-Identifier: Apache-2.0
// Time and bytes per second of attention over the pages of codecs when one token is decoded, beside a plain read of the
// same memory by the same threads. Within a round all codecs and their reads alternate, so that they see the same
// machine.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/base/aligned_buffer.h"
#include "cairn/base/clock.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::string_view kYardstick = "raw_f16";
constexpr std::size_t kReadPieceBytes = std::size_t{1} << 20;

struct Options {
  std::vector<std::string> codecs = {"raw_f16"};
  std::uint32_t depth = 8192;
  std::uint32_t layers = 16;
  std::uint32_t heads = 32;
  PageShape shape = {.kv_heads = 8, .head_dim = 64};
  unsigned threads = 2;
  int rounds = 15;
  bool json = false;
};

// Pages of one sequence as a pool lays them out: block by block, within a block layer by layer K and V.
class Pages {
 public:
  static Result<std::unique_ptr<Pages>> make(const Options& options, const Codec& codec) {
    auto made = std::make_unique<Pages>();
    Pages& pages = *made;
    pages.formats_ = {PageFormat{&codec, options.shape, PageSlot::kKeys},
                      PageFormat{&codec, options.shape, PageSlot::kValues}};
    pages.key_bytes_ = codec.page_bytes(pages.formats_[0]);
    pages.value_bytes_ = codec.page_bytes(pages.formats_[1]);
    const std::uint32_t blocks = (options.depth + kBlockTokens - 1) / kBlockTokens;
    pages.memory_ = MappedMemory(std::size_t{blocks} * options.layers * (pages.key_bytes_ + pages.value_bytes_));
    if (pages.memory_.data() == nullptr)
      return fail(ErrorCode::kOutOfBudget,
                  "there is not enough memory for these pages; try fewer layers or less depth");
    pages.positions_.resize(options.depth);
    std::iota(pages.positions_.begin(), pages.positions_.end(), 0);
    pages.views_.resize(options.layers);
    for (std::uint32_t b = 0; b < blocks; ++b) {
      for (std::uint32_t l = 0; l < options.layers; ++l) pages.fill(options, b, l);
    }
    return made;
  }

  std::span<const PageView> of_layer(std::uint32_t l) const { return views_[l]; }
  const MappedMemory& memory() const { return memory_; }

 private:
  // Attention's time does not depend on the values, so that the blocks of a layer may share one block's random ones.
  void fill(const Options& options, std::uint32_t b, std::uint32_t l) {
    const std::size_t pair_bytes = key_bytes_ + value_bytes_;
    std::byte* keys = memory_.data() + (std::size_t{b} * options.layers + l) * pair_bytes;
    std::byte* values = keys + key_bytes_;
    if (b == 0 && l == 0) {
      std::mt19937 bits(1);
      std::normal_distribution<float> normal;
      std::vector<float> row(options.shape.values_per_token());
      for (const auto& [format, page] : {std::pair(formats_[0], keys), std::pair(formats_[1], values)}) {
        const PageFormat open = open_format(format);
        MappedMemory memory(open.codec->page_bytes(open));
        std::byte* const into = format.codec->encode != nullptr ? memory.data() : page;
        for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
          for (float& value : row) value = normal(bits);
          open.codec->store_token(open, into, t, row.data());
        }
        const std::vector<float> mass(std::size_t{options.shape.kv_heads} * kBlockTokens, 1.0f);
        if (format.codec->encode != nullptr) format.codec->encode(format, {into, mass.data()}, page);
      }
    } else {
      std::memcpy(keys, memory_.data(), pair_bytes);
    }
    const std::uint32_t first = b * kBlockTokens, count = std::min(kBlockTokens, options.depth - first);
    views_[l].push_back({.keys = keys,
                         .values = values,
                         .key_format = &formats_[0],
                         .value_format = &formats_[1],
                         .positions = positions_.data() + first,
                         .count = count,
                         .min_position = static_cast<std::int32_t>(first),
                         .max_position = static_cast<std::int32_t>(first + count - 1)});
  }

  std::array<PageFormat, 2> formats_;
  std::size_t key_bytes_ = 0;
  std::size_t value_bytes_ = 0;
  MappedMemory memory_;
  std::vector<std::int32_t> positions_;
  std::vector<std::vector<PageView>> views_;
};

double time_attention(Attention& attention, const Options& options, const Pages& pages, ThreadPool& pool,
                      const std::vector<float>& q, std::vector<float>& out) {
  const auto position = static_cast<std::int32_t>(options.depth);
  const Clock::time_point start = Clock::now();
  for (std::uint32_t l = 0; l < options.layers; ++l) {
    const AttendRows rows = {.q = q.data(),
                             .positions = &position,
                             .rows = 1,
                             .pages = pages.of_layer(l),
                             .more_pages = {},
                             .out = out.data()};
    attention.attend({&rows, 1}, {.shape = options.shape, .heads = options.heads}, pool);
  }
  return seconds_since(start);
}

// Independent sums keep several loads in flight; the compiler makes vectors of them.
std::uint64_t sum_bytes(const std::byte* data, std::size_t bytes) {
  std::uint64_t sums[32] = {};
  for (std::size_t i = 0; i + sizeof sums <= bytes; i += sizeof sums) {
    std::uint64_t values[32];
    std::memcpy(values, data + i, sizeof values);
    for (std::size_t lane = 0; lane < 32; ++lane) sums[lane] += values[lane];
  }
  return std::accumulate(std::begin(sums), std::end(sums), std::uint64_t{0});
}

double time_read(const MappedMemory& memory, ThreadPool& pool, std::atomic<std::uint64_t>& sink) {
  const std::size_t pieces = (memory.size() + kReadPieceBytes - 1) / kReadPieceBytes;
  const Clock::time_point start = Clock::now();
  pool.run(pieces, [&](std::size_t piece, unsigned) {
    const std::size_t first = piece * kReadPieceBytes;
    sink += sum_bytes(memory.data() + first, std::min(kReadPieceBytes, memory.size() - first));
  });
  return seconds_since(start);
}

double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Json spread_json(const std::vector<double>& values) {
  return {{"median", median_of(values)},
          {"min", *std::ranges::min_element(values)},
          {"max", *std::ranges::max_element(values)}};
}

// One codec's pages and what was measured on them, one value of a round.
struct Subject {
  const Codec* codec = nullptr;
  std::unique_ptr<Pages> pages;
  std::vector<double> attend_s, read_s;

  double bytes() const { return static_cast<double>(pages->memory().size()); }
  std::vector<double> rates(const std::vector<double>& seconds) const {
    std::vector<double> rates;
    for (const double s : seconds) rates.push_back(bytes() / s);
    return rates;
  }
};

// Of rounds, each with its own yardstick.
double median_ratio(const std::vector<double>& values, const std::vector<double>& yardsticks) {
  std::vector<double> ratios(values.size());
  std::ranges::transform(values, yardsticks, ratios.begin(), std::divides());
  return median_of(ratios);
}

Json subject_json(const Options& options, const Subject& subject, const Subject* yardstick) {
  const PageFormat keys = {subject.codec, options.shape, PageSlot::kKeys},
                   values = {subject.codec, options.shape, PageSlot::kValues};
  std::vector<double> attend_ms = subject.attend_s;
  for (double& value : attend_ms) value *= 1000;
  Json json = {{"codec", subject.codec->name},
               {"bits_per_value", (bits_per_value(keys) + bits_per_value(values)) / 2},
               {"bytes", subject.pages->memory().size()},
               {"attention_ms", spread_json(attend_ms)},
               {"attention_bytes_per_s", spread_json(subject.rates(subject.attend_s))},
               {"read_bytes_per_s", spread_json(subject.rates(subject.read_s))},
               {"share", median_ratio(subject.read_s, subject.attend_s)}};  // of the read's rate
  if (yardstick != nullptr) json["speed_to_raw_f16"] = median_ratio(yardstick->attend_s, subject.attend_s);
  return json;
}

Result<std::vector<Subject>> make_subjects(const Options& options) {
  std::vector<Subject> subjects;
  for (const std::string& name : options.codecs) {
    Subject& subject = subjects.emplace_back();
    CAIRN_TRY(subject.codec, find_codec(name));
    if (subject.codec->needs_codebook) {
      return fail(ErrorCode::kUnsupported, "codec '" + name +
                                               "' has tables of a model, and there is none here: measure "
                                               "it with 'cairn bench --codec " +
                                               name + "+codebooks=FILE'");
    }
    CAIRN_TRY(subject.pages, Pages::make(options, *subject.codec));
  }
  return subjects;
}

Result<Json> measure(const Options& options) {
  CAIRN_TRY(std::vector<Subject> subjects, make_subjects(options));
  ThreadPool pool(options.threads);
  Attention attention;
  const std::vector<float> q(std::size_t{options.heads} * options.shape.head_dim, 0.1f);
  std::vector<float> out(q.size());
  std::atomic<std::uint64_t> sink{0};
  for (int round = -1; round < options.rounds; ++round) {  // the first round warms up
    for (Subject& subject : subjects) {
      const double attend_s = time_attention(attention, options, *subject.pages, pool, q, out);
      const double read_s = time_read(subject.pages->memory(), pool, sink);
      if (round < 0) continue;
      subject.attend_s.push_back(attend_s);
      subject.read_s.push_back(read_s);
    }
  }
  const auto found = std::ranges::find(subjects, kYardstick, [](const Subject& s) { return s.codec->name; });
  const Subject* yardstick = found == subjects.end() ? nullptr : &*found;
  Json report = {{"isa", kernels().name},
                 {"threads", pool.size()},
                 {"depth", options.depth},
                 {"layers", options.layers},
                 {"heads", options.heads},
                 {"kv_heads", options.shape.kv_heads},
                 {"head_dim", options.shape.head_dim},
                 {"rounds", options.rounds},
                 {"codecs", Json::array()}};
  for (const Subject& subject : subjects) report["codecs"].push_back(subject_json(options, subject, yardstick));
  return report;
}

void print_text(const Json& report) {
  std::printf("depth %u, %u layers, %u heads over %u KV heads of %u, %u threads, %s, medians (min-max) of %d rounds\n",
              report.at("depth").get<unsigned>(), report.at("layers").get<unsigned>(),
              report.at("heads").get<unsigned>(), report.at("kv_heads").get<unsigned>(),
              report.at("head_dim").get<unsigned>(), report.at("threads").get<unsigned>(),
              report.at("isa").get<std::string>().c_str(), report.at("rounds").get<int>());
  std::printf("%-14s %6s %8s %25s %8s %8s %7s %10s\n", "codec", "bits", "MiB", "ms per token", "GB/s", "read", "share",
              "x raw_f16");
  for (const Json& codec : report.at("codecs")) {
    const auto number = [&codec](const char* key, const char* what) { return codec.at(key).at(what).get<double>(); };
    char times[64];
    std::snprintf(times, sizeof times, "%.3f (%.3f-%.3f)", number("attention_ms", "median"),
                  number("attention_ms", "min"), number("attention_ms", "max"));
    std::printf("%-14s %6.2f %8.1f %25s %8.1f %8.1f %5.0f %%", codec.at("codec").get<std::string>().c_str(),
                codec.at("bits_per_value").get<double>(), codec.at("bytes").get<double>() / (1 << 20), times,
                number("attention_bytes_per_s", "median") / 1e9, number("read_bytes_per_s", "median") / 1e9,
                100 * codec.at("share").get<double>());
    if (codec.contains("speed_to_raw_f16")) std::printf(" %10.2f", codec.at("speed_to_raw_f16").get<double>());
    std::printf("\n");
  }
}

Status run(const Options& options) {
  if (options.heads % options.shape.kv_heads != 0 || options.shape.head_dim % 8 != 0)
    return fail(ErrorCode::kInvalidArgument, "--heads must be a multiple of --kv-heads, and --head-dim of 8");
  if (!forced_isa_error().empty()) return fail(ErrorCode::kUnsupported, std::string(forced_isa_error()));
  CAIRN_TRY(const Json report, measure(options));
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
  CLI::App app("Measures attention over the pages of one decoded token against a plain read of the same memory.");
  app.add_option("--codec", options.codecs, "How the pages are encoded; several alternate, as raw_f16,tok4,kivi2-g64")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--depth", options.depth, "Tokens in the cache")->check(CLI::Range(1, 1 << 24))->capture_default_str();
  app.add_option("--layers", options.layers, "Layers")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--heads", options.heads, "Query heads")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--kv-heads", options.shape.kv_heads, "KV heads")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--head-dim", options.shape.head_dim, "Channels of a head")
      ->check(CLI::Range(8, 1024))
      ->capture_default_str();
  app.add_option("-t,--threads", options.threads, "Threads; 0 is one per core")->capture_default_str();
  app.add_option("--rounds", options.rounds, "Measurements of each, alternating")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  app.add_flag("--json", options.json, "Print JSON");
  CLI11_PARSE(app, argc, argv);
  if (const cairn::Status status = cairn::run(options); !status) {
    std::cerr << "attention_bandwidth: " << status.error().message << '\n';
    return 1;
  }
  return 0;
}
