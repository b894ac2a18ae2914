// Tool calls: the APIs' tools on one side, InternLM2's turns on the other (chat_format.md): the tools stand in a system
// turn named <|plugin|>, a call is <|action_start|><|plugin|>\n{"name": ..., "parameters": ...}<|action_end|> in the
// assistant's turn, a result is an environment turn named <|plugin|>. `parameters` there are `arguments` here. How a
// call is held to its form stands in call_mask.h, how it is read in answer_reader.h.
#pragma once
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "serve/guided.h"
#include "text/chat_template.h"

namespace puyu {

struct Tool {
  std::string name = {}, description = {};
  Json parameters = {};  // a schema of an object
  bool strict = false;   // a schema that no grammar can hold is refused; else its arguments are then any object
  std::string field;     // where the body has it, for errors: "tools[0].function"
  std::string schema;    // what the API calls the schema: "parameters", "input_schema"
};

struct Tools {
  enum class Choice { kAuto, kNone, kRequired };
  std::vector<Tool> list;
  Choice choice = Choice::kAuto;
  std::string named;     // with kRequired: this one
  bool parallel = true;  // several calls in one answer
  bool offered() const { return !list.empty() && choice != Choice::kNone; }
  bool forced() const { return offered() && choice == Choice::kRequired; }
  std::set<std::string> names() const;  // of those that may be called
};

// Whether `key` is one of tools, tool_choice, parallel_tool_calls of OpenAI's chat; read into `out`. ApiError 400 when
// it is malformed.
bool read_tools(const std::string& key, const Json& v, Tools& out);
// "auto", "none", "required" or {"type": "function", ...}, of which the caller gives where the name stands.
void read_tool_choice(const Json& v, const std::function<std::string(const Json&)>& name, Tools& out);
// The list `tools`, each entry read by its API's function (entry, where it stands).
void read_tool_list(const Json& v, Tool (*read)(const Json&, const std::string&), Tools& out);
void check_tools(const Tools& t);    // what only all fields together show
Message tools_turn(const Tools& t);  // the system turn

// A call names one of the tools that may be called, and its arguments fit the schema.
std::shared_ptr<grammar::Guide> call_guide(const Tools& t, GuideCache& guides);

}  // namespace puyu
