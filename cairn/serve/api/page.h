// SPDX-License-Identifier: Apache-2.0
// The files of web/, which the build puts into the program.
#pragma once

#include <span>
#include <string_view>

namespace cairn::api {

struct PageFile {
  std::string_view path;  // "/index.html"
  std::string_view content_type;
  std::string_view bytes;
};

std::span<const PageFile> page_files();  // defined in a file that cmake/embed_page.cmake writes

}  // namespace cairn::api
