// Tool calls: OpenAI's `tools` and `tool_calls` on one side, InternLM2's turns on the other (chat_format.md): the tools
// stand in a system turn named <|plugin|>, a call is <|action_start|><|plugin|>\n{"name": ..., "parameters": ...}
// <|action_end|> in the assistant's turn, a result is an environment turn named <|plugin|>. `parameters` there are
// `arguments` here. One call a turn, as the format has it.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "serve/guided.h"
#include "text/chat_template.h"

namespace puyu {

struct Tools {
  enum class Choice { kAuto, kNone, kRequired };
  Json list = Json();  // [{"name", "description", "parameters"}], null: none
  Choice choice = Choice::kAuto;
  std::string named;  // with kRequired: this one
  bool offered() const { return !list.is_null() && choice != Choice::kNone; }
  bool forced() const { return offered() && choice == Choice::kRequired; }
};

// Whether `key` is one of tools, tool_choice, parallel_tool_calls; read into `out`. ApiError 400 when it is malformed.
bool read_tools(const std::string& key, const Json& v, Tools& out);
void check_tools(const Tools& t);    // what only all fields together show
Message tools_turn(const Tools& t);  // the system turn
Guided call_guide(const Tools& t);   // a forced call is one of these tools' and its arguments fit the schema
std::string call_text(const Json& call, const std::string& field);  // an entry of tool_calls as the model writes it

struct ToolCall {
  std::string name, arguments;  // arguments: JSON
};
// What the model wrote between <|plugin|> and <|action_end|>; nothing when it is no call of an offered tool.
std::optional<ToolCall> parse_call(const std::string& text, const Tools& t);
Json call_json(const ToolCall& c, const std::string& id);

}  // namespace puyu
