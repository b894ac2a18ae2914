// The three stations after pre-training as runs in folders: what `puyu finetune|reward|rlhf` and `puyu demo` call.
// A run's folder gets manifest.toml, metrics.jsonl (a line a step) and, when it was not interrupted, model/; finetune
// also writes instructions.jsonl (what it trained on), pages.jsonl and eval/ (held-out questions in the form `puyu
// eval` reads).
#pragma once
#include <string>
#include <vector>

#include "align/ppo.h"
#include "align/reward.h"
#include "align/sft.h"

namespace puyu {

struct FinetuneOptions {
  std::string model;
  std::string dtype = "f32";
  std::vector<std::string> data;
  std::string documents;
  int64_t pages = 300;
  int64_t eval_questions = 2000;
  int64_t max_tokens = 512;
  InstructionOptions instructions;
  TextMixOptions text;
  SftOptions sft;
  template <class F>
  void fields(F&& f) {
    f("model", model, "model folder to start from, its tokenizer inside");
    f("dtype", dtype, "f32 or bf16: type of the weights that compute");
    f("data", data, "more dialogues: JSONL of {\"messages\": [...]}");
    f("documents", documents, "cleaned documents (a .jsonl[.zst] or a folder) whose manual pages are asked about");
    f("pages", pages, "manual pages to ask about");
    f("eval_questions", eval_questions,
      "held-out sums and differences written to eval/: so many up to 1000, at most 900 up to 100");
    f("max_tokens", max_tokens, "longer dialogues are left out, and counted");
    f("instructions", instructions, "dialogues made by program");
    f("text", text, "pre-training data beside the dialogues, against forgetting");
    f("sft", sft, "fine-tuning");
  }
};

struct RewardRunOptions {
  std::string model;
  std::string dtype = "f32";
  std::string dialogues;
  std::vector<std::string> data;
  int64_t held_out_pairs = 400;
  PreferenceOptions preferences;
  RewardOptions reward;
  template <class F>
  void fields(F&& f) {
    f("model", model, "the SFT model's folder");
    f("dtype", dtype, "f32 or bf16: type of the weights that compute");
    f("dialogues", dialogues, "JSONL of dialogues to make concise-over-rambling pairs of; empty = greetings only");
    f("data", data, "more pairs: JSONL of {\"prompt\": [messages], \"chosen\", \"rejected\"}");
    f("held_out_pairs", held_out_pairs, "pairs that only measure the reward model");
    f("preferences", preferences, "pairs made by program");
    f("reward", reward, "training of the reward model");
  }
};

struct RlhfOptions {
  std::string model, reward;
  std::string dtype = "f32";
  std::string dialogues, preferences;
  PpoOptions ppo;
  template <class F>
  void fields(F&& f) {
    f("model", model, "the SFT model's folder: actor and reference");
    f("reward", reward, "the reward model's folder; the critic starts from it");
    f("dtype", dtype, "f32 or bf16: type of the weights that compute");
    f("dialogues", dialogues, "JSONL of dialogues for the SFT loss");
    f("preferences", preferences, "the reward run's preferences.jsonl, replayed on the fast path");
    f("ppo", ppo, "PPO");
  }
};

SftReport finetune(const FinetuneOptions& o, const std::string& run_dir);
RewardReport train_reward(const RewardRunOptions& o, const RolloutFn& rollout, const std::string& run_dir);
PpoReport rlhf(const RlhfOptions& o, const RolloutFn& rollout, const std::string& run_dir);

// arithmetic-100.jsonl, arithmetic-1000.jsonl, manpages.jsonl: pairs and wordings that training never saw; returns all.
std::vector<Dialogue> write_eval_sets(const std::string& dir, const std::vector<ManualPage>& pages, int64_t questions);
// Enhancement data for the end of pre-training (InternLM2 report, section 3.3.3): a token shard of documents that each
// hold some lines of arithmetic on training pairs. Returns its tokens.
int64_t write_arithmetic_shard(const Tokenizer& t, const std::string& path, int64_t documents, double share_100,
                               uint64_t seed);
// The manual pages among the documents below `path`: those with a NAME line.
std::vector<ManualPage> read_manual_pages(const std::string& path, int64_t count);

}  // namespace puyu
