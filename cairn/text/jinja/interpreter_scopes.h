// SPDX-License-Identifier: Apache-2.0
// Depth and scopes of an interpreter, as objects that end with a block.
#pragma once

#include "cairn/text/jinja/builtins.h"
#include "cairn/text/jinja/interpreter.h"

namespace cairn::jinja {

class Interpreter::Level {
 public:
  explicit Level(Interpreter& interpreter) : budget_(interpreter.runtime_.budget), status_(budget_.enter()) {
    if (status_) status_ = budget_.steps(1);
  }
  ~Level() { budget_.leave(); }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

  const Status& status() const { return status_; }

 private:
  Budget& budget_;
  Status status_;
};

class Interpreter::Within {
 public:
  explicit Within(Interpreter& interpreter) : interpreter_(interpreter) {
    scope_.number = ++interpreter.scopes_made_;
    interpreter.scopes_.push_back(&scope_);
  }
  ~Within() { interpreter_.scopes_.pop_back(); }
  Within(const Within&) = delete;
  Within& operator=(const Within&) = delete;

 private:
  Interpreter& interpreter_;
  Scope scope_;
};

}  // namespace cairn::jinja
