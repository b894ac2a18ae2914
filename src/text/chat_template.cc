#include "text/chat_template.h"

namespace puyu {
namespace {

void append(std::vector<int32_t>& to, const std::vector<int32_t>& ids) { to.insert(to.end(), ids.begin(), ids.end()); }

void open_turn(const Tokenizer& t, const Message& m, std::vector<int32_t>& ids) {
  ids.push_back(t.special("<|im_start|>"));
  if (m.name.empty()) return append(ids, t.encode_untrusted(m.role + "\n"));
  append(ids, t.encode_untrusted(m.role + " name="));
  append(ids, t.is_special(m.name) ? std::vector{t.special(m.name)} : t.encode_untrusted(m.name));
  append(ids, t.encode("\n"));
}

}  // namespace

ChatExample encode_chat_example(const Tokenizer& t, const std::vector<Message>& messages) {
  ChatExample e;
  e.ids.push_back(t.bos());
  for (const Message& m : messages) {
    open_turn(t, m, e.ids);
    e.loss.resize(e.ids.size(), 0);
    append(e.ids, t.encode_untrusted(m.content));
    for (const std::string& call : m.calls) {
      append(e.ids, {t.special("<|action_start|>"), t.special("<|plugin|>")});
      append(e.ids, t.encode_untrusted("\n" + call));
      e.ids.push_back(t.special("<|action_end|>"));
    }
    e.ids.push_back(t.special("<|im_end|>"));
    append(e.ids, t.encode("\n"));
    e.loss.resize(e.ids.size(), m.role == "assistant");
  }
  return e;
}

std::vector<int32_t> encode_chat(const Tokenizer& t, const std::vector<Message>& messages, bool add_generation_prompt) {
  std::vector<int32_t> ids = encode_chat_example(t, messages).ids;
  if (add_generation_prompt) open_turn(t, {"assistant", "", ""}, ids);
  return ids;
}

}  // namespace puyu
