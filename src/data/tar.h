// Tar archives (POSIX ustar and pax, GNU's long names) in memory, read only.
#pragma once
#include <functional>
#include <string>
#include <string_view>

namespace puyu {

bool is_tar(std::string_view bytes);
// Every regular file, in order. False when the archive is damaged or cut off; what came before has been handed over.
bool read_tar(std::string_view bytes, const std::function<void(std::string name, std::string_view content)>& file);

}  // namespace puyu
