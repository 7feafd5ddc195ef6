// SPDX-License-Identifier: Apache-2.0
// Figures for Prometheus, named after those of vLLM with "cairn:" in front, so that its dashboards need one
// replacement.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cairn/serve/api/request_record.h"
#include "cairn/serve/generate_backend.h"
#include "cairn/store/store.h"

namespace cairn {

// Thread-safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();

  void observe(const RequestRecord& record);
  // In Prometheus' text form. With `tenant`, lines of that one alone beside the totals.
  std::string text(const GenerateBackend& backend, const std::optional<std::string>& tenant) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cairn
