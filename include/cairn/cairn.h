// SPDX-License-Identifier: Apache-2.0
// All of the library.
#pragma once

#include "cairn/chat.h"
#include "cairn/codec.h"
#include "cairn/generation.h"
#include "cairn/model.h"
#include "cairn/result.h"
#include "cairn/session.h"
#include "cairn/store.h"
#include "cairn/tokens.h"
#include "cairn/version.h"
