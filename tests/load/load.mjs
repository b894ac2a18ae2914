// Everything at once for a while against the real server: answers whole and streamed, several choices, guided ones,
// log-probs, embeddings, scores, slow readers, clients that leave, connections that rested for long, requests that are
// broken or too large, in more classes and clients than there are places for, from three HTTP clients. Then: each request had exactly one outcome, answers that were known
// before are the same under load, every page is free, memory has not grown, and SIGTERM lets the last stream end.
// PUYU_LOAD_SECONDS: how long (20 by default; 600 for the long form).
import assert from "node:assert/strict";
import http from "node:http";
import net from "node:net";
import { random, sleep, start } from "./server.mjs";

const seconds = Number(process.env.PUYU_LOAD_SECONDS ?? 20);
const kClients = 24, kPatienceMs = 60000, kTimeoutSeconds = Math.min(15, Math.ceil(seconds / 4));
const kGrowthMiB = seconds < 300 ? 24 : 8;  // the short form is still warming up; after that it goes up and down by 5
const limits = ["--max_queue=24", "--max_body_bytes=100000", `--timeout_seconds=${kTimeoutSeconds}`, "--grace_seconds=30"];
const tight = ["--engine.max_batch=12", "--engine.max_tokens_per_step=96", "--engine.kv_tokens=1600", "--engine.ageing_tokens=2000"];
const server = await start(process.env.MODEL, ...limits, ...tight);
const judge = await start(process.env.REWARD_MODEL, ...limits, ...tight);

const pick = (r, list) => list[Math.floor(r() * list.length)];
const words = ["hello", "the cat sat on", "大模型从原始文本", "the mat, hello world! ".repeat(6), "word ".repeat(40)];
const chat = (r, more = {}) => ({
  model: "tiny", messages: [{ role: "user", content: pick(r, words) }], temperature: 1, top_p: 1, seed: Math.floor(r() * 4),
  max_tokens: 1 + Math.floor(r() * 40), priority: Math.floor(r() * 5) - 2, user: pick(r, ["a", "b", "c"]), ...more,
});

