#include "serve/call_mask.h"

#include <algorithm>
#include <limits>

namespace puyu {
namespace {

class CallMask : public TokenMask {
 public:
  CallMask(const Tokenizer& t, const std::vector<int32_t>& stop_ids, const Tools& tools,
           std::shared_ptr<grammar::Guide> calls, std::shared_ptr<TokenMask> content)
      : calls_(std::move(calls)),
        content_(std::move(content)),
        parallel_(tools.parallel),
        end_(t.special("<|action_end|>")),
        stop_ids_(stop_ids) {
    head_ = {t.special("<|action_start|>"), t.special("<|plugin|>")};
    for (int32_t id : t.encode("\n")) head_.push_back(id);
    if (head_.size() == 3) line_ = head_[2];
    if (tools.forced()) place_ = Place::kHead;
  }

  void allow(std::span<float> logits) override {
    switch (place_) {
      case Place::kText:
        return allow_text(logits);
      case Place::kHead:
        return allow_only(logits, {head_[said_]});
      case Place::kCall:
        return call_->allow(logits);
      case Place::kCalled:
        return allow_only(logits, {end_});
      case Place::kAfter:
        break;
    }
    std::vector<int32_t> ids = stop_ids_;  // some models were taught a new line between <|action_end|> and their end
    ids.push_back(head_[0]);
    if (!line_said_ && line_ >= 0) ids.push_back(line_);
    allow_only(logits, ids);
  }

  void accept(int32_t id) override {
    switch (place_) {
      case Place::kText:
        if (id == head_[0]) return begin_call();
        if (content_) content_->accept(id);
        any_text_ = true;
        return;
      case Place::kHead:
        if (++said_ == head_.size()) place_ = Place::kCall, call_ = calls_->mask();
        return;
      case Place::kCall:
        call_->accept(id);
        if (call_->finished()) place_ = Place::kCalled;
        return;
      case Place::kCalled:
        place_ = Place::kAfter, line_said_ = false, finished_ = !parallel_;
        return;
      case Place::kAfter:
        if (id == head_[0]) return begin_call();
        line_said_ = true;
    }
  }

  bool finished() const override { return finished_ || (place_ == Place::kText && content_ && content_->finished()); }

 private:
  enum class Place { kText, kHead, kCall, kCalled, kAfter };
  static constexpr float kNever = -std::numeric_limits<float>::infinity();

  void begin_call() { place_ = Place::kHead, said_ = 1; }

  void allow_text(std::span<float> logits) {
    if (!content_) return;
    const float start = logits[static_cast<size_t>(head_[0])];
    content_->allow(logits);
    if (!any_text_) logits[static_cast<size_t>(head_[0])] = start;
  }
  static void allow_only(std::span<float> logits, const std::vector<int32_t>& ids) {
    std::vector<std::pair<size_t, float>> kept;
    for (int32_t id : ids)
      if (static_cast<size_t>(id) < logits.size()) kept.emplace_back(id, logits[static_cast<size_t>(id)]);
    std::fill(logits.begin(), logits.end(), kNever);
    for (auto [id, logit] : kept) logits[id] = logit;
  }

  std::shared_ptr<grammar::Guide> calls_;
  std::shared_ptr<TokenMask> content_, call_;
  bool parallel_;
  int32_t end_, line_ = -1;
  std::vector<int32_t> stop_ids_, head_;
  Place place_ = Place::kText;
  size_t said_ = 0;  // of head_
  bool any_text_ = false, line_said_ = false, finished_ = false;
};

}  // namespace

std::shared_ptr<TokenMask> call_mask(const Tokenizer& tokenizer, const std::vector<int32_t>& stop_ids,
                                     const Tools& tools, std::shared_ptr<grammar::Guide> calls,
                                     std::shared_ptr<TokenMask> content) {
  return std::make_shared<CallMask>(tokenizer, stop_ids, tools, std::move(calls), std::move(content));
}

}  // namespace puyu
