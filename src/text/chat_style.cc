#include "text/chat_style.h"

#include "base/error.h"
#include "text/tokenizer_impl.h"

namespace puyu {
namespace {

using Family = ChatStyle::Family;

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

std::string trimmed(const std::string& s) {
  const size_t begin = s.find_first_not_of(" \t\r\n"), end = s.find_last_not_of(" \t\r\n");
  return begin == s.npos ? "" : s.substr(begin, end - begin + 1);
}

// The system message that a ChatML template writes itself: '<|im_start|>system\nYou are ...<|im_end|>'.
std::string default_system(const std::string& t) {
  static const std::string kOpen = "<|im_start|>system\\n";
  for (size_t at = 0; (at = t.find(kOpen, at)) != t.npos;) {
    at += kOpen.size();
    const std::string text = t.substr(at, t.find("<|im_end|>", at) - at);
    if (!text.empty() && text.find_first_of("'\"{}") == text.npos) return text;
  }
  return "";
}

// Collects text, so that what stands side by side is encoded as one, and special tokens.
class Writer {
 public:
  explicit Writer(const Tokenizer& t) : t_(t) {}
  void text(const std::string& s) { pending_ += s; }
  void id(int32_t id) { flush(), ids_.push_back(id); }
  void special(const std::string& name) { id(t_.special(name)); }
  // A mark that is a special token of newer vocabularies and plain text in older ones.
  void mark(const std::string& s) {
    const size_t begin = s.find('['), end = s.find(']');
    const std::string name = s.substr(begin, end - begin + 1);
    if (!t_.is_special(name)) return text(s);
    text(s.substr(0, begin)), special(name), text(s.substr(end + 1));
  }
  std::vector<int32_t> take() { return flush(), std::move(ids_); }

