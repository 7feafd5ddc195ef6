// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/encoding.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

namespace cairn {
namespace {

struct Job {
  const SideForms* side;
  const std::byte* open;
  const float* mass;
  PageRef page;
};

// From sums over the queries that saw a token to means, so that early tokens are not preferred for being seen by more.
std::vector<float> mean_mass(const LayerTable::Entry& entry, std::uint32_t kv_heads) {
  std::vector<float> mean = entry.mass;
  mean.resize(std::size_t{kv_heads} * kBlockTokens);
  for (std::uint32_t h = 0; h < kv_heads; ++h) {
    for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
      float& mass = mean[h * kBlockTokens + t];
      mass = mass >= 0.0f ? mass / static_cast<float>(kBlockTokens - t + entry.later_probes) : 0.0f;  // no NaN
    }
  }
  return mean;
}

PageRef reopened(const SideForms& side, const PageRef& page, Reservation& room) {
  PageRef open = room.take(side.open_bytes, kOpenForm);
  const std::size_t width = side.open.shape.values_per_token();
  std::vector<float> rows(kBlockTokens * width);
  side.settled.codec->decode(side.settled, page.data(), kBlockTokens, rows.data());
  for (std::uint32_t t = 0; t < kBlockTokens; ++t) {
    side.open.codec->store_token(side.open, open.data(), t, rows.data() + t * width);
  }
  return open;
}

}  // namespace

void encode_blocks(CacheCore& core, LayerTable& layer, std::span<const std::size_t> blocks, Reservation& room,
                   ThreadPool& pool) {
  const LayerForms& forms = layer.forms();
  std::vector<Job> jobs;
  std::vector<std::vector<float>> means(blocks.size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const LayerTable::Entry& entry = layer.entry(blocks[i]);
    if (entry.unencodable) {
      core.blocks_kept_raw.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    if (forms.needs_mass()) means[i] = mean_mass(entry, forms.keys.open.shape.kv_heads);
    const float* mass = means[i].empty() ? nullptr : means[i].data();
    for (const auto& [side, open] : {std::pair(&forms.keys, &entry.keys), std::pair(&forms.values, &entry.values)}) {
      if (!side->encodes()) continue;
      jobs.push_back({side, open->data(), mass, room.take(side->settled_bytes, kSettledForm)});
    }
  }
  pool.run(jobs.size(), [&](std::size_t i, unsigned) {
    const Job& job = jobs[i];
    job.side->settled.codec->encode(job.side->settled, {job.open, job.mass}, job.page.data());
  });
  auto job = jobs.begin();
  for (const std::size_t block : blocks) {
    PageRef keys, values;
    const bool encoded = !layer.entry(block).unencodable;
    if (encoded && forms.keys.encodes()) keys = std::move((job++)->page);
    if (encoded && forms.values.encodes()) values = std::move((job++)->page);
    layer.settle(block, std::move(keys), std::move(values));
  }
}

void reopen_block(LayerTable& layer, std::size_t block, Reservation& room) {
  const LayerTable::Entry& entry = layer.entry(block);
  const LayerForms& forms = layer.forms();
  const auto open = [&](const SideForms& side, const PageRef& page) {
    return page.form() == kOpenForm ? page : reopened(side, page, room);
  };
  layer.reopen(block, open(forms.keys, entry.keys), open(forms.values, entry.values));
}

bool fits_f16(std::span<const float> values) {
  std::uint32_t largest = 0;
  for (const float value : values) largest = std::max(largest, std::bit_cast<std::uint32_t>(value) & 0x7fffffffu);
  return largest <= std::bit_cast<std::uint32_t>(65504.0f);
}

}  // namespace cairn
