// SPDX-License-Identifier: Apache-2.0
// cairn eval: the instruments that judge what a cache keeps of a model's answers.
#include <CLI/CLI.hpp>

#include "apps/cairn/commands.h"
#include "apps/cairn/eval/eval_commands.h"

namespace cairn::cli {

void add_eval_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("eval", "Judge what a KV cache recipe keeps of a model's answers");
  command->footer(
      "A recipe is CODEC[+PART=AMOUNT]..., as raw_f16 or raw_f16+drop=0.2. Parts, all simulated:\n"
      "  value-bits=B  values rounded to 2^B levels     shift=P  keys P positions too early\n"
      "  zero-heads=N  first N KV heads zeroed          drop=F   random share F of every finished block hidden\n"
      "  evict=F       random share F of a finished context hidden");
  command->require_subcommand(1);
  add_eval_ppl_command(*command, outcome);
  add_eval_kld_command(*command, outcome);
  add_eval_suite_command(*command, outcome);
  add_eval_items_command(*command, outcome);
  add_eval_report_command(*command, outcome);
}

}  // namespace cairn::cli
