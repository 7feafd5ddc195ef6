// SPDX-License-Identifier: Apache-2.0
// The whole page. It holds everything it shows, runs nothing and asks the network for nothing; its own security policy
// says so too. The same data gives the same bytes.
#pragma once

#include <string>

#include "apps/cairn/eval/report_data.h"

namespace cairn {

// Requires: at least one run.
std::string report_page(const ReportData& data);

}  // namespace cairn
