// Documents for the verbs that learn from them or look through them: of a corpus folder (pipeline.h), or of any files
// and folders that 'puyu data run' reads.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "data/document.h"

namespace puyu {

// In a fixed order. Returns how many inputs could not be read; Error when there is no document at all.
int64_t for_each_input(const std::vector<std::string>& paths, const std::function<void(Document&&)>& fn);

}  // namespace puyu
