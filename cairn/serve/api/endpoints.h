// SPDX-License-Identifier: Apache-2.0
// One function per endpoint. A reply with a stream notes its record itself when it ends; the others leave that to the
// caller.
#pragma once

#include "cairn/serve/api/api.h"

namespace cairn {

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
