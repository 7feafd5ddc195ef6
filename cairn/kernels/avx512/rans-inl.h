// SPDX-License-Identifier: Apache-2.0
// Sixteen states of a range coder in a register: each takes its word, if it needs one, in the order of the lanes.
#pragma once

#include <immintrin.h>

#include <bit>

#include "cairn/kernels/rans-inl.h"

namespace cairn {
namespace {

bool read_symbols(const std::uint32_t* slots, std::uint32_t count, RansWords& words, std::uint8_t* symbols) {
  const __m512i low_bits = _mm512_set1_epi32((1 << kRansBits) - 1), twelve = _mm512_set1_epi32(0xfff);
  const __m512i low = _mm512_set1_epi32(kRansLow), one = _mm512_set1_epi32(1);
  __m512i states = _mm512_loadu_si512(words.states);
  std::uint32_t i = 0;
  // Loads read sixteen words, needed or not.
  for (; i < count && words.end - words.next >= kRansStates; i += kRansStates) {
    const __m512i slot = _mm512_i32gather_epi32(_mm512_and_si512(states, low_bits), slots, 4);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(symbols + i), _mm512_cvtepi32_epi8(_mm512_srli_epi32(slot, 24)));
    const __m512i frequency = _mm512_add_epi32(_mm512_and_si512(_mm512_srli_epi32(slot, 12), twelve), one);
    states = _mm512_add_epi32(_mm512_mullo_epi32(frequency, _mm512_srli_epi32(states, kRansBits)),
                              _mm512_and_si512(slot, twelve));
    const __mmask16 wants = _mm512_cmplt_epu32_mask(states, low);
    const __m512i next = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words.next)));
    states = _mm512_mask_or_epi32(states, wants, _mm512_slli_epi32(states, 16), _mm512_maskz_expand_epi32(wants, next));
    words.next += std::popcount(static_cast<unsigned>(wants));
  }
  _mm512_storeu_si512(words.states, states);
  return read_symbols_plain(slots, count - i, words, symbols + i);
}

}  // namespace
}  // namespace cairn
