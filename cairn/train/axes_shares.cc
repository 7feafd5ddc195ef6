// SPDX-License-Identifier: Apache-2.0
#include "cairn/train/axes_shares.h"

#include <algorithm>
#include <cmath>

#include "cairn/codec/axes_table.h"

namespace cairn::train {
namespace {

constexpr std::uint32_t kBitsOfCode = 4;

// Mean squared error of the best levels for a normal variable, by bits (Max, 1960): even steps are hardly worse.
constexpr double kNormalError[] = {1.0, 0.3634, 0.1175, 0.03454, 0.009497};

// Of a code for axes of these variances, as if its bits were dealt out among them one by one, where each helps most.
double error_of(std::span<const double> variances) {
  std::uint32_t bits[1u << (kShareKinds - 1)] = {};
  double sum = 0;
  for (const double variance : variances) sum += variance;
  for (std::uint32_t bit = 0; bit < kBitsOfCode; ++bit) {
    std::size_t best = 0;
    double most = -1;
    for (std::size_t i = 0; i < variances.size(); ++i) {
      const double less = variances[i] * (kNormalError[bits[i]] - kNormalError[bits[i] + 1]);
      if (less > most) most = less, best = i;
    }
    ++bits[best];
    sum -= most;
  }
  return sum;
}

// `axes` axes from `first` on into groups of `width`: the next goes where the product so far is least, so that the
// widest meet the narrowest.
std::vector<std::vector<std::uint32_t>> grouped(std::span<const double> variance, std::uint32_t first,
                                                std::uint32_t axes, std::uint32_t width) {
  std::vector<std::vector<std::uint32_t>> groups(axes / width);
  std::vector<double> logs(groups.size());
  const double least = std::log(variance.back());
  for (std::uint32_t axis = first; axis < first + axes; ++axis) {
    std::size_t best = groups.size();
    for (std::size_t g = 0; g < groups.size(); ++g) {
      if (groups[g].size() == width) continue;
      if (best == groups.size() || logs[g] < logs[best]) best = g;
    }
    groups[best].push_back(axis);
    logs[best] += std::log(variance[axis]) - least + 1e-9;
  }
  return groups;
}

SharesChoice choice_of(const std::array<std::uint8_t, kShareKinds>& shares, std::span<const double> variance,
                       std::uint32_t block) {
  SharesChoice choice{.shares = shares, .axes = std::vector<std::uint32_t>(variance.size())};
  std::uint32_t first = 0;
  for (std::uint32_t kind = 0; kind < kShareKinds; ++kind) {
    const std::uint32_t width = 1u << kind, count = shares[kind] * block * width;
    const auto groups = grouped(variance, first, count, width);
    for (std::size_t g = 0; g < groups.size(); ++g) {
      std::vector<double> variances;
      for (std::uint32_t i = 0; i < width; ++i) {
        choice.axes[first + g / block * block * width + g % block + i * block] = groups[g][i];
        variances.push_back(variance[groups[g][i]]);
      }
      choice.distortion += error_of(variances);
    }
    choice.codes += shares[kind] * block;
    first += count;
  }
  return choice;
}

}  // namespace

std::vector<SharesChoice> shares_choices(std::span<const double> variance, PageSlot slot) {
  const std::uint32_t block = codecs::axes_block(slot), reads = static_cast<std::uint32_t>(variance.size()) / block;
  std::vector<SharesChoice> choices;
  for (std::uint32_t eights = 0; eights <= reads / 8; ++eights) {
    for (std::uint32_t fours = 0; fours <= (reads - 8 * eights) / 4; ++fours) {
      const std::uint32_t rest = reads - 8 * eights - 4 * fours;
      for (std::uint32_t pairs = 0; pairs <= rest / 2; ++pairs) {
        const auto byte = [](std::uint32_t count) { return static_cast<std::uint8_t>(count); };
        choices.push_back(choice_of({byte(rest - 2 * pairs), byte(pairs), byte(fours), byte(eights)}, variance, block));
      }
    }
  }
  return choices;
}

std::size_t coarse_choice(std::span<const SharesChoice> choices) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].shares[3] == 0 && choices[i].codes < choices[best].codes) best = i;
  }
  return best;
}

std::vector<std::size_t> choose_shares(std::span<const HeadChoices> heads, std::size_t max_codes) {
  const auto at_price = [&](double price) {
    std::vector<std::size_t> picks;
    for (const HeadChoices& head : heads) {
      const auto total = [&](const SharesChoice& choice) {
        return head.cost * choice.distortion + price * choice.codes;
      };
      picks.push_back(
          static_cast<std::size_t>(std::ranges::min_element(head.choices, {}, total) - head.choices.begin()));
    }
    return picks;
  };
  const auto codes_of = [&](const std::vector<std::size_t>& picks) {
    std::size_t codes = 0;
    for (std::size_t h = 0; h < heads.size(); ++h) codes += heads[h].choices[picks[h]].codes;
    return codes;
  };
  if (std::vector<std::size_t> all = at_price(0); codes_of(all) <= max_codes) return all;
  double low = 1e-30, high = 1e30;  // too many codes at the one price, not too many at the other
  for (int i = 0; i < 200; ++i) {
    const double price = std::sqrt(low) * std::sqrt(high);
    (codes_of(at_price(price)) > max_codes ? low : high) = price;
  }
  return at_price(high);
}

}  // namespace cairn::train