// Three clients: one that lets a connection go when it was told to (Keep-Alive: timeout), one that keeps it and asks on it
// whatever it was told (Node's agent without a timeout), and fetch(), which has connections and habits of its own.
const agents = [new http.Agent({ keepAlive: true, timeout: 2 * kPatienceMs }), new http.Agent({ keepAlive: true })];
let turn = 0;
// What an error does not say of its connection: whether it was new, how long it was idle, and how far the request came.
function traced(request) {
  const began = performance.now();
  let idle = -1, sent = 0, got = 0;
  request.once("socket", (s) => {
    if (request.reusedSocket) idle = began - s.freeSince;
    if (!request.reusedSocket) s.on("free", () => (s.freeSince = performance.now()));
    [sent, got] = [s.bytesWritten, s.bytesRead];
  });
  return (e) => {
    const s = request.socket, of = s ? `port ${s.localPort}, sent ${s.bytesWritten - sent}, got ${s.bytesRead - got}` : "no socket";
    const how = request.reusedSocket ? `idle for ${Math.round(idle)} ms before` : "new";
    e.message += ` [${e.code}, ${Math.round(performance.now() - began)} ms after the request, connection: ${how}, ${of}]`;
    return e;
  };
}
async function collect(body) {
  let all = "";
  for await (const piece of body) all += piece;
  return all;
}
function answer(status, headers, body) {
  const text = () => collect(body);
  return { status, headers, body, text, json: async () => JSON.parse(await text()) };
}
function ask(agent, to, path, options, send) {
  return new Promise((resolve, reject) => {
    const request = http.request(to.url + path, { agent, ...options }, (r) => resolve(answer(r.statusCode, r.headers, r.setEncoding("utf8"))));
    const explain = traced(request);
    request.on("error", (e) => reject(explain(e)));
    send(request);
  });
}
async function post(to, path, body, away) {
  const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body)), agent = agents[turn++ % 3];
  if (agent) return ask(agent, to, path, { method: "POST", signal: away, headers: { "content-length": bytes.length } }, (q) => q.end(bytes));
  const r = await fetch(to.url + path, { method: "POST", body: bytes, signal: away });
  return answer(r.status, Object.fromEntries(r.headers), r.body.pipeThrough(new TextDecoderStream()));
}
// Nothing may take longer: a request without an outcome is a lost one.
function patiently(promise) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("no outcome")), kPatienceMs)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
// A status that the request may have; 429 is always one, with a time to come again.
async function settle(response, ...allowed) {
  if (response.status === 429) {
    const wait = Number(response.headers["retry-after"]);
    assert.ok(Number.isInteger(wait) && wait >= 1 && wait <= 3600, `Retry-After: ${wait}`);
    assert.equal((await response.json()).error.code, "queue_full");
    return "429";
  }
  if (!allowed.includes(response.status)) throw new Error(`${response.status}: ${await response.text()}`);
  if (response.status !== 200) assert.ok((await response.json()).error.message);
  return null;
}
async function whole(to, path, body, check) {
  const response = await post(to, path, body);
  const refused = await settle(response, 200);
  if (refused) return refused;
  check?.(await response.json());
  return "answered";
}
async function* events(response) {
  let rest = "";
  for await (const piece of response.body) {
    rest += piece;
    for (let end; (end = rest.indexOf("\n\n")) >= 0; rest = rest.slice(end + 2)) yield rest.slice(6, end);
  }
  assert.equal(rest, "");
}
// Reads a stream to its end; `pause` before each event.
async function stream(to, body, pause = 0) {
  const response = await post(to, "/v1/chat/completions", { ...body, stream: true });
  const refused = await settle(response, 200);
  if (refused) return refused;
  let last = "", text = "", ended = 0;
  for await (const event of events(response)) {
    assert.notEqual(last, "[DONE]");
    last = event;
    if (event === "[DONE]") continue;
    const parsed = JSON.parse(event);
    assert.ok(!parsed.error, event);
    for (const c of parsed.choices) (text += c.delta.content ?? ""), (ended += c.finish_reason !== null);
    if (pause) await sleep(pause);
  }
  assert.equal(last, "[DONE]", "the stream was cut off");
  assert.equal(ended, body.n ?? 1);
  return { text };
}
// One request by hand; its first line, or "" when the server just hangs up.
function raw(to, bytes, end = false) {
  return new Promise((resolve) => {
    let got = "";
    const socket = net.connect(to.port, "127.0.0.1", () => (end ? socket.end(bytes) : socket.write(bytes)));
    socket.on("data", (b) => (got += b));
    socket.on("error", () => resolve(got));
    socket.on("close", () => resolve(got));
  });
}
// Connections that were used once and rest longer than the server's time for a request; then they are used again.
const rested = [];
let restedAgain = 0;
async function health(socket) {
  let got = "";
  const whole = new Promise((resolve, reject) => {
    const broke = (e) => reject(new Error(`a connection that rested was ${e ? e.code : "closed"}`));
    socket.on("data", (b) => (got += b).includes('{"status":"ok"}') && resolve()).on("error", broke).on("close", broke);
  });
  socket.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  await whole;
  socket.removeAllListeners().on("error", () => {});
  assert.match(got, /^HTTP\/1\.1 200 /);
}
async function leave(to, body, path, ms) {
  const away = new AbortController();
  const timer = setTimeout(() => away.abort(), ms);
  try {
    const response = await post(to, path, body, away.signal);
    const refused = await settle(response, 200);
    if (refused) return refused;
    await response.text();
    return "answered";
  } catch (e) {
    if (!away.signal.aborted) throw e;
    return "left";
  } finally {
    clearTimeout(timer);
  }
}

// What is known before the load: the same under it.
const fixed = [0, 1, 2, 3].map((i) => ({
  model: "tiny", messages: [{ role: "user", content: words[i] }], temperature: i % 2, top_p: 1, seed: i, max_tokens: 48,
}));
const known = [];
for (const body of fixed) await whole(server, "/v1/chat/completions", body, (a) => known.push(a.choices[0].message.content));
let vector, scores;
const embedding = { model: "tiny", input: ["the cat sat on the mat", "你好"], encoding_format: "float" };
const chats = { model: "tiny", input: ["the cat", "hello", "好"].map((c) => [{ role: "user", content: "hello" }, { role: "assistant", content: c }]) };
await whole(server, "/v1/embeddings", embedding, (a) => (vector = a.data.map((d) => d.embedding)));
await whole(judge, "/v1/score", chats, (a) => (scores = a.data.map((d) => d.score)));

// More than the cache holds at once: some must give way.
const crowd = { ...fixed[0], n: 8, max_tokens: 200, ignore_eos: true };
await Promise.all([1, 2, 3].map(() => whole(server, "/v1/chat/completions", crowd, (a) => assert.equal(a.choices.length, 8))));

