#include "train/stop_file.h"

#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace puyu {

void StopFile::refuse(const std::string& why) {
  if (refused_ != why) log_warn(why);
  refused_ = why;
}

StopRequest StopFile::ask(int64_t step) {
  if (!file_exists(path_)) return {};
  std::string text;
  try {
    text = read_file(path_);
  } catch (const Error& e) {
    refuse(e.what());
    return {};
  }
  text.erase(0, text.find_first_not_of(" \t\r\n"));
  text.erase(text.find_last_not_of(" \t\r\n") + 1);
  StopRequest r;
  const bool number = !text.empty() && text.size() < 16 && text.find_first_not_of("0123456789") == std::string::npos;
  if (text.empty() || text == "stop")
    r = {true, true};
  else if (text == "save")
    r = {true, false};
  else if (number)
    r.save = r.stop = step >= std::stoll(text);
  else
    refuse(cat("[train] ", path_, ": expected nothing, 'stop', 'save' or a step, got '", text.substr(0, 40), "'"));
  std::error_code ec;
  if (r.save) std::filesystem::remove(path_, ec);
  if (ec) log_warn("[train] cannot remove ", path_, ": ", ec.message());
  return r;
}

}  // namespace puyu
