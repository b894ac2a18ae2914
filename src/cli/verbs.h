// Every verb, one line each; cmd_NAME.cc defines it.
#pragma once
#include "cli/args.h"

namespace puyu {

extern const Verb kDataVerb;
extern const Verb kTokenizerVerb;
extern const Verb kTrainVerb;
extern const Verb kFinetuneVerb;
extern const Verb kRewardVerb;
extern const Verb kRlhfVerb;
extern const Verb kGenerateVerb;
extern const Verb kChatVerb;
extern const Verb kServeVerb;
extern const Verb kEvalVerb;
extern const Verb kBenchVerb;
extern const Verb kDemoVerb;
extern const Verb kConvertVerb;
extern const Verb kQuantizeVerb;
extern const Verb kInfoVerb;
extern const Verb kPlanVerb;

}  // namespace puyu
