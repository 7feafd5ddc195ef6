// SPDX-License-Identifier: Apache-2.0
// What the public handles stand for.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "cairn/engine/engine.h"
#include "cairn/model.h"
#include "cairn/text/chat_template.h"

namespace cairn {

struct Model::State {
  std::unique_ptr<Engine> engine;
  Result<ChatTemplate> chat_template;
};

struct Session::State {
  std::shared_ptr<Model::State> model;  // first: the sequence belongs to its cache
  Sequence sequence;

  Engine& engine() const { return *model->engine; }
};

}  // namespace cairn
