// What came in, what was kept and what was dropped, by stage and reason. Documents add up in every stage
// (in = kept + the sum of dropped); bytes are those of the text as it entered or left the stage.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace puyu {

struct Amount {
  int64_t documents = 0, bytes = 0;
  void add(int64_t b) { ++documents, bytes += b; }
  bool operator==(const Amount&) const = default;
};

struct Stage {
  std::string name;
  Amount in, kept;
  std::map<std::string, Amount> dropped;   // by rule
  std::map<std::string, int64_t> changed;  // documents a change touched, by kind
  bool operator==(const Stage&) const = default;
};

struct Funnel {
  std::vector<Stage> stages;
  std::map<std::string, Amount> languages;  // what is left at the end, by group: "en", "zh", "code"
  std::map<std::string, Amount> sources;    // and by source

  Stage& stage(const std::string& name);  // added at the end when it is new
  void merge(const Funnel& other);
  bool operator==(const Funnel&) const = default;
};

Json to_json(const Funnel& f);
Funnel funnel_from_json(const Json& j);
std::string format_funnel(const Funnel& f);  // a table for people

}  // namespace puyu
