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
  pretrain.batch_tokens = 16384;
  pretrain.warmup_steps = 20;
  pretrain.valid_every = 25;
  pretrain.checkpoint_minutes = 1;
  pretrain.log_every = 5;
  // InternLM2's phases in small: short context, then longer context with a larger RoPE base, then enhancement data.
  PhaseOptions phase;
  phase.name = "short", phase.steps = 160, phase.seq_len = 256, phase.rope_theta = 50000, phase.weights = {1, 0};
  pretrain.phases.push_back(phase);
  phase.name = "long", phase.steps = 20, phase.seq_len = 1024, phase.rope_theta = 1e6;
  pretrain.phases.push_back(phase);
  phase.name = "enhance", phase.steps = 40, phase.seq_len = 512, phase.weights = {1, 1};
  pretrain.phases.push_back(phase);
}

}  // namespace puyu
