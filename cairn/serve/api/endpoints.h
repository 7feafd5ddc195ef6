// SPDX-License-Identifier: Apache-2.0
// One function per endpoint. A reply with a stream notes its record itself when it ends; the others leave that to the
// caller.
#pragma once

#include <optional>
#include <type_traits>

#include "cairn/serve/api/api.h"

namespace cairn {

// The turn of a body that is large enough to need one: 503 when it does not come in time, 499 when the client leaves.
ApiResult<std::optional<TextTurns::Turn>> turn_of(ApiContext& context, ApiCall& call);

// What `read` makes of the body, in the body's turn.
template <class Read>
std::invoke_result_t<Read> in_turn(ApiContext& context, ApiCall& call, const Read& read) {
  CAIRN_TRY([[maybe_unused]] const auto turn, turn_of(context, call));
  return read();
}

HttpReply chat_completions(ApiContext& context, ApiCall& call);
HttpReply completions(ApiContext& context, ApiCall& call);
HttpReply embeddings(ApiContext& context, ApiCall& call);
HttpReply list_models(ApiContext& context, ApiCall& call);
HttpReply one_model(ApiContext& context, ApiCall& call);  // /v1/models/ID
HttpReply tokenize(ApiContext& context, ApiCall& call);
HttpReply detokenize(ApiContext& context, ApiCall& call);
HttpReply health(ApiContext& context, ApiCall& call);
HttpReply ready(ApiContext& context, ApiCall& call);
HttpReply metrics_text(ApiContext& context, ApiCall& call);
HttpReply server_state(ApiContext& context, ApiCall& call);
HttpReply held_block_list(ApiContext& context, ApiCall& call);
HttpReply one_request(ApiContext& context, ApiCall& call);  // /api/requests/ID
HttpReply page_file(ApiContext& context, ApiCall& call);

}  // namespace cairn
