#include "serve/answer.h"

#include "serve/request.h"

namespace puyu {

std::string AnswerChoice::text() const {
  std::string out;
  for (const AnswerPart& p : parts)
    if (!p.call) out += p.text;
  return out;
}

bool AnswerChoice::called() const {
  bool any = false;
  for (const AnswerPart& p : parts) {
    if (p.call && !p.complete) return false;
    any |= p.call;
  }
  return any && reason == FinishReason::kStop;
}

void apply(const AnswerEvent& e, std::vector<AnswerPart>& to) {
  switch (e.kind) {
    case AnswerEvent::Kind::kText:
      if (to.empty() || to.back().call) to.emplace_back();
      to.back().text += e.text;
      break;
    case AnswerEvent::Kind::kCall:
      to.push_back({true, "", e.id, e.name, false});
      break;
    case AnswerEvent::Kind::kArguments:
      to.back().text += e.text;
      break;
    case AnswerEvent::Kind::kCallEnd:
      to.back().complete = e.complete;
      break;
  }
}

std::unique_ptr<AnswerWriter> make_writer(const ApiRequest& r, const std::string& id, int64_t created,
                                          std::shared_ptr<Exchange> to) {
  switch (r.api) {
    case Api::kResponses:
      return make_responses_writer(r, id, created, std::move(to));
    case Api::kAnthropic:
      return make_anthropic_writer(r, id, std::move(to));
    default:
      return make_openai_writer(r, id, created, std::move(to));
  }
}

}  // namespace puyu
