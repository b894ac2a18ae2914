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
  pretrain.valid_every = 40;
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
  // Small steps: the number of updates is what teaches carries.
  finetune.instructions.arithmetic_100 = 18000, finetune.instructions.arithmetic_1000 = 22000;
  finetune.instructions.page_repeats = 30, finetune.instructions.identity_repeats = 40;
  finetune.sft.epochs = 1, finetune.sft.batch_tokens = 2048, finetune.sft.lr = 1.5e-3, finetune.sft.final_lr = 0.05;

  reward.preferences.arithmetic_100 = 5000, reward.preferences.arithmetic_1000 = 7000;
  reward.reward.steps = 400;

  rlhf.ppo.steps = 80, rlhf.ppo.prompts = 96, rlhf.ppo.critic_lr = 3e-4;
}

}  // namespace puyu
