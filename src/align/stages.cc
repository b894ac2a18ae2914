#include "align/stages.h"

#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "data/pipeline.h"
#include "data/reader.h"
#include "data/shard.h"
#include "train/run_log.h"

namespace puyu {
namespace {

constexpr uint64_t kEvalSeed = 2024;

DType compute_dtype(const std::string& name) {
  if (name != "f32" && name != "bf16") fail("[align] dtype: expected f32 or bf16, got '", name, "'");
  return name == "f32" ? DType::kF32 : DType::kBF16;
}

std::string tokenizer_file(const std::string& model) {
  for (const char* name : {"tokenizer.puyu", "tokenizer.model"})
    if (file_exists(model + "/" + name)) return model + "/" + name;
  fail("[align] ", model, ": expected tokenizer.puyu or tokenizer.model in the model's folder, found neither");
}

Learner open_learner(const std::string& model, Head head, const std::string& dtype, const OptimizerOptions& optimizer,
                     bool trainable = true) {
  if (model.empty()) fail("[align] model: expected a model folder, got nothing; set it in the config");
  Arena scratch("loading", int64_t{1} << 36);
  Ctx ctx{Device::kCpu, &scratch};
  return Learner(load_model(ctx, model, head, compute_dtype(dtype)), optimizer, Recompute::kNone, trainable);
}

void save_trained(Learner& learner, const std::string& from, const std::string& run_dir) {
  const std::string dir = run_dir + "/model", tokenizer = tokenizer_file(from);
  save_model(dir, learner.weights(), DType::kF32);
  write_file(dir + tokenizer.substr(tokenizer.rfind('/')), read_file(tokenizer));
}

template <class Options>
std::string begin_run(Options o, const std::string& run_dir) {
  make_directories(run_dir);
  write_manifest(run_dir, list_fields(o));
  write_file(run_dir + "/metrics.jsonl", "");
  return run_dir + "/metrics.jsonl";
}

void log_metrics(const std::string& path, std::initializer_list<std::pair<const char*, Json>> values) {
  Json j = Json::object();
  for (const auto& [key, value] : values) j[key] = value;
  append_file(path, j.dump() + "\n");
}

std::vector<Dialogue> arithmetic_dialogues(int limit, int64_t count) {
  std::vector<Dialogue> out;
  for (const Arithmetic& q : held_out_arithmetic(limit, count, kEvalSeed)) {
    const size_t wording = out.size() % arithmetic_wordings(q.minus).size();
    out.push_back(question_answer(word_arithmetic(q, wording), arithmetic_answer(q)));
  }
  return out;
}

}  // namespace

std::vector<ManualPage> read_manual_pages(const std::string& path, int64_t count) {
  ManualPages pages;
  int64_t documents = 0;
  auto take = [&](Document&& d) {
    ++documents;
    pages.add(d.content);
  };
  if (file_exists(path + "/funnel.json")) {  // a folder of 'puyu data run'
    for_each_document(path, take);
  } else {
    for (const std::string& file : list_files(path))
      read_documents({file, "documents", file, "", 0}, {}, take, [&](ReadFailure&& f) {
        fail("[align] ", file, ": expected documents, got one that cannot be read: ", f.reason);
      });
  }
  std::vector<ManualPage> chosen = pages.choose(static_cast<size_t>(count));
  log_info("manual pages: ", pages.size(), " with a NAME line among ", documents, " documents, ", chosen.size(),
           " chosen");
  if (chosen.empty()) log_warn(path, " holds no manual pages with NAME lines: no questions about commands");
  return chosen;
}

int64_t write_arithmetic_shard(const Tokenizer& t, const std::string& path, int64_t documents, double share_100,
                               uint64_t seed) {
  constexpr int64_t kLines = 40;
  ShardWriter shard(path, t.vocab_size() <= 65536 ? 2 : 4, t.fingerprint());
  Rng rng(seed, 1);
  for (int64_t i = 0; i < documents; ++i) {
    std::vector<int32_t> ids = t.encode(arithmetic_lines(rng, kLines, share_100));
    ids.insert(ids.begin(), t.bos());
    ids.push_back(t.eos());
    shard.add(ids.data(), static_cast<int64_t>(ids.size()));
  }
  shard.commit();
  return shard.tokens();
}

std::vector<Dialogue> write_eval_sets(const std::string& dir, const std::vector<ManualPage>& pages, int64_t questions) {
  std::vector<Dialogue> all, about_pages;
  auto write = [&](const char* name, const std::vector<Dialogue>& set) {
    write_dialogues(cat(dir, "/", name, ".jsonl"), set);
    all.insert(all.end(), set.begin(), set.end());
  };
  make_directories(dir);
  write("arithmetic-100", arithmetic_dialogues(100, questions));
  write("arithmetic-1000", arithmetic_dialogues(1000, questions));
  for (const ManualPage& p : pages)
    for (Dialogue& d : page_dialogues(p, true)) about_pages.push_back(std::move(d));
  if (!about_pages.empty()) write("manpages", about_pages);
  return all;
}

SftReport finetune(const FinetuneOptions& o, const std::string& run_dir) {
  const std::string metrics = begin_run(o, run_dir);
  Learner learner = open_learner(o.model, Head::kLanguage, o.dtype, o.sft.optimizer);
  const Tokenizer tokenizer = Tokenizer::load(tokenizer_file(o.model));
  std::vector<ManualPage> pages;
  if (!o.documents.empty()) pages = read_manual_pages(o.documents, o.pages);
  std::vector<Dialogue> dialogues = make_instructions(o.instructions, pages);
  for (const std::string& file : o.data)
    for (Dialogue& d : read_dialogues(file)) dialogues.push_back(std::move(d));
  write_dialogues(run_dir + "/instructions.jsonl", dialogues);
  const std::vector<Dialogue> asked_later = write_eval_sets(run_dir + "/eval", pages, o.eval_questions);
  const EncodedChats held_out = encode_dialogues(tokenizer, asked_later, o.max_tokens);
  TextMix text(o.text, tokenizer, static_cast<uint64_t>(o.sft.seed));
  int64_t too_long = 0;
  const EncodedChats data = encode_dialogues(tokenizer, dialogues, o.max_tokens, &too_long);
  log_info("fine-tuning on ", data.size(), " dialogues, ", data.ids.size(),
           " tokens; left out as too long: ", too_long);
  const SftReport r = run_sft(learner, {data, held_out, &text}, o.sft, [&](const SftPoint& p) {
    log_metrics(metrics, {{"step", p.step},
                          {"seconds", p.seconds},
                          {"loss", p.loss},
                          {"accuracy", p.accuracy},
                          {"lr", p.lr},
                          {"grad_norm", p.grad_norm},
                          {"text_loss", p.text_loss}});
  });
  if (!r.interrupted) save_trained(learner, o.model, run_dir);
  return r;
}

RewardReport train_reward(const RewardRunOptions& o, const RolloutFn& rollout, const std::string& run_dir) {
  const std::string metrics = begin_run(o, run_dir);
  Learner learner = open_learner(o.model, Head::kValue, o.dtype, o.reward.optimizer);
  const Tokenizer tokenizer = Tokenizer::load(tokenizer_file(o.model));
  std::vector<Dialogue> dialogues = identity_dialogues();
  if (!o.dialogues.empty()) dialogues = read_dialogues(o.dialogues);
  std::optional<Learner> language;  // answers the sampled questions; its head serves lm_coef
  if (o.reward.loss.lm_coef > 0 || o.preferences.sampled > 0)
    language.emplace(open_learner(o.model, Head::kLanguage, o.dtype, {}, false));
  auto make = [&](bool held_out) {
    if (!language) return make_preferences(o.preferences, dialogues, held_out);
    const AnswerSource source{language->weights(), tokenizer, rollout};
    return make_preferences(o.preferences, dialogues, held_out, &source);
  };
  std::vector<PreferencePair> pairs = make(false);
  for (const std::string& file : o.data)
    for (PreferencePair& p : read_preferences(file)) pairs.push_back(std::move(p));
  std::vector<PreferencePair> held_out = make(true);
  if (static_cast<int64_t>(held_out.size()) > o.held_out_pairs) held_out.resize(static_cast<size_t>(o.held_out_pairs));
  write_preferences(run_dir + "/preferences.jsonl", pairs);
  const Tensor language_head = language ? language->weights().output() : Tensor{};
  const RewardReport r = run_reward(learner, language_head, encode_pairs(tokenizer, pairs),
                                    encode_pairs(tokenizer, held_out), o.reward, [&](const RewardPoint& p) {
                                      log_metrics(metrics, {{"step", p.step},
                                                            {"seconds", p.seconds},
                                                            {"loss", p.loss},
                                                            {"accuracy", p.accuracy},
                                                            {"grad_norm", p.grad_norm}});
                                    });
  if (!r.interrupted) save_trained(learner, o.model, run_dir);
  return r;
}

PpoReport rlhf(const RlhfOptions& o, const RolloutFn& rollout, const std::string& run_dir) {
  const std::string metrics = begin_run(o, run_dir);
  Learner actor = open_learner(o.model, Head::kLanguage, o.dtype, o.ppo.optimizer);
  Learner critic = open_learner(o.reward, Head::kValue, o.dtype, o.ppo.optimizer);
  Learner reference = open_learner(o.model, Head::kLanguage, o.dtype, {}, false);
  Learner reward = open_learner(o.reward, Head::kValue, o.dtype, o.ppo.fast_path.optimizer, o.ppo.fast_path.lr > 0);
  const Tokenizer tokenizer = Tokenizer::load(tokenizer_file(o.model));
  if (tokenizer.fingerprint() != Tokenizer::load(tokenizer_file(o.reward)).fingerprint())
    fail("[align] ", o.reward, ": its tokenizer is not that of ", o.model, "; train the reward model from this model");
  EncodedChats sft;
  if (!o.dialogues.empty()) sft = encode_dialogues(tokenizer, read_dialogues(o.dialogues), o.ppo.pretrain_tokens);
  EncodedPairs replay;
  if (!o.preferences.empty()) replay = encode_pairs(tokenizer, read_preferences(o.preferences));
  const PpoReport r =
      run_ppo({actor, critic, reference, reward}, tokenizer, {sft, replay}, rollout, o.ppo, [&](const PpoPoint& p) {
        log_metrics(metrics, {{"step", p.step},
                              {"seconds", p.seconds},
                              {"rollout_seconds", p.rollout_seconds},
                              {"score", p.score},
                              {"accuracy", p.accuracy},
                              {"ranked", p.ranked},
                              {"trained", p.trained},
                              {"reward_right", p.reward_right},
                              {"kl", p.kl},
                              {"entropy", p.entropy},
                              {"answer_tokens", p.answer_tokens},
                              {"grad_norm", p.actor_grad_norm},
                              {"critic_loss", p.critic_loss},
                              {"clipped", p.clipped},
                              {"sft_loss", p.sft_loss}});
      });
  if (!r.interrupted) save_trained(actor, o.model, run_dir);
  return r;
}

}  // namespace puyu
