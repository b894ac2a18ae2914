// Every verb, one line each; cmd_NAME.cc defines it.
#pragma once
#include "cli/args.h"

namespace puyu {

extern const Verb kChatVerb;
extern const Verb kGenerateVerb;
extern const Verb kInfoVerb;
extern const Verb kServeVerb;

}  // namespace puyu
