// SPDX-License-Identifier: Apache-2.0
// `cairn run` without a prompt: a chat at the terminal that keeps its history and the keys and values of it.
#pragma once

#include "apps/cairn/run_options.h"
#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/text/chat_template.h"

namespace cairn {

// Reads turns from standard input until its end, /exit, or Ctrl-C at the prompt. Ctrl-C during an answer ends the
// answer. Errors: those of reading the template and of generating; a turn that does not fit is reported and taken back.
Status chat_loop(Engine& engine, const RunOptions& options, ChatFamily family, Sampler& sampler);

}  // namespace cairn
