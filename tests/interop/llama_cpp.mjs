// llama.cpp on our GGUF exports, three shapes: the same ids of texts, and in f32 (weights and cache) the same greedy tokens and, within a
// bound, the same log-probs of the whole vocabulary. On q8_0 and q4_0, which both sides read, its products round activations to 8 bits
// and ours do not, so the bounds are wider there.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const { PUYU, MAKE_MODEL, PROBE, PUYU_INTEROP_MODEL } = process.env;
const prompts = JSON.parse(readFileSync("prompts.json", "utf8")).map((p) => p.text);
const kSteps = 32;
// Of |difference| of log-probs over the vocabulary, after each token of every fourth prompt: the largest, and the mean.
const kBounds = { f32: [2e-4, 1e-5], q8_0: [1.5, 0.1], q4_0: [1.5, 0.1] };

const run = (...command) => execFileSync(command[0], command.slice(1), { stdio: ["ignore", "ignore", "pipe"] });

async function serve(folder) {
  const server = spawn(PUYU, ["serve", folder, "--port=0", "--name=m"], { stdio: ["ignore", "pipe", "inherit"] });
  process.on("exit", () => server.kill());  // also when an assertion fails
  const [line] = await once(server.stdout, "data");
  const url = String(line).match(/http:\S+?(?=\/v1)/)[0];
  const post = async (path, body) => {
    const r = await fetch(url + path, { method: "POST", body: JSON.stringify(body) });
    assert.equal(r.status, 200, await r.clone().text());
    return r.json();
  };
  const stop = async () => {
    server.kill("SIGTERM");
    await once(server, "exit");
  };
  return { post, stop };
}

async function load(llama, file) {
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createContext({
    contextSize: 512, threads: 1, flashAttention: false, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32",
  });
  return { model, sequence: context.getSequence(), free: async () => (await context.dispose(), await model.dispose()) };
}

async function theirGreedy(sequence, tokens) {
  await sequence.clearHistory();
  const out = [];
  for await (const token of sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true })) {
    out.push(token);
    if (out.length === kSteps) break;
  }
  return out;
}

// Log-probs of the vocabulary after each token but the last.
async function theirLogprobs(sequence, tokens) {
  await sequence.clearHistory();
  const want = { generateNext: { logits: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } } };
  const rows = await sequence.controlledEvaluate(tokens.map((t) => [t, want]));
  return rows.slice(0, -1).map(({ next }) => {
    const x = new Float64Array(next.logits.size);
    for (const [id, logit] of next.logits) x[id] = logit;
    const top = x.reduce((a, b) => Math.max(a, b));
    const log = top + Math.log(x.reduce((sum, v) => sum + Math.exp(v - top), 0));
    return x.map((v) => v - log);
  });
}

function ourLogprobs(model, sequences) {
  writeFileSync("ids", sequences.map((s) => s.join(" ") + "\n").join(""));
  run(PROBE, "logprobs", model, "f32", "ids", "logprobs");
  const bytes = readFileSync("logprobs");
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

async function allTheirs(sequence, ids) {
  const out = [];
  for (const tokens of ids) for (const row of await theirLogprobs(sequence, tokens)) out.push(row);
  return out;
}

// Of |ours - theirs|, over rows of log-probs.
function distance(ours, theirs) {
  let at = 0, most = 0, sum = 0;
  for (const row of theirs)
    for (const x of row) {
      const d = Math.abs(ours[at++] - x);
      assert.ok(Number.isFinite(d));
      most = Math.max(most, d), sum += d;
    }
  assert.equal(at, ours.length);
  return { most, mean: sum / at };
}

function within(what, { most, mean }, [mostBound, meanBound]) {
  console.log(`${what}: |difference| of log-probs at most ${most.toExponential(1)} (bound ${mostBound}), mean ` +
    `${mean.toExponential(1)} (bound ${meanBound})`);
  assert.ok(most <= mostBound && mean <= meanBound, `${what}: log-probs differ by more than the bound`);
}

async function compareModel(llama, shape, folder) {
  const { post, stop } = await serve(folder);
  const file = (type) => `${shape}-${type}.gguf`;
  for (const type of ["f32", "q8_0", "q4_0"]) run(PUYU, "convert", folder, file(type), "--to", "gguf", "--dtype", type);
  const f32 = await load(llama, file("f32"));
  const ids = [];
  for (const prompt of prompts) {
    const { tokens } = await post("/tokenize", { prompt });
    assert.deepEqual([f32.model.tokens.bos, ...f32.model.tokenize(prompt, false)], tokens, `${shape}: ids of '${prompt}'`);
    ids.push(tokens);
  }
  let tokens = 0;
  for (const [i, prompt] of ids.entries()) {
    const body = { model: "m", prompt, max_tokens: kSteps, temperature: 0, ignore_eos: true, logprobs: 0 };
    const ours = (await post("/v1/completions", body)).choices[0];
    const theirs = await theirGreedy(f32.sequence, prompt);
    assert.equal(ours.logprobs.tokens.length, theirs.length);
    // The server answers in text: the ids are compared by scoring theirs, of which each must be the likeliest.
    const echo = { model: "m", prompt: [...prompt, ...theirs], max_tokens: 0, echo: true, logprobs: 1 };
    const given = (await post("/v1/completions", echo)).choices[0].logprobs;
    const answer = given.token_logprobs.slice(prompt.length);
    assert.deepEqual(answer, ours.logprobs.token_logprobs, `${shape}: greedy answer to '${prompts[i]}'`);
    for (const [k, logp] of answer.entries())
      assert.equal(logp, Math.max(...Object.values(given.top_logprobs[prompt.length + k])), `${shape}: '${prompts[i]}', token ${k}`);
    tokens += theirs.length;
  }
  console.log(`${shape}: ${ids.length} prompts, ${tokens} greedy tokens: the same`);
  const some = ids.filter((_, i) => i % 4 === 0);  // every language among them
  const exact = ourLogprobs(folder, some);
  within(`${shape}, f32`, distance(exact, await allTheirs(f32.sequence, some)), kBounds.f32);
  await f32.free();
  for (const type of ["q8_0", "q4_0"]) {
    const quantised = await load(llama, file(type));
    const theirs = await allTheirs(quantised.sequence, some);
    const near = distance(ourLogprobs(file(type), some), theirs);
    within(`${shape}, ${type}`, near, kBounds[type]);
    // Both read the same numbers: with the exact weights we are further away.
    const far = distance(exact, theirs);
    console.log(`  with our weights in f32 instead: mean ${far.mean.toExponential(1)}`);
    if (type === "q4_0") assert.ok(near.mean < far.mean / 3, `${shape}: ${type} is read as something else`);
    await quantised.free();
  }
  await stop();
}

const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error });
for (const shape of ["internlm2", "llama", "llama-wide"]) {
  run(MAKE_MODEL, shape, shape, "prompts.json");
  await compareModel(llama, shape, shape);
}
if (PUYU_INTEROP_MODEL) await compareModel(llama, "given", PUYU_INTEROP_MODEL);  // a folder of weights in f32
await llama.dispose();
