// Examples of what each rule dropped, for the report: of every rule the documents whose ids have the smallest hashes,
// so the choice depends on neither workers nor order.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/document.h"

namespace puyu {

constexpr size_t kExamplesPerRule = 3, kExampleBytes = 600;

class Examples {
 public:
  struct Example {
    uint64_t order = 0;  // hash of the id
    std::string id, source, url, text;
    double value = 0, limit = 0;
  };
  // Whether add() would keep it: saves preparing the text.
  bool wants(const std::string& stage, const std::string& rule, const Document& d) const;
  void add(const std::string& stage, const std::string& rule, const Document& d, std::string text, double value,
           double limit);
  void merge(const Examples& other);
  const std::map<std::string, std::vector<Example>>& of_stage(const std::string& stage) const;
  Json to_json() const;
  static Examples from_json(const Json& j);

 private:
  void insert(std::vector<Example>& list, Example e);
  std::map<std::string, std::map<std::string, std::vector<Example>>> by_rule_;
};

// The beginning of a document's text, cut at a character.
std::string example_text(const Document& d);

}  // namespace puyu
