// SPDX-License-Identifier: Apache-2.0
// Put and get rates of the Redis tier, to be set beside redis-benchmark -t set,get -d 1048576 -c 4:
//   store_redis --url redis://127.0.0.1:6379 --threads 4 --blocks 2000 --bytes 1048576 --batch 1
#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/store/redis/redis_tier.h"

namespace {

using namespace cairn;

std::shared_ptr<const BlockRecord> make_record(std::uint32_t seed, std::size_t bytes) {
  std::vector<std::byte> content(bytes);
  SeededRandom random(seed);
  for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
    const std::uint64_t word = random.next();
    std::memcpy(&content[i], &word, sizeof word);
  }
  BlockMeta meta{.key = Hasher("cairn.bench.v1").u32(seed).finish(),
                 .parent = {},
                 .recipe = {},
                 .tenant = 0,
                 .depth = 0,
                 .created_s = 1,
                 .expires_s = 0,
                 .parts = {{static_cast<std::uint32_t>(bytes), 0}}};
  const std::span<const std::byte> part = content;
  return BlockRecord::build(std::move(meta), {{part}});
}

// Blocks a second over all threads.
template <class F>
double rate(std::uint32_t threads, std::uint32_t blocks, F&& work) {
  const auto begun = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> all;
    for (std::uint32_t t = 0; t < threads; ++t) all.emplace_back([&, t] { work(t); });
  }
  return blocks / std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Rates of the Redis tier");
  RedisTierOptions options;
  std::uint32_t threads = 4, blocks = 2000, batch = 1;
  std::size_t bytes = 1 << 20, distinct = 64;
  app.add_option("--url", options.url)->required();
  app.add_option("--connections", options.connections);
  app.add_option("--window", options.window_bytes);
  app.add_option("--threads", threads);
  app.add_option("--blocks", blocks);
  app.add_option("--bytes", bytes, "payload of a block");
  app.add_option("--batch", batch, "blocks in one call");
  app.add_option("--distinct", distinct, "blocks that are told apart; each is erased before it is put again");
  CLI11_PARSE(app, argc, argv);
  auto tier = RedisTier::open(options);
  if (!tier) return std::fprintf(stderr, "%s\n", tier.error().message.c_str()), 1;
  std::vector<std::shared_ptr<const BlockRecord>> records;
  std::vector<Digest> keys;
  for (std::uint32_t i = 0; i < distinct; ++i) {
    records.push_back(make_record(i, bytes));
    keys.push_back(records.back()->meta().key);
  }
  const auto far = [] { return deadline_in(std::chrono::seconds(60)); };
  std::atomic<std::uint64_t> failed = 0;
  const std::uint32_t each = blocks / threads, share = static_cast<std::uint32_t>(distinct) / threads;
  // Every thread has blocks of its own, so that no put finds what another has written. The time that erasing takes
  // is taken off.
  std::vector<double> erasing(threads);
  const auto begun = std::chrono::steady_clock::now();
  (void)rate(threads, blocks, [&](std::uint32_t t) {
    const std::span own(records.data() + t * share, share);
    const std::span own_keys(keys.data() + t * share, share);
    for (std::uint32_t done = 0; done < each;) {
      const auto before = std::chrono::steady_clock::now();
      (void)(*tier)->erase(own_keys, far());
      erasing[t] += std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
      for (std::uint32_t i = 0; i + batch <= share && done < each; i += batch, done += batch) {
        for (const BlockStatus status : (*tier)->put(own.subspan(i, batch), far()))
          failed += status != BlockStatus::kOk;
      }
    }
  });
  const double all = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  double erased = 0;
  for (const double seconds : erasing) erased += seconds / threads;
  const double put_rate = blocks / (all - erased);
  (void)(*tier)->put(records, far());
  const double get_rate = rate(threads, blocks, [&](std::uint32_t t) {
    const std::span own_keys(keys.data() + t * share, share);
    std::uint32_t at = 0;
    for (std::uint32_t done = 0; done < each; done += batch, at = at + 2 * batch <= share ? at + batch : 0) {
      (*tier)->get(own_keys.subspan(at, batch), far(),
                   [&](std::size_t, BlockStatus status, auto) { failed += status != BlockStatus::kOk; });
    }
  });
  const nlohmann::json report = {{"put_per_s", put_rate},
                                 {"get_per_s", get_rate},
                                 {"failed", failed.load()},
                                 {"threads", threads},
                                 {"batch", batch},
                                 {"bytes", bytes},
                                 {"connections", options.connections},
                                 {"erase_s", erased}};
  std::printf("%s\n", report.dump().c_str());
  return failed == 0 ? 0 : 1;
}
