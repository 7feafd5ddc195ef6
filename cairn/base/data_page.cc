// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/data_page.h"

#include <utility>

#include "cairn/base/hash.h"

namespace cairn {

std::string within_script(std::string_view json) {
  std::string out;
  for (const char c : json) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

std::string page_with_data(std::string_view page, std::string_view json, std::string_view domain) {
  const std::string nonce = Hasher(domain).text(json).finish().hex();
  const std::pair<std::string_view, std::string_view> parts[] = {{"@NONCE@", nonce}, {"@RESULTS@", json}};
  std::string out;
  for (std::string_view rest = page; !rest.empty();) {
    std::size_t end = rest.size();
    const std::pair<std::string_view, std::string_view>* next = nullptr;
    for (const auto& part : parts) {
      if (const std::size_t at = rest.find(part.first); at < end) {
        end = at;
        next = &part;
      }
    }
    out += rest.substr(0, end);
    if (next != nullptr) out += next->second;
    rest.remove_prefix(end + (next == nullptr ? 0 : next->first.size()));
  }
  return out;
}

}  // namespace cairn
