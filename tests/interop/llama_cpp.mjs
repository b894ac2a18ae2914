// llama.cpp on our GGUF export, in f32 with a cache in f32: the same ids of texts and the same greedy tokens.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const { PUYU, MODEL } = process.env;
const gguf = MODEL + ".gguf";
execFileSync(PUYU, ["convert", MODEL, gguf, "--to", "gguf", "--dtype", "f32"], { stdio: ["ignore", "ignore", "inherit"] });

// 60 prompts: English, Chinese, code, odd bytes.
const words = ["the cat", "sat on", "hello world", "大模型", "从原始文本", "到对话", "🐉话题", "int main()", "{ return 0; }", "x = y[i] + 1", "  two", "ENDE"];
const prompts = [];
for (let i = 0; prompts.length < 60; ++i)
  prompts.push([0, 1, 2, 3].slice(0, 1 + (i % 4)).map((k) => words[(i * 5 + k * 7) % words.length]).join(i % 3 ? " " : ""));

const server = spawn(PUYU, ["serve", MODEL, "--port=0", "--name=tiny"], { stdio: ["ignore", "pipe", "inherit"] });
process.on("exit", () => server.kill());  // also when an assertion fails
const [line] = await once(server.stdout, "data");
const url = String(line).match(/http:\S+?(?=\/v1)/)[0];
const post = async (path, body) => {
  const r = await fetch(url + path, { method: "POST", body: JSON.stringify(body) });
  assert.equal(r.status, 200, await r.clone().text());
  return r.json();
};

const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: gguf });
const context = await model.createContext({
  contextSize: 256, threads: 2, flashAttention: false, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32",
});
const sequence = context.getSequence();
const steps = 24;
let compared = 0;
for (const prompt of prompts) {
  const { tokens } = await post("/tokenize", { prompt });
  assert.deepEqual([model.tokens.bos, ...model.tokenize(prompt, false)], tokens, `ids of '${prompt}'`);
  const body = { model: "tiny", prompt: tokens, max_tokens: steps, temperature: 0, ignore_eos: true, logprobs: 1 };
  const ours = (await post("/v1/completions", body)).choices[0];
  await sequence.clearHistory();
  const theirs = [];
  for await (const token of sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true })) {
    theirs.push(token);
    if (theirs.length === steps) break;
  }
  // Ids of the padding have no text.
  const { prompt: text } = await post("/detokenize", { tokens: theirs.filter((t) => t < 512) });
  assert.equal(text, ours.text, `greedy answer to '${prompt}'`);
  compared += theirs.length;
}
console.log(`${prompts.length} prompts, ${compared} greedy tokens: the same`);
await llama.dispose();
server.kill("SIGTERM");
await once(server, "exit");
