// The demo's recipe: a 5-million-parameter InternLM2 that two CPU cores train in minutes.
#include "cli/demo.h"

namespace puyu {

DemoOptions::DemoOptions() {
  tokenizer.vocab_size = 4096;
  tokenizer.character_coverage = 0.997;

  ModelConfig& m = pretrain.model;
  m.vocab_size = tokenizer.vocab_size;
  m.hidden_size = 256, m.num_layers = 4, m.num_heads = 4, m.num_kv_heads = 2, m.intermediate_size = 704;
  m.rope_theta = 50000, m.max_position = 1024;
  pretrain.dtype = "bf16";
  pretrain.lr = 2e-3;
  pretrain.batch_tokens = 8192;
  pretrain.warmup_steps = 20;
  pretrain.valid_every = 20;
  pretrain.checkpoint_minutes = 1;
  pretrain.log_every = 5;
  // InternLM2's phases in small: short context, then longer context with a larger RoPE base, then enhancement data.
  PhaseOptions phase;
  phase.name = "short", phase.steps = 240, phase.seq_len = 256, phase.rope_theta = 50000, phase.weights = {1, 0};
  pretrain.phases.push_back(phase);
  phase.name = "long", phase.steps = 20, phase.seq_len = 1024, phase.rope_theta = 1e6;
  pretrain.phases.push_back(phase);
  phase.name = "enhance", phase.steps = 80, phase.seq_len = 512, phase.weights = {1, 1};
  pretrain.phases.push_back(phase);

  finetune.dtype = reward.dtype = rlhf.dtype = "bf16";
  // Small steps: the number of updates is what teaches carries. Text beside them, against forgetting.
  finetune.instructions.arithmetic_100 = 18000, finetune.instructions.arithmetic_1000 = 22000;
  finetune.instructions.page_repeats = 14, finetune.instructions.identity_repeats = 40;
  finetune.instructions.multi_turn = 0.25;
  finetune.sft.epochs = 1, finetune.sft.batch_tokens = 2048, finetune.sft.lr = 1.5e-3, finetune.sft.final_lr = 0.05;
  finetune.text.tokens = 256, finetune.text.coef = 0.3;

  // Pairs of the SFT model's own mistakes: what slips made by program teach does not hold for them.
  PreferenceOptions& p = reward.preferences;
  p.arithmetic_100 = p.arithmetic_1000 = 0, p.concise = 1000;
  reward.held_out_pairs = 1000;
  p.sampled = 80000, p.sampled_share_100 = 0.3, p.sampled_repeats = 2;
  reward.reward.steps = 900, reward.reward.lr = 1e-3;
  reward.reward.loss.token_weight = 0.7, reward.reward.loss.lm_coef = 1;

  PpoOptions& ppo = rlhf.ppo;
  ppo.steps = 150, ppo.prompts = 64, ppo.samples = 4;
  ppo.actor_lr = 2e-4, ppo.critic_lr = 3e-4, ppo.lambda = 0.95, ppo.kl_coef = 0.2;
  ppo.pretrain_tokens = 4096, ppo.pretrain_coef = 1;
  ppo.fast_path.lr = 5e-4, ppo.fast_path.loss = reward.reward.loss;
}

}  // namespace puyu
