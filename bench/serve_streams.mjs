// 256 event streams open at once: how long until a request has its response headers, apart from how long the model
// takes. Usage: tests/load/run.sh build/release/puyu build/release/tests/tiny_model ../../bench/serve_streams.mjs
//   burst   256 connections that are open already send their requests at the same moment
//   steady  while 255 others stream, one more at a time asks, 500 in turn
// Prints medians and p99 in ms of headers, of the first token, and how many streams were lost.
import net from "node:net";
import { sleep, start } from "../tests/load/server.mjs";

const kStreams = 256;
const server = await start(process.env.MODEL, "--max_queue=1024", "--timeout_seconds=120");
const tokens = Number(process.env.PUYU_BENCH_TOKENS ?? 60);

const connect = () =>
  new Promise((resolve, reject) => {
    const socket = net.connect(server.port, "127.0.0.1", () => resolve(socket));
    socket.setNoDelay(true);
    socket.once("error", reject);
  });
// Sends the request; headers and first token in ms since then, and whether the stream came whole.
function ask(socket, i, max_tokens) {
  const body = JSON.stringify({ model: "tiny", stream: true, max_tokens, ignore_eos: true, seed: i, temperature: 1,
    messages: [{ role: "user", content: `hello ${i}: the cat sat on the mat` }] });
  const out = { headers: NaN, token: NaN, whole: false };
  out.done = new Promise((resolve) => {
    const begun = performance.now();
    let text = "";
    socket.on("data", (bytes) => {
      const now = performance.now() - begun;
      if (Number.isNaN(out.headers)) out.headers = now;
      text += bytes;
      if (Number.isNaN(out.token) && /"content":"[^"]/.test(text)) out.token = now;
      if (text.includes("data: [DONE]")) (out.whole = text.startsWith("HTTP/1.1 200")), socket.end(), resolve();
    });
    socket.on("error", () => resolve());
    socket.on("close", () => resolve());
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  });
  return out;
}
const at = (list, q) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.ceil(q * list.length) - 1)];
function report(name, all) {
  const row = { case: name, streams: all.length, lost: all.filter((s) => !s.whole).length };
  for (const what of ["headers", "token"])
    for (const [label, q] of [["p50", 0.5], ["p99", 0.99], ["max", 1]]) row[`${what}_${label}`] = Number(at(all.map((s) => s[what]), q).toFixed(1));
  console.log(JSON.stringify(row));
  return row;
}

await ask(await connect(), 0, 4).done;  // warm
const rows = [];
for (let round = 0; round < 5; ++round) {
  const sockets = await Promise.all(Array.from({ length: kStreams }, connect));
  const all = sockets.map((s, i) => ask(s, i, tokens));
  await Promise.all(all.map((s) => s.done));
  rows.push(report("burst", all));
}
let open = true;
const crowd = Array.from({ length: kStreams - 1 }, async (_, i) => {
  let lost = 0;
  while (open) {
    const s = ask(await connect(), i, 4 * tokens);
    await s.done;
    lost += !s.whole;
  }
  return lost;
});
await sleep(1000);
const one = [];
for (let i = 0; i < 500; ++i) {
  const s = ask(await connect(), i, 1);
  one.push(s);
  while (Number.isNaN(s.headers)) await sleep(1);
  if (i % 50 === 49) await s.done;
}
open = false;
await Promise.all(one.map((s) => s.done));
const lost = (await Promise.all(crowd)).reduce((a, b) => a + b);
rows.push(report("steady", one));
console.log(`lost among the others: ${lost}`);
server.stop();
const { code } = await server.gone;
process.exit(code === 0 && lost === 0 && rows.every((r) => r.lost === 0) ? 0 : 1);