 private:
  void flush() {
    if (!pending_.empty()) encode_part(t_, pending_, ids_.empty(), ids_);
    pending_.clear();
  }
  const Tokenizer& t_;
  std::string pending_;
  std::vector<int32_t> ids_;
};

[[noreturn]] void misplaced(const ChatStyle& s, const Message& m) {
  fail("[chat] a ", chat_style_name(s),
       " dialogue is an optional system message, then user and assistant in turn; a message of '", m.role,
       "' stands where it cannot");
}

void chatml(Writer& w, const Tokenizer& t, const ChatStyle& s, const std::vector<Message>& messages) {
  auto turn = [&](const std::string& role, const std::string& content) {
    w.special("<|im_start|>"), w.text(role + "\n" + content), w.special("<|im_end|>"), w.text("\n");
  };
  if (s.bos && t.has_bos()) w.id(t.bos());
  if (!s.default_system.empty() && messages[0].role != "system") turn("system", s.default_system);
  for (const Message& m : messages) {
    if (!m.name.empty() || !m.calls.empty()) fail("[chat] this model's dialogues have no names and no calls of tools");
    turn(m.role, m.content);
  }
  w.special("<|im_start|>"), w.text("assistant\n");
}

void llama3(Writer& w, const Tokenizer& t, const ChatStyle& s, const std::vector<Message>& messages) {
  auto turn = [&](const std::string& role, const std::string& content) {
    w.special("<|start_header_id|>"), w.text(role), w.special("<|end_header_id|>");
    w.text("\n\n" + content), w.special("<|eot_id|>");
  };
  if (t.has_bos()) w.id(t.bos());
  const bool system = messages[0].role == "system";
  // The template's own date where none is given: a prompt does not depend on the day.
  const std::string dates = s.dated ? "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n" : "";
  if (system || s.dated) turn("system", dates + (system ? trimmed(messages[0].content) : ""));
  for (size_t i = system; i < messages.size(); ++i) {
    if (messages[i].role != "user" && messages[i].role != "assistant") misplaced(s, messages[i]);
    turn(messages[i].role, trimmed(messages[i].content));
  }
  w.special("<|start_header_id|>"), w.text("assistant"), w.special("<|end_header_id|>"), w.text("\n\n");
}

// The turns after an optional system message; f(message, is_user, is_first, is_last).
template <class F>
void each_turn(const ChatStyle& s, const std::vector<Message>& messages, F&& f) {
  const size_t first = messages[0].role == "system";
  if (first == messages.size()) misplaced(s, messages[0]);
  for (size_t i = first; i < messages.size(); ++i) {
    const bool user = (i - first) % 2 == 0;
    if (messages[i].role != (user ? "user" : "assistant")) misplaced(s, messages[i]);
    f(messages[i], user, i == first, i + 1 == messages.size());
  }
  if (messages.back().role != "user") misplaced(s, messages.back());
}

void llama2(Writer& w, const Tokenizer& t, const ChatStyle& s, const std::vector<Message>& messages) {
  const bool system = messages[0].role == "system";
  each_turn(s, messages, [&](const Message& m, bool user, bool first, bool) {
    if (!user) return w.text(" " + trimmed(m.content) + " "), w.id(t.eos());
    w.id(t.bos());
    const std::string head = first && system ? "<<SYS>>\n" + messages[0].content + "\n<</SYS>>\n\n" : "";
    w.text("[INST] " + trimmed(head + m.content) + " [/INST]");
  });
}

void mistral(Writer& w, const Tokenizer& t, const ChatStyle& s, const std::vector<Message>& messages) {
  const bool system = messages[0].role == "system";
  if (system && s.system == ChatStyle::System::kRefused)
    fail("[chat] this model's dialogues have no system message; put it into the first message");
  if (t.has_bos()) w.id(t.bos());
  each_turn(s, messages, [&](const Message& m, bool user, bool first, bool last) {
    if (!user) return w.text(s.answer + m.content), w.id(t.eos());
    w.mark(s.open);
    if (system && (s.system == ChatStyle::System::kFirst ? first : last)) w.text(messages[0].content + "\n\n");
    w.text(m.content), w.mark(s.close);
  });
}

ChatStyle mistral_style(const std::string& t) {
  ChatStyle s{.family = Family::kMistral};
  const size_t at = t.find("[INST]");
  s.open = cat(at > 0 && t[at - 1] == ' ' ? " " : "", "[INST]", t.substr(at + 6, 1) == " " ? " " : "");
  s.close = has(t, " [/INST]") ? " [/INST]" : "[/INST]";
  if (has(t, "\" \" + message[") || has(t, "' ' + message[")) s.answer = " ";
  s.system = has(t, "loop.last and system") ? ChatStyle::System::kLast
             : has(t, "system")             ? ChatStyle::System::kFirst
                                            : ChatStyle::System::kRefused;
  return s;
}

}  // namespace

const char* chat_style_name(const ChatStyle& s) {
  constexpr const char* kNames[] = {"unknown", "chatml", "llama2", "llama3", "mistral"};
  return kNames[static_cast<size_t>(s.family)];
}

ChatStyle find_chat_style(const Tokenizer& t) {
  const std::string& j = t.vocabulary().chat_template;
  if (j.empty()) {
    if (t.is_special("<|im_start|>")) return {.family = Family::kChatMl};
    if (t.is_special("<|start_header_id|>")) return {.family = Family::kLlama3};
    return {};
  }
  if (has(j, "<|im_start|>"))
    return {.family = Family::kChatMl, .default_system = default_system(j), .bos = has(j, "bos_token")};
  if (has(j, "<|start_header_id|>")) return {.family = Family::kLlama3, .dated = has(j, "Cutting Knowledge Date")};
  if (has(j, "[INST]") && has(j, "<<SYS>>")) return {.family = Family::kLlama2};
  // [SYSTEM_PROMPT], as newer models have it, is another format.
  if (has(j, "[INST]") && !has(j, "[SYSTEM_PROMPT]")) return mistral_style(j);
  return {};
}

ChatStyle named_chat_style(const std::string& name, const Tokenizer& t) {
  for (Family f : {Family::kChatMl, Family::kLlama2, Family::kLlama3, Family::kMistral}) {
    ChatStyle s{.family = f};
    if (name != chat_style_name(s)) continue;
    if (f == Family::kChatMl) t.special("<|im_start|>"), t.special("<|im_end|>");
    if (f == Family::kLlama3)
      for (const char* token : {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}) t.special(token);
    if (f == Family::kLlama2 || f == Family::kMistral) t.bos(), t.eos();
    return s;
  }
  fail("[chat] chat_template: expected chatml, llama2, llama3 or mistral, got '", name, "'");
}

std::vector<int32_t> encode_dialogue(const Tokenizer& t, const ChatStyle& s, const std::vector<Message>& messages) {
  if (messages.empty()) fail("[chat] a dialogue without messages");
  Writer w(t);
  switch (s.family) {
    case Family::kUnknown:
      fail("[chat] this model names no chat template that puyu knows, so it takes no dialogues; completions work, and ",
           "--chat_template=chatml, llama2, llama3 or mistral says which one it was tuned with");
    case Family::kChatMl:
      // With SentencePiece's vocabularies a role and its message are encoded apart, as they are in training.
      if (!t.vocabulary().hf && s.bos && s.default_system.empty()) return encode_chat(t, messages, true);
      chatml(w, t, s, messages);
      break;
    case Family::kLlama2:
      llama2(w, t, s, messages);
      break;
    case Family::kLlama3:
      llama3(w, t, s, messages);
      break;
    case Family::kMistral:
      mistral(w, t, s, messages);
      break;
  }
  return w.take();
}

}  // namespace puyu
