// SPDX-License-Identifier: Apache-2.0
// Names of CLI11 for headers: whoever includes all of it carries its code.
#pragma once

namespace CLI {
class App;
class Validator;
}  // namespace CLI
