// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/html_text.h"

#include <cstdint>
#include <vector>

namespace cairn {
namespace {

struct Character {
  std::uint32_t code;
  std::string_view bytes;
};

// Malformed bytes come out as one U+FFFD each.
std::vector<Character> characters(std::string_view text) {
  std::vector<Character> all;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    std::size_t length = 1;
    if (lead >= 0xF0 && lead < 0xF8) {
      length = 4;
    } else if (lead >= 0xE0 && lead < 0xF0) {
      length = 3;
    } else if (lead >= 0xC2 && lead < 0xE0) {
      length = 2;
    }
    std::uint32_t code = lead < 0x80 ? lead : 0xFFFD;
    if (length > 1 && i + length <= text.size()) {
      code = lead & (0xFFU >> (length + 1));
      for (std::size_t k = 1; k < length; ++k) {
        const auto next = static_cast<unsigned char>(text[i + k]);
        if ((next & 0xC0) != 0x80) {
          code = 0xFFFD;
          length = 1;
          break;
        }
        code = code << 6 | (next & 0x3F);
      }
    } else {
      length = 1;
    }
    all.push_back({code, text.substr(i, length)});
    i += length;
  }
  return all;
}

bool unfit(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0xFFFD || code == 0x061C ||
         (code >= 0x200B && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF || (code >= 0xFFF0 && code <= 0xFFFF);
}

bool wide(std::uint32_t code) {
  return (code >= 0x1100 && code < 0x1160) || (code >= 0x2E80 && code < 0xA4D0) || (code >= 0xAC00 && code < 0xD7A4) ||
         (code >= 0xF900 && code < 0xFB00) || (code >= 0xFF00 && code < 0xFF61) || code >= 0x1F000;
}

}  // namespace

std::string html(std::string_view text) {
  std::string out;
  for (const Character& character : characters(text)) {
    switch (character.code) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += unfit(character.code) ? std::string_view("\xEF\xBF\xBD") : character.bytes;
    }
  }
  return out;
}

std::string shorten(std::string_view text, std::size_t most) {
  const std::vector<Character> all = characters(text);
  if (all.size() <= most) return std::string(text);
  const std::size_t tail = (most - 1) / 2;
  const std::size_t head = most - 1 - tail;
  std::string out;
  for (std::size_t i = 0; i < head; ++i) out += all[i].bytes;
  out += "…";
  for (std::size_t i = all.size() - tail; i < all.size(); ++i) out += all[i].bytes;
  return out;
}

std::string code_name(std::string_view name) {
  constexpr std::size_t kMax = 44;
  const std::string shown = shorten(name, kMax);
  return "<code" + (shown == name ? "" : " title=\"" + html(name) + "\"") + ">" + html(shown) + "</code>";
}

std::size_t text_columns(std::string_view text) {
  std::size_t columns = 0;
  for (const Character& character : characters(text)) columns += wide(character.code) ? 2 : 1;
  return columns;
}

std::string quote(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, 60)) out += c >= 0x20 && c < 0x7F && c != '\'' ? c : '?';
  return out + (text.size() > 60 ? "...'" : "'");
}

}  // namespace cairn
