// SPDX-License-Identifier: Apache-2.0
// Attention over keys in which the values lie gives the bits that the same values in pages of their own would give.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <numeric>
#include <vector>

#include "cairn/attention/attend.h"
#include "cairn/testing/codec_pages.h"
#include "cairn/testing/random.h"

namespace cairn {
namespace {

using testing::random_floats;

// The same tokens twice: with values in their keys, and with pages of values as long as keys that begin like them.
struct Twins {
  PageShape latent, plain;
  PageFormat latent_keys, plain_keys, plain_values;
  std::vector<std::int32_t> positions;
  std::deque<testing::PageMemory> storage;
  std::vector<PageView> latent_pages, plain_pages;

  Twins(const Codec& codec, PageShape shape, std::size_t tokens)
      : latent(shape),
        plain{shape.kv_heads, shape.head_dim},
        latent_keys{&codec, latent, PageSlot::kKeys},
        plain_keys{&codec, plain, PageSlot::kKeys},
        plain_values{&codec, plain, PageSlot::kValues},
        positions(tokens) {
    std::iota(positions.begin(), positions.end(), 0);
    const std::vector<float> rows = random_floats(tokens * shape.values_per_token(), 1);
    for (std::size_t first = 0; first < tokens; first += kBlockTokens) {
      const auto count = static_cast<std::uint32_t>(std::min<std::size_t>(kBlockTokens, tokens - first));
      const auto of_page = std::span(rows).subspan(first * shape.values_per_token());
      const std::byte* once = storage.emplace_back(testing::make_page(latent_keys, of_page, count)).data();
      const std::byte* keys = storage.emplace_back(testing::make_page(plain_keys, of_page, count)).data();
      const std::byte* values = storage.emplace_back(testing::make_page(plain_values, of_page, count)).data();
      PageView view{.positions = positions.data() + first,
                    .count = count,
                    .min_position = static_cast<std::int32_t>(first),
                    .max_position = static_cast<std::int32_t>(first + count - 1)};
      view.keys = view.values = once;
      view.key_format = view.value_format = &latent_keys;
      latent_pages.push_back(view);
      view.keys = keys;
      view.values = values;
      view.key_format = &plain_keys;
      view.value_format = &plain_values;
      plain_pages.push_back(view);
    }
  }
};

std::vector<float> attended(std::span<const PageView> pages, PageShape shape, std::uint32_t heads,
                            const std::vector<float>& q, const std::vector<std::int32_t>& positions, unsigned threads) {
  ThreadPool pool(threads);
  Attention attention;
  std::vector<float> out(positions.size() * heads * shape.value_dim());
  const AttendRows rows[] = {{.q = q.data(),
                              .positions = positions.data(),
                              .rows = static_cast<std::uint32_t>(positions.size()),
                              .pages = pages,
                              .more_pages = {},
                              .out = out.data()}};
  attention.attend(rows, {.shape = shape, .heads = heads}, pool);
  return out;
}

TEST(ValuesInKeys, GiveTheBitsOfValuesOfTheirOwn) {
  for (const char* name : {"raw_f16", "raw_bf16", "raw_f32"}) {
    for (const PageShape shape : {PageShape{1, 24, 16}, PageShape{2, 24, 24}, PageShape{1, 576, 512}}) {
      for (const std::size_t tokens : {1u, 75u, 1100u}) {  // beyond 16 pages partial results are merged
        const Twins twins(**find_codec(name), shape, tokens);
        const auto last = static_cast<std::int32_t>(tokens - 1);
        const std::vector<std::int32_t> rows = {0, last / 2, last};
        const std::uint32_t heads = 6;
        const auto q = random_floats(rows.size() * heads * shape.head_dim, 3, 0.3f);
        const auto expected = attended(twins.plain_pages, twins.plain, heads, q, rows, 1);
        for (const unsigned threads : {1u, 8u}) {
          const auto got = attended(twins.latent_pages, twins.latent, heads, q, rows, threads);
          for (std::size_t head = 0; head < rows.size() * heads; ++head) {
            ASSERT_EQ(std::memcmp(got.data() + head * shape.value_dim(), expected.data() + head * shape.head_dim,
                                  shape.value_dim() * sizeof(float)),
                      0)
                << name << ", " << shape.head_dim << " channels, " << tokens << " tokens, head " << head;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace cairn
