// SPDX-License-Identifier: Apache-2.0
// Plain prose that says nothing about any question.
#pragma once

#include <span>
#include <string_view>

namespace cairn {

// Single sentences, each with its full stop.
std::span<const std::string_view> filler_sentences();

}  // namespace cairn
