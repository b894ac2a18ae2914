// OpenAI's chat and completions as data: request bodies in, response bodies out (openai_answer.cc), no sockets.
#pragma once
#include <string>

#include "serve/request.h"

namespace puyu {

// Throws ApiError 400, or 404 when the request asks for another model. `defaults`: sampling where the body is silent.
ApiRequest parse_api_request(std::string_view body, bool chat, const ModelNames& models,
                             const SamplingOptions& defaults);

std::string api_error_body(const ApiError& e);
std::string api_models_body(const ModelNames& models, int64_t created);
std::string api_model_body(const std::string& model, int64_t created);

}  // namespace puyu
