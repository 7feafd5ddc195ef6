// SPDX-License-Identifier: Apache-2.0
// A page with the data that it shows: one HTML file that loads nothing and keeps whatever the data say as text.
#pragma once

#include <string>
#include <string_view>

namespace cairn {

// ASCII JSON as it may stand within <script>: only "<" can end or escape a script, and in JSON it stands only in
// strings, where it may be written otherwise.
std::string within_script(std::string_view json);

// `page` with @RESULTS@ replaced by `json` (which went through within_script()) and each @NONCE@ by a hash of it, under
// which alone the page's scripts run: a text that knows the nonce would have to hold a hash of itself. Marks within
// `json` stay as they are. Equal arguments give equal bytes; `domain` keeps the nonces of kinds of pages apart.
std::string page_with_data(std::string_view page, std::string_view json, std::string_view domain);

}  // namespace cairn
