// OpenAI's /v1/responses as data. The server keeps no answers: what asks for that (store, previous_response_id,
// background, conversation) is refused by name. The answer's side is responses_answer.cc.
#pragma once
#include <string>

#include "serve/request.h"

namespace puyu {

// Throws ApiError 400, or 404 when the request asks for another model. `defaults`: sampling where the body is silent.
ApiRequest parse_responses_request(std::string_view body, const ModelNames& models, const SamplingOptions& defaults);

}  // namespace puyu
