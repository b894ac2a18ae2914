// Dialogues as data: JSONL of {"messages": [{"role": ..., "content": ...}, ...]}, their encoded form, and the packing
// of encoded examples into micro-batches. Loss stands only on the assistant's content, its <|im_end|> and the newline.
#pragma once
#include <string>
#include <vector>

#include "model/model.h"
#include "text/chat_template.h"

namespace puyu {

using Dialogue = std::vector<Message>;
inline Dialogue ask(std::string question) { return {{"user", std::move(question), ""}}; }
inline Dialogue question_answer(std::string question, std::string answer) {
  return {{"user", std::move(question), ""}, {"assistant", std::move(answer), ""}};
}

// Errors name the file and the line.
std::vector<Dialogue> read_dialogues(const std::string& path);
void write_dialogues(const std::string& path, const std::vector<Dialogue>& dialogues);

// Encoded examples back to back: example i is [begin(i), end(i)) of ids and loss.
struct EncodedChats {
  std::vector<int32_t> ids;
  std::vector<uint8_t> loss;  // predicting ids[t] counts
  std::vector<int64_t> ends;
  size_t size() const { return ends.size(); }
  int64_t begin(size_t i) const { return i ? ends[i - 1] : 0; }
  int64_t end(size_t i) const { return ends[i]; }
  void add(const ChatExample& e);
};
// Dialogues longer than max_tokens are left out and counted.
EncodedChats encode_dialogues(const Tokenizer& t, const std::vector<Dialogue>& dialogues, int64_t max_tokens,
                              int64_t* too_long = nullptr);

// A micro-batch of whole examples; target[t] is the next id where its loss counts, else -1.
struct ChatBatch {
  Batch batch;
  std::vector<int32_t> target;
  int64_t counted = 0;
  void clear() { batch.clear(), target.clear(), counted = 0; }
};
void append_example(ChatBatch& to, const EncodedChats& data, size_t i);

// Endless pass over the examples: a new order each epoch, a function of (seed, epoch) only.
class ChatStream {
 public:
  ChatStream(const EncodedChats& data, uint64_t seed) : data_(data), seed_(seed) {}
  // The next examples that fit into max_tokens (at least one). Stops at the end of an epoch.
  void next(int64_t max_tokens, ChatBatch& out);
  double epochs() const;  // passes done

 private:
  const EncodedChats& data_;
  uint64_t seed_;
  std::vector<uint32_t> order_;
  size_t at_ = 0;
  int64_t epoch_ = 0;
};

}  // namespace puyu
