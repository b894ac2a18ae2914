// llama.cpp on our q4_k export: it loads, and its greedy tokens are those of puyu on the same file nearly always (it
// rounds activations to 8 bits, puyu does not; a block laid out wrongly would agree by chance, 1 in 512).
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const { PUYU, MAKE_MODEL } = process.env;
const run = (...args) => execFileSync(args[0], args.slice(1), { stdio: ["ignore", "pipe", "inherit"] }).toString();
run(MAKE_MODEL, "wide", "blocks", "prompts.json");
run(PUYU, "convert", "wide", "wide.gguf", "--to", "gguf", "--dtype", "q4_k");

const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: "wide.gguf" });
const context = await model.createContext({ contextSize: 256, threads: 2 });
const sequence = context.getSequence();
const prompts = ["the cat", "sat on the mat", "hello world", "大模型", "从原始文本", "到对话", "x = y", "ENDE", "the", "on"];
let same = 0;
for (const prompt of prompts) {
  const options = ["-p", prompt, "--greedy", "--max-tokens", "1", "--ignore_eos", "--json", "--dtype", "f32"];
  const ours = JSON.parse(run(PUYU, "generate", "wide.gguf", ...options)).text;
  await sequence.clearHistory();
  for await (const token of sequence.evaluate([model.tokens.bos, ...model.tokenize(prompt, false)], { temperature: 0, yieldEogToken: true })) {
    same += model.detokenize([token]) === ours;
    break;
  }
}
assert.ok(same >= 8, `${same} of ${prompts.length} first tokens agree`);
console.log(`${same} of ${prompts.length} first tokens agree`);
await llama.dispose();
