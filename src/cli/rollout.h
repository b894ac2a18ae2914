// PPO's answers come from the serving engine.
#pragma once
#include "align/rollout.h"

namespace puyu {

// Keeps one engine over the actor's weights; each call packs them anew.
RolloutFn engine_rollout();

}  // namespace puyu
