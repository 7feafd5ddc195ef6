// SPDX-License-Identifier: Apache-2.0
// What a policy demotes goes to fewer bits instead of away (ZipCache, He et al. 2024, arXiv 2405.14256): its tokens are
// packed into pages of their own, in a form that says their codec (kDemotedForm). Functions without state that may be
// called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cairn/base/result.h"
#include "cairn/cache/cache_core.h"
#include "cairn/codec/codec.h"
#include "cairn/policy/policy.h"

namespace cairn::cache {

// Whether a codec can take over tokens of all of these layers: it encodes whole blocks without signals or codebooks,
// holds their shape, lies in the basis of their own codecs, and takes fewer bytes than each of these. kUnsupported with
// the codecs that can.
Status check_demotion(const Codec& codec, std::span<const LayerForms> tables);

// The form of the pages that a policy demotes to; kClosedForm where it demotes nothing. Requires: TokenPolicy::check().
std::uint32_t demoted_form(const PolicySpec& policy);

// Of the budget, for a block of a layer in this form.
std::size_t demoted_bytes(const LayerForms& forms, std::uint32_t form);

}  // namespace cairn::cache
