// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/measure.h"

namespace cairn {

Result<std::vector<MeasuredServer>> measure(std::span<const LoadTarget> targets, DeadlineWatch& watch,
                                            const LoadWorkload& workload, const MeasureOptions& options) {
  std::vector<MeasuredServer> servers;
  for (const LoadTarget& target : targets) servers.push_back({.name = target.name, .model = target.model});
  const double runs = static_cast<double>(options.rounds * targets.size());
  double finished = 0;
  RoundOptions run = options.run;
  run.tick = [&](std::size_t done, std::size_t total) {
    const double part = total == 0 ? 0 : static_cast<double>(done) / static_cast<double>(total);
    return !options.progress || options.progress((finished + part) / runs);
  };
  for (std::size_t round = 0; round < options.rounds; ++round) {
    const RoundSpec plan = workload.round(made_words({0, "cairn.load.salt" + options.salt, round}, 6));
    for (std::size_t turn = 0; turn < targets.size(); ++turn, finished += 1) {
      const std::size_t s = round % 2 == 0 ? turn : targets.size() - 1 - turn;
      const HttpClient client(targets[s], watch);
      CAIRN_TRY(auto records, run_round(client, watch, plan, run));
      servers[s].rounds.push_back(summarize_round(records, options.slo));
      servers[s].records.push_back(std::move(records));
    }
  }
  return servers;
}

}  // namespace cairn
