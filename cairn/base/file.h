// SPDX-License-Identifier: Apache-2.0
// Whole files: read at once, and there as a whole or not at all when written.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"

namespace cairn {

// The bytes of a regular file. Errors: kNotFound, kIo (a directory or device, no permission, the system refuses),
// kCorrupt when it is larger than `max_bytes`, before anything is allocated.
Result<std::vector<std::byte>> read_file(const std::string& path, std::size_t max_bytes);

// Writes beside `path` and renames: readers see the old file or the new one. A symbolic link stays and its target is
// replaced. Errors: kIo (path is a directory or a device, no permission, full disk); then `path` is as it was and
// nothing else is left behind.
Status write_file(const std::string& path, std::span<const std::byte> content);
Status write_file(const std::string& path, std::string_view content);

// The names in a folder, without "." and "..", in no order. Errors: kNotFound, kIo.
Result<std::vector<std::string>> list_folder(const std::string& path);

}  // namespace cairn
