// Anthropic's /v1/messages as data. The answer's side is anthropic_answer.cc.
#pragma once
#include <string>

#include "serve/request.h"

namespace puyu {

// Throws ApiError 400, or 404 when the request asks for another model. `defaults`: sampling where the body is silent.
// count_only: of /v1/messages/count_tokens, which asks for no answer and so needs no max_tokens.
ApiRequest parse_messages_request(std::string_view body, bool count_only, const ModelNames& models,
                                  const SamplingOptions& defaults);

std::string anthropic_error_body(const ApiError& e);

}  // namespace puyu
