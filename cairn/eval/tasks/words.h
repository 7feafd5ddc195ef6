// SPDX-License-Identifier: Apache-2.0
// What contexts are made of. Words: everyday English ones of four to eight lower-case letters, for keys, lines, labels
// and function bodies; each occurs once, in alphabetical order. Sentences: plain prose that says nothing about any
// question. Adding or removing one changes every session that is drawn from them.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/random.h"

namespace cairn::tasks {

std::span<const std::string_view> common_words();

// `count` different words in random order. Requires: count <= common_words().size().
std::vector<std::string_view> draw_words(std::size_t count, SeededRandom& random);

// `count` different keys in random order: single words as long as they last, else all of them pairs of words.
std::vector<std::string> draw_keys(std::size_t count, SeededRandom& random);

std::string join_words(std::span<const std::string_view> words);

std::string draw_digits(std::size_t count, SeededRandom& random);

// Single sentences, each with its full stop.
std::span<const std::string_view> filler_sentences();

}  // namespace cairn::tasks
