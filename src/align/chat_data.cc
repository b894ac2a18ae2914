#include "align/chat_data.h"

#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"

namespace puyu {
namespace {

Dialogue parse_dialogue(const Json& j, const std::string& where) {
  Dialogue d;
  for (const Json& m : j.at("messages").as_array())
    d.push_back({m.at("role").as_string(), m.at("content").as_string(), m.get("name", std::string())});
  if (d.empty()) fail(where, ": expected at least one message, got none");
  return d;
}

}  // namespace

std::vector<Dialogue> read_dialogues(const std::string& path) {
  MappedFile file(path);
  std::vector<Dialogue> out;
  std::string_view rest = file.bytes();
  for (int64_t line = 1; !rest.empty(); ++line) {
    const std::string_view text = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), text.size() + 1));
    if (text.empty()) continue;
    const std::string where = cat("[align] ", path, ":", line);
    try {
      out.push_back(parse_dialogue(Json::parse(text), where));
    } catch (const Error& e) { fail(where, ": expected {\"messages\": [{\"role\", \"content\"}]}: ", e.what()); }
  }
  if (out.empty()) fail("[align] ", path, ": expected one dialogue a line, got an empty file");
  return out;
}

void write_dialogues(const std::string& path, const std::vector<Dialogue>& dialogues) {
  AtomicFile file(path);
  for (const Dialogue& d : dialogues) {
    Json list = Json::array();
    for (const Message& m : d) {
      Json j = Json::object();
      j["role"] = m.role;
      j["content"] = m.content;
      if (!m.name.empty()) j["name"] = m.name;
      list.push(std::move(j));
    }
    Json j = Json::object();
    j["messages"] = std::move(list);
    file.write(j.dump() + "\n");
  }
  file.commit();
}

void EncodedChats::add(const ChatExample& e) {
  ids.insert(ids.end(), e.ids.begin(), e.ids.end());
  loss.insert(loss.end(), e.loss.begin(), e.loss.end());
  ends.push_back(static_cast<int64_t>(ids.size()));
}

EncodedChats encode_dialogues(const Tokenizer& t, const std::vector<Dialogue>& dialogues, int64_t max_tokens,
                              int64_t* too_long) {
  EncodedChats out;
  int64_t dropped = 0;
  for (const Dialogue& d : dialogues) {
    ChatExample e = encode_chat_example(t, d);
    if (static_cast<int64_t>(e.ids.size()) > max_tokens)
      ++dropped;
    else
      out.add(e);
  }
  if (too_long) *too_long = dropped;
  return out;
}

void append_example(ChatBatch& to, const EncodedChats& data, size_t i) {
  const int64_t begin = data.begin(i), end = data.end(i);
  to.batch.add(data.ids.data() + begin, end - begin);
  for (int64_t t = begin; t < end; ++t) {
    const auto next = static_cast<size_t>(t + 1);
    const bool counts = t + 1 < end && data.loss[next];
    to.target.push_back(counts ? data.ids[next] : -1);
    to.counted += counts;
  }
}

void ChatStream::next(int64_t max_tokens, ChatBatch& out) {
  CHECK(data_.size() > 0);
  out.clear();
  if (at_ == order_.size()) {
    if (!order_.empty()) ++epoch_;
    order_.resize(data_.size());
    std::iota(order_.begin(), order_.end(), 0u);
    Rng(seed_, static_cast<uint64_t>(epoch_)).shuffle(order_.begin(), order_.end());
    at_ = 0;
  }
  while (at_ < order_.size()) {
    const size_t i = order_[at_];
    if (out.batch.tokens() > 0 && out.batch.tokens() + data_.end(i) - data_.begin(i) > max_tokens) break;
    append_example(out, data_, i);
    ++at_;
  }
}

double ChatStream::epochs() const {
  return static_cast<double>(epoch_) + static_cast<double>(at_) / static_cast<double>(data_.size());
}

}  // namespace puyu
