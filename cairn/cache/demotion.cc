// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/demotion.h"

#include <algorithm>
#include <string>

namespace cairn::cache {
namespace {

bool can_hold(const Codec& codec, const PageForms& forms) {
  const Codec& own = *forms.closed.codec;
  const bool encodes = codec.encode != nullptr && !codec.signals.mass && !codec.needs_codebook;
  if (!encodes || codec.basis != own.basis || !check_shape(codec, forms.closed.shape)) return false;
  const std::size_t bytes = codec.page_bytes({.codec = &codec, .shape = forms.closed.shape, .slot = forms.closed.slot});
  return PagePool::occupied_bytes(bytes) < PagePool::occupied_bytes(forms.closed_bytes);
}

bool can_hold(const Codec& codec, const LayerForms& forms) {
  return std::ranges::all_of(forms.slots(), [&](PageSlot slot) { return can_hold(codec, forms.of(slot)); });
}

}  // namespace

Status check_demotion(const Codec& codec, std::span<const LayerForms> tables) {
  const auto refuses = [](const Codec& other) {
    return [&](const LayerForms& forms) { return !can_hold(other, forms); };
  };
  const auto table = std::ranges::find_if(tables, refuses(codec));
  if (table == tables.end()) return {};
  std::string fit;
  for (const Codec& other : codec_table()) {
    if (std::ranges::none_of(tables, refuses(other))) fit += (fit.empty() ? "" : ", ") + std::string(other.name);
  }
  std::string own(table->keys.closed.codec->name);
  if (table->values.exists() && table->values.closed.codec != table->keys.closed.codec) {
    own += "/" + std::string(table->values.closed.codec->name);
  }
  return fail(ErrorCode::kUnsupported, "tokens of codec '" + own + "' cannot be demoted to '" +
                                           std::string(codec.name) + "', which must have fewer bits and the same " +
                                           "basis; " +
                                           (fit.empty() ? "no codec can take them" : "choose one of: " + fit));
}

std::uint32_t demoted_form(const PolicySpec& policy) {
  const auto codec = std::ranges::find(codec_table(), policy.demote, &Codec::name);
  if (policy.demote.empty() || codec == codec_table().end()) return kClosedForm;
  return kDemotedForm + static_cast<std::uint32_t>(codec - codec_table().begin());
}

std::size_t demoted_bytes(const LayerForms& forms, std::uint32_t form) {
  std::size_t bytes = 0;
  for (const PageSlot slot : forms.slots()) bytes += PagePool::occupied_bytes(forms.of(slot).page_bytes(form));
  return bytes;
}

}  // namespace cairn::cache
