// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "cairn/base/random.h"

namespace cairn {
namespace {

std::unexpected<Error> bad_option(const char* name, const std::string& value, const char* range) {
  return fail(ErrorCode::kInvalidArgument, std::string(name) + " is " + value + ": it must be " + range);
}

// A total order, so that results do not depend on how a library sorts.
constexpr auto kMoreLikely = [](const auto& a, const auto& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
};

}  // namespace

SamplerRandom::SamplerRandom(std::uint64_t seed) {
  SeededRandom spread(seed);  // even a small seed over the whole state
  for (std::uint64_t& word : state_) word = spread.next();
}

double SamplerRandom::next_unit() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return static_cast<double>(result >> 11) * 0x1.0p-53;
}

Result<Sampler> Sampler::make(const SamplerOptions& o) {
  // Written so that NaN fails every test.
  if (!(o.temperature >= 0.0F && o.temperature <= 100.0F)) {
    return bad_option("temperature", std::to_string(o.temperature), "between 0 (greedy) and 100");
  }
  if (o.top_k < 0) return bad_option("top-k", std::to_string(o.top_k), "0 (off) or more");
  if (!(o.top_p > 0.0F && o.top_p <= 1.0F)) {
    return bad_option("top-p", std::to_string(o.top_p), "above 0 and at most 1 (off)");
  }
  if (!(o.min_p >= 0.0F && o.min_p <= 1.0F))
    return bad_option("min-p", std::to_string(o.min_p), "between 0 (off) and 1");
  if (!(o.repetition_penalty > 0.0F && o.repetition_penalty <= 100.0F)) {
    return bad_option("repetition penalty", std::to_string(o.repetition_penalty), "above 0 and at most 100 (1 is off)");
  }
  if (o.repetition_window < 0) {
    return bad_option("repetition window", std::to_string(o.repetition_window), "0 (off) or more");
  }
  return Sampler(o);
}

void Sampler::accept(TokenId token) {
  if (options_.repetition_window == 0) return;
  recent_.push_back(token);
  ++recent_count_[token];
  if (recent_.size() > static_cast<std::size_t>(options_.repetition_window)) {
    const auto oldest = recent_count_.find(recent_.front());
    if (--oldest->second == 0) recent_count_.erase(oldest);
    recent_.pop_front();
  }
}

Status Sampler::load(std::span<const float> logits) {
  if (logits.empty()) return fail(ErrorCode::kInvalidArgument, "there are no logits to sample from");
  candidates_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]) || logits[i] == std::numeric_limits<float>::infinity()) {
      return fail(ErrorCode::kCorrupt, "the model gave no finite logit for token " + std::to_string(i) +
                                           ": its weights are damaged or overflow, check the file");
    }
    candidates_.push_back({static_cast<TokenId>(i), logits[i]});
  }
  for (const auto& [id, count] : recent_count_) {
    if (id < 0 || static_cast<std::size_t>(id) >= logits.size()) continue;
    float& logit = candidates_[id].logit;
    logit = logit > 0.0F ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    // A penalty below 1 can push a huge logit over the edge.
    logit = std::min(logit, std::numeric_limits<float>::max());
  }
  std::erase_if(candidates_, [](const Candidate& c) { return c.logit == -std::numeric_limits<float>::infinity(); });
  if (candidates_.empty()) return fail(ErrorCode::kCorrupt, "the model excludes every token: check the file");
  return {};
}

void Sampler::keep_top_k() {
  const auto k = static_cast<std::size_t>(options_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  std::ranges::nth_element(candidates_, candidates_.begin() + static_cast<std::ptrdiff_t>(k), kMoreLikely);
  candidates_.resize(k);
  std::ranges::sort(candidates_, {}, &Candidate::id);
}

void Sampler::keep_top_p() {
  if (options_.top_p >= 1.0F) return;
  const float best = std::ranges::max_element(candidates_, {}, &Candidate::logit)->logit;
  const auto weight = [&](const Candidate& c) { return std::exp(double{c.logit} - best); };
  double total = 0;
  for (const Candidate& c : candidates_) total += weight(c);
  // A heap gives the most likely ones first without sorting the rest.
  const auto less_likely = [](const Candidate& a, const Candidate& b) { return kMoreLikely(b, a); };
  std::ranges::make_heap(candidates_, less_likely);
  auto heap_end = candidates_.end();
  double reached = 0;
  while (heap_end != candidates_.begin() && reached < options_.top_p * total) {
    std::ranges::pop_heap(candidates_.begin(), heap_end, less_likely);
    --heap_end;
    reached += weight(*heap_end);
  }
  candidates_.erase(candidates_.begin(), heap_end);
  std::ranges::sort(candidates_, {}, &Candidate::id);
}

void Sampler::keep_min_p() {
  if (options_.min_p <= 0.0F) return;
  const float best = std::ranges::max_element(candidates_, {}, &Candidate::logit)->logit;
  const double floor = best + std::log(double{options_.min_p});
  std::erase_if(candidates_, [&](const Candidate& c) { return c.logit < floor; });
}

TokenId Sampler::draw() {
  const float best = std::ranges::max_element(candidates_, {}, &Candidate::logit)->logit;
  const auto weight = [&](const Candidate& c) { return std::exp((double{c.logit} - best) / options_.temperature); };
  double total = 0;
  for (const Candidate& c : candidates_) total += weight(c);
  double left = random_.next_unit() * total;
  for (const Candidate& c : candidates_) {
    left -= weight(c);
    if (left < 0) return c.id;
  }
  return candidates_.back().id;  // rounding left a sliver of the last one's share
}

Result<TokenId> Sampler::sample(std::span<const float> logits) {
  CAIRN_TRY_VOID(load(logits));
  if (options_.temperature == 0.0F) return std::ranges::min_element(candidates_, kMoreLikely)->id;
  keep_top_k();
  keep_top_p();
  keep_min_p();
  return draw();
}

}  // namespace cairn
