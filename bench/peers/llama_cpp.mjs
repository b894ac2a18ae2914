// llama.cpp (npm node-llama-cpp) on GGUF files: pp512 and tg32 as `puyu bench generate` counts them.
//   node llama_cpp.mjs THREADS ROUNDS FILE.gguf...     a line of JSON for each file and test
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [threads, rounds, ...files] = process.argv.slice(2);
const median = (x) => x.sort((a, b) => a - b)[x.length >> 1];
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: +threads });
for (const file of files) {
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createContext({ contextSize: 1024, batchSize: 512, threads: +threads, flashAttention: true });
  const sequence = context.getSequence();
  const prompt = Array.from({ length: 512 }, (_, i) => 1000 + ((i * 7919) % 80000));
  const measure = async (test, tokens, run) => {
    await run();  // memory becomes real
    const rates = [];
    for (let i = 0; i < +rounds; ++i) {
      await sequence.clearHistory();
      rates.push((1e9 * tokens) / Number(await run()));
    }
    console.log(JSON.stringify({ file: file.split("/").at(-1), test, rate: median(rates), low: Math.min(...rates), high: Math.max(...rates) }));
  };
  await measure("pp512", 512, async () => {
    await sequence.clearHistory();
    const start = process.hrtime.bigint();
    await sequence.evaluateWithoutGeneratingNewTokens(prompt);
    return process.hrtime.bigint() - start;
  });
  await measure("tg32", 32, async () => {
    await sequence.clearHistory();
    let n = 0, start;
    for await (const _ of sequence.evaluate([1000], { temperature: 0, yieldEogToken: true })) {
      if (n++ === 0) start = process.hrtime.bigint();
      if (n === 33) break;
    }
    return process.hrtime.bigint() - start;
  });
  await context.dispose();
  await model.dispose();
}
await llama.dispose();
process.exit(0);
