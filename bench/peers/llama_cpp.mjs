// llama.cpp (npm node-llama-cpp) on GGUF files: pp512, tg32 and tg32 x 16 as `puyu bench generate` counts them. The sequences of
// x 16 share one context; each step waits for all of them, so that llama.cpp runs their tokens in one batch.
//   node llama_cpp.mjs THREADS ROUNDS FILE.gguf...     a line of JSON for each file and test: median, least and most of the rounds
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [threads, rounds, ...files] = process.argv.slice(2);
const kPrompt = 512, kTokens = 32, kBatch = 16;
const median = (x) => x.toSorted((a, b) => a - b)[x.length >> 1];

async function measure(file, test, tokens, run) {
  await run();  // memory becomes real
  const rates = [];
  for (let i = 0; i < +rounds; ++i) rates.push((1e9 * tokens) / Number(await run()));
  const row = { file: file.split("/").at(-1), test, rate: median(rates), low: Math.min(...rates), high: Math.max(...rates) };
  console.log(JSON.stringify(row));
}

async function prefill(sequence, prompt) {
  await sequence.clearHistory();
  const start = process.hrtime.bigint();
  await sequence.evaluateWithoutGeneratingNewTokens(prompt);
  return process.hrtime.bigint() - start;
}

// From one token each; the first answers are not counted.
async function decode(sequences, vocabulary) {
  for (const s of sequences) await s.clearHistory();
  const start_id = (i) => 1 + ((1000 + i * 97) % (vocabulary - 1));
  const options = { temperature: 0, yieldEogToken: true };
  const answers = sequences.map((s, i) => s.evaluate([start_id(i)], options));
  const step = async () => {
    for (const { done } of await Promise.all(answers.map((a) => a.next())))
      if (done) throw new Error("a sequence ended before its time");
  };
  await step();
  const start = process.hrtime.bigint();
  for (let i = 0; i < kTokens; ++i) await step();
  const time = process.hrtime.bigint() - start;
  await Promise.all(answers.map((a) => a.return()));
  return time;
}

const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: +threads });
for (const file of files) {
  const model = await llama.loadModel({ modelPath: file });
  const vocabulary = model.fileInfo.metadata.tokenizer.ggml.tokens.length;
  const make = (sequences, contextSize) =>
    model.createContext({ sequences, contextSize, batchSize: kPrompt, threads: +threads, flashAttention: true });
  const context = await make(1, 2 * kPrompt);
  const sequence = context.getSequence();
  const prompt = Array.from({ length: kPrompt }, (_, i) => 1 + ((999 + i * 7919) % (vocabulary - 1)));
  await measure(file, `pp${kPrompt}`, kPrompt, () => prefill(sequence, prompt));
  await measure(file, `tg${kTokens}`, kTokens, () => decode([sequence], vocabulary));
  await context.dispose();
  const batched = await make(kBatch, 128);
  const sequences = Array.from({ length: kBatch }, () => batched.getSequence());
  await measure(file, `tg${kTokens} x ${kBatch}`, kTokens * kBatch, () => decode(sequences, vocabulary));
  await batched.dispose();
  await model.dispose();
}
await llama.dispose();
process.exit(0);
