// A file by which a person or a script speaks to a run (InternEvo's stop_file_path): "" or "stop" = save and stop after
// this step, "save" = save now and go on, a number N = save and stop after step N. A run removes it when it has done
// so.
#pragma once
#include <cstdint>
#include <string>

namespace puyu {

struct StopRequest {
  bool save = false, stop = false;
};
class StopFile {
 public:
  explicit StopFile(std::string path) : path_(std::move(path)) {}
  StopRequest ask(int64_t step);  // after step `step`; a file that says something else is warned of once

 private:
  void refuse(const std::string& why);
  std::string path_, refused_;
};

}  // namespace puyu