const schema = { type: "object", properties: { colour: { enum: ["red", "blue"] }, ok: { type: "boolean" } }, required: ["colour", "ok"] };
const kinds = {
  known: (r) => {
    const i = Math.floor(r() * 4);
    return whole(server, "/v1/chat/completions", fixed[i], (a) => assert.equal(a.choices[0].message.content, known[i]));
  },
  knownStream: async (r) => {
    const i = Math.floor(r() * 4), got = await stream(server, { ...fixed[i], priority: pick(r, [-1, 0, 1]) });
    if (got.text === undefined) return got;
    assert.equal(got.text, known[i]);
    return "answered";
  },
  whole: (r) => whole(server, "/v1/chat/completions", chat(r), (a) => assert.equal(a.choices.length, 1)),
  stream: async (r) => ((await stream(server, chat(r))) === "429" ? "429" : "answered"),
  choices: (r) => {
    const n = 2 + Math.floor(r() * 7);
    return whole(server, "/v1/chat/completions", chat(r, { n }), (a) => assert.equal(a.choices.length, n));
  },
  slow: async (r) => ((await stream(server, chat(r, { n: 3, logprobs: true, top_logprobs: 20 }), r() * 30)) === "429" ? "429" : "answered"),
  leave: (r) => leave(server, chat(r, { max_tokens: 200, stream: r() < 0.5, n: pick(r, [1, 1, 3]) }), "/v1/chat/completions", r() * 60),
  leaveEmbedding: (r) => leave(server, { model: "tiny", input: Array(100).fill("hello world") }, "/v1/embeddings", r() * 30),
  guided: (r) =>
    whole(server, "/v1/chat/completions", chat(r, { guided_json: schema, max_tokens: 200 }), (a) =>
      assert.ok(["red", "blue"].includes(JSON.parse(a.choices[0].message.content).colour))),
  guidedNew: (r) => {  // a grammar that was not compiled before
    const word = "ab".repeat(1 + Math.floor(r() * 20));
    return whole(server, "/v1/chat/completions", chat(r, { guided_choice: [word], max_tokens: 200 }), (a) =>
      assert.equal(a.choices[0].message.content, word));
  },
  logprobs: (r) =>
    whole(server, "/v1/completions", { model: "tiny", prompt: pick(r, words), max_tokens: 0, echo: true, logprobs: 2 }, (a) =>
      assert.ok(a.choices[0].logprobs.token_logprobs.slice(1).every((p) => p <= 0))),
  embeddings: () => whole(server, "/v1/embeddings", embedding, (a) => assert.deepEqual(a.data.map((d) => d.embedding), vector)),
  manyEmbeddings: (r) => {
    const input = Array.from({ length: 1 + Math.floor(r() * 60) }, () => pick(r, words));
    return whole(server, "/v1/embeddings", { model: "tiny", input }, (a) => assert.equal(a.data.length, input.length));
  },
  scores: () => whole(judge, "/v1/score", chats, (a) => assert.deepEqual(a.data.map((d) => d.score), scores)),
  tokenize: (r) => whole(server, "/tokenize", { prompt: "the cat sat on the mat ".repeat(1 + Math.floor(r() * 3000)) }),
  tooLong: async () => {
    const response = await post(server, "/v1/chat/completions", { ...fixed[0], messages: [{ role: "user", content: "hello world ".repeat(4000) }] });
    return (await settle(response, 400)) ?? "refused";
  },
  tooMany: async (r) => {
    const response = await post(server, "/v1/chat/completions", chat(r, { n: 41 }));
    return (await settle(response, 400)) ?? "refused";
  },
  broken: async (r) => {
    const body = JSON.stringify(chat(r)), cut = body.slice(0, Math.floor(r() * body.length));
    const response = await post(server, pick(r, ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize"]), cut);
    return (await settle(response, 400)) ?? "refused";
  },
  tooLarge: async (r) => {  // its answer comes while it is still being sent
    const response = await post(server, "/v1/completions", "x".repeat(100001 + Math.floor(r() * 4e6)));
    return (await settle(response, 413)) ?? "refused";
  },
  oversized: async () => {
    const head = await raw(server, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n");
    assert.match(head, /^HTTP\/1\.1 413/);
    return "refused";
  },
  nonsense: async (r) => {
    const head = await raw(server, Array.from({ length: 40 }, () => String.fromCharCode(33 + Math.floor(r() * 90))).join("") + "\r\n\r\n");
    assert.match(head, /^HTTP\/1\.1 (400|404|405)/);
    return "refused";
  },
  rested: async () => {
    const old = rested.length > 0 && Date.now() - rested[0].since > 1.02 * kTimeoutSeconds * 1000;
    const { socket } = old ? rested.shift() : { socket: net.connect(server.port, "127.0.0.1") };
    await health(socket);
    restedAgain += old;
    if (old || rested.length >= 100) socket.destroy();
    else rested.push({ socket, since: Date.now() });
    return "answered";
  },
  ahead: async () => {  // three requests in one piece
    const one = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n", got = await raw(server, one + one + one.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    assert.equal(got.split("HTTP/1.1 200 ").length, 4, got);
    return "answered";
  },
  head: async () => {
    const response = await ask(agents[turn++ % 2], server, "/health", { method: "HEAD" }, (q) => q.end());
    assert.deepEqual([response.status, response.headers["content-length"], await response.text()], [200, "15", ""]);
    return "answered";
  },
  expects: async () => {  // sends its body when it is told to
    const body = '{"prompt":"hello"}', headers = { expect: "100-continue", "content-length": body.length };
    const response = await ask(agents[turn++ % 2], server, "/tokenize", { method: "POST", headers }, (q) => q.on("continue", () => q.end(body)).flushHeaders());
    return (await settle(response, 200)) ?? (await response.text(), "answered");
  },
  hangUp: async (r) => {  // in the middle of its request
    const body = JSON.stringify(chat(r)), bytes = `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length + 10}\r\n\r\n${body}`;
    await raw(server, bytes.slice(0, 20 + Math.floor(r() * bytes.length)), true);
    return "left";
  },
};

const outcomes = {}, lost = [];
let begun = 0, ended = 0;
const until = Date.now() + seconds * 1000;
async function client(seed) {
  const r = random(seed), all = Object.keys(kinds);
  for (let turn = 0; turn === 0 || Date.now() < until; ++turn) {
    const kind = turn === 0 ? all[seed % all.length] : pick(r, all);  // each comes at least once
    ++begun;
    try {
      const how = await patiently(kinds[kind](r));
      assert.ok(["answered", "refused", "left", "429"].includes(how), String(how));
      ++ended;
      (outcomes[kind] ??= {})[how] = (outcomes[kind][how] ?? 0) + 1;
    } catch (e) {
      lost.push(`${kind}: ${e.message}${e.cause ? " | " + e.cause : ""}`);
      if (lost.length > 20) return;
    }
    if (r() < 0.1) await sleep(r() * 50);
    if (r() < 0.001) for (const end = performance.now() + 100; performance.now() < end;);  // deaf to what closes meanwhile
  }
}
async function watch() {  // every hundredth of the time
  while (Date.now() < until) {
    await sleep(seconds * 10);
    for (const s of [server, judge]) s.rss.push(s.rssMiB());
  }
}
await Promise.all([watch(), ...Array.from({ length: kClients }, (_, i) => client(i + 1))]);

// Pages come back as soon as those who left have been noticed.
for (const s of [server, judge]) {
  let m;
  for (let i = 0; i < 500; ++i) {
    m = await s.metrics();
    if (m.puyu_requests_pending + m.puyu_sequences_running + m.puyu_sequences_waiting + m.puyu_kv_tokens_used === 0) break;
    await sleep(20);
  }
  for (const name of ["puyu_requests_pending", "puyu_sequences_running", "puyu_sequences_waiting", "puyu_kv_tokens_used"])
    assert.equal(m[name], 0, name);
}
const m = await server.metrics();
// Warm by the second third: every kind came often. From there on it may go up and down, and not grow.
const memory = [server, judge].map(({ rss }) => {
  const third = Math.floor(rss.length / 3), of = (part) => [Math.min(...part), Math.max(...part)].map(Math.round);
  return { first: of(rss.slice(0, third)), warm: of(rss.slice(third, 2 * third)), last: of(rss.slice(2 * third)) };
});
const total = {};
for (const kind of Object.values(outcomes)) for (const [how, n] of Object.entries(kind)) total[how] = (total[how] ?? 0) + n;
console.log(JSON.stringify({ seconds, begun, total, lost: lost.length, restedAgain, outcomes,
  rssMiB: memory, preemptions: m.puyu_preemptions_total, tokens: m.puyu_answer_tokens_total }, null, 1));
assert.deepEqual(lost, []);
assert.equal(begun, ended);
assert.ok(m.puyu_preemptions_total > 0, "the cache was not tight");
for (const { warm, last } of memory) assert.ok(last[1] - warm[1] < kGrowthMiB, `memory grew from ${warm[1]} to ${last[1]} MiB`);
for (const kind of Object.keys(kinds)) assert.ok(outcomes[kind], `${kind} never came`);
for (const body of fixed.keys())
  await whole(server, "/v1/chat/completions", fixed[body], (a) => assert.equal(a.choices[0].message.content, known[body]));

// SIGTERM: what runs ends whole, what comes is told, the exit code is 0.
const running = Array.from({ length: 6 }, (_, i) => post(server, "/v1/chat/completions", { ...fixed[1], max_tokens: 300, n: 4, stream: true, seed: i }));
const responses = await Promise.all(running);
server.stop();
const refusals = [];
const knock = (async () => {
  for (;;) {
    const head = await raw(server, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    if (!head) return;  // it has gone
    refusals.push(head.slice(9, 12));
  }
})();
for (const response of responses) {
  let end = "";
  for await (const event of events(response)) end = event;
  assert.equal(end, "[DONE]", "a running stream was cut off");
}
assert.deepEqual(await server.gone, { code: 0, signal: null }, server.log());
await knock;
assert.ok(refusals.every((s) => s === "200" || s === "503") && refusals.includes("503"), refusals.join());
judge.stop();
assert.deepEqual(await judge.gone, { code: 0, signal: null }, judge.log());
