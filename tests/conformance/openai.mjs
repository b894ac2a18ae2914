// OpenAI's own client against puyu serve: chat, completions, streams, errors.
import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";
import { collect, failure, metrics, serve, until } from "./server.mjs";

const url = await serve();
const client = new OpenAI({ baseURL: url + "/v1", apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "hello" }];
const ask = { model: "tiny", messages, max_tokens: 12, temperature: 1, top_p: 1, seed: 3 };
const chat = (more = {}, options) => client.chat.completions.create({ ...ask, ...more }, options);
const complete = (more = {}) =>
  client.completions.create({ model: "tiny", prompt: "hello", max_tokens: 8, temperature: 1, top_p: 1, seed: 3, ...more });

test("models", async () => {
  const ids = (await collect(client.models.list())).map((m) => m.id);
  assert.deepEqual(ids, ["tiny"]);
  assert.equal((await client.models.retrieve("tiny")).object, "model");
  assert.equal((await failure(client.models.retrieve("other"))).status, 404);
});

test("chat: the same seed gives the same answer, and usage adds up", async () => {
  const a = await chat(), b = await chat();
  assert.equal(a.object, "chat.completion");
  assert.equal(a.choices[0].message.role, "assistant");
  assert.equal(a.choices[0].message.content, b.choices[0].message.content);
  assert.equal(a.usage.total_tokens, a.usage.prompt_tokens + a.usage.completion_tokens);
  assert.equal(a.usage.completion_tokens, 12);
  assert.equal(a.choices[0].finish_reason, "length");
});

test("chat: a stream holds the whole answer, its role first, usage last", async () => {
  const whole = await chat();
  const chunks = await collect(await chat({ stream: true, stream_options: { include_usage: true } }));
  assert.equal(chunks[0].choices[0].delta.role, "assistant");
  assert.equal(chunks.map((c) => c.choices[0]?.delta.content ?? "").join(""), whole.choices[0].message.content);
  assert.equal(chunks.at(-2).choices[0].finish_reason, "length");
  assert.deepEqual(chunks.at(-1).choices, []);
  const { prompt_tokens_details: cached, ...usage } = chunks.at(-1).usage;
  const { prompt_tokens_details: before, ...wholeUsage } = whole.usage;
  assert.deepEqual(usage, wholeUsage);
  assert.ok(before.cached_tokens <= cached.cached_tokens && cached.cached_tokens < usage.prompt_tokens);
  assert.equal(new Set(chunks.map((c) => c.id)).size, 1);
});

test("chat: the client's stream helper", async () => {
  const whole = await chat();
  const runner = client.chat.completions.stream({ ...ask, stream: true });
  let text = "";
  runner.on("content", (delta) => (text += delta));
  const final = await runner.finalChatCompletion();
  assert.equal(final.choices[0].message.content, whole.choices[0].message.content);
  assert.equal(text, whole.choices[0].message.content);
});

test("chat: stop texts, parts of content, the developer's role", async () => {
  const text = (await chat({ max_tokens: 40 })).choices[0].message.content;
  const stop = text.slice(3, 6);
  const cut = await chat({ max_tokens: 40, stop: ["never in it", stop] });
  assert.equal(cut.choices[0].message.content, text.slice(0, text.indexOf(stop)));
  assert.equal(cut.choices[0].finish_reason, "stop");
  const parts = [{ type: "text", text: "hel" }, { type: "text", text: "lo" }];
  const same = await chat({ max_tokens: 40, messages: [{ role: "user", content: parts }] });
  assert.equal(same.choices[0].message.content, text);
  const system = await chat({ messages: [{ role: "system", content: "be brief" }, ...messages] });
  const developer = await chat({ messages: [{ role: "developer", content: "be brief" }, ...messages] });
  assert.equal(system.choices[0].message.content, developer.choices[0].message.content);
  assert.equal((await chat({ max_tokens: undefined, max_completion_tokens: 5 })).usage.completion_tokens, 5);
});

test("completions, whole and streamed", async () => {
  const whole = await complete();
  assert.equal(whole.object, "text_completion");
  const chunks = await collect(await complete({ stream: true }));
  assert.equal(chunks.map((c) => c.choices[0].text).join(""), whole.choices[0].text);
});

test("n answers to each of several prompts, whole and streamed", async () => {
  const one = await chat();
  const three = await chat({ n: 3 });
  assert.deepEqual(three.choices.map((c) => c.index), [0, 1, 2]);
  assert.equal(three.choices[0].message.content, one.choices[0].message.content);
  assert.equal(new Set(three.choices.map((c) => c.message.content)).size, 3);
  assert.equal(three.usage.prompt_tokens, one.usage.prompt_tokens);
  const texts = ["", "", ""], ends = [];
  for (const { choices: [c] } of await collect(await chat({ n: 3, stream: true }))) {
    texts[c.index] += c.delta.content ?? "";
    if (c.finish_reason) ends.push(c.index);
  }
  assert.deepEqual(texts, three.choices.map((c) => c.message.content));
  assert.deepEqual(ends.sort(), [0, 1, 2]);
  const batch = await complete({ prompt: ["hello", "the cat"], n: 2 });
  const alone = await complete({ prompt: "the cat", n: 2 });
  assert.deepEqual(batch.choices.slice(2).map((c) => c.text), alone.choices.map((c) => c.text));
  const post = (body) => fetch(url + "/tokenize", { method: "POST", body: JSON.stringify(body) }).then((r) => r.json());
  const { tokens } = await post({ prompt: "the cat" });
  const ids = await complete({ prompt: [tokens, tokens], n: 2 });
  assert.deepEqual(ids.choices.slice(2).map((c) => c.text), alone.choices.map((c) => c.text));
  assert.equal(ids.usage.prompt_tokens, 2 * tokens.length);
  assert.equal((await complete({ prompt: tokens })).choices[0].text, alone.choices[0].text);
  assert.equal((await failure(complete({ prompt: [99999999] }))).status, 400);
  const refused = await failure(complete({ prompt: ["hello", "hello world ".repeat(800)] }));
  assert.equal(refused.status, 400);  // all or none, and the first one's place is free again
});

test("guided answers: response_format and the guided fields", async () => {
  const schema = {
    type: "object",
    properties: { name: { type: "string", maxLength: 5 }, size: { enum: ["s", "m"] } },
    required: ["name", "size"],
  };
  const response_format = { type: "json_schema", json_schema: { name: "thing", strict: true, schema } };
  const whole = (await chat({ max_tokens: 150, response_format })).choices[0];
  assert.equal(whole.finish_reason, "stop");
  const thing = JSON.parse(whole.message.content);
  assert.deepEqual(Object.keys(thing), ["name", "size"]);
  assert.ok(["s", "m"].includes(thing.size) && thing.name.length <= 10);
  const chunks = await collect(await chat({ max_tokens: 150, response_format, stream: true }));
  assert.equal(chunks.map((c) => c.choices[0]?.delta.content ?? "").join(""), whole.message.content);
  assert.ok((await chat({ response_format: { type: "json_object" } })).choices[0].message.content.startsWith("{"));
  assert.match((await complete({ guided_regex: "[ab]{3}" })).choices[0].text, /^[ab]{3}$/);
  assert.equal((await complete({ guided_choice: ["yes"] })).choices[0].text, "yes");
  const e = await failure(chat({ response_format: { type: "json_schema", json_schema: { name: "x", schema: { not: {} } } } }));
  assert.equal(e.param, "response_format.json_schema.schema");
  assert.match(e.message, /#\/not/);
});

test("penalties, biases, lengths and forbidden words", async () => {
  const plain = (await chat({ max_tokens: 40 })).choices[0].message.content;
  for (const more of [{ frequency_penalty: 2 }, { presence_penalty: -2 }, { logit_bias: { 300: 30 } }])
    assert.notEqual((await chat({ max_tokens: 40, ...more })).choices[0].message.content, plain, JSON.stringify(more));
  assert.equal((await chat({ max_tokens: 40, frequency_penalty: 0 })).choices[0].message.content, plain);
  const { tokens: [id] } = await fetch(url + "/tokenize", { method: "POST", body: JSON.stringify({ prompt: "cat", add_special_tokens: false }) }).then((r) => r.json());
  const forced = await complete({ logit_bias: { [id]: 100 }, max_tokens: 3, temperature: 0, logprobs: 0 });
  assert.equal(new Set(forced.choices[0].logprobs.tokens).size, 1);
  const stop = plain.slice(3, 6);
  const hit = await chat({ max_tokens: 40, stop: ["never in it", stop] });
  assert.equal(hit.choices[0].stop_reason, stop);
  assert.equal((await chat({ max_tokens: 40, stop, min_tokens: 40 })).choices[0].finish_reason, "length");
  assert.equal((await chat({ max_tokens: 40, ignore_eos: true })).usage.completion_tokens, 40);
  const word = plain.trim().split(" ")[0];
  assert.ok(!(await chat({ max_tokens: 40, bad_words: [word] })).choices[0].message.content.includes(" " + word + " "));
});

test("chat: log-probs, whole and streamed", async () => {
  const whole = (await chat({ logprobs: true, top_logprobs: 3 })).choices[0];
  const { content } = whole.logprobs;
  assert.equal(content.length, 12);
  const bytes = Buffer.from(content.flatMap((t) => t.bytes));
  assert.equal(bytes.toString(), whole.message.content);
  for (const t of content) {
    assert.ok(t.logprob <= 0 && t.top_logprobs.length === 3);
    assert.ok(t.top_logprobs[0].logprob >= t.top_logprobs[1].logprob && t.top_logprobs[0].logprob >= t.logprob);
    if (t.logprob >= t.top_logprobs[2].logprob)
      assert.ok(t.top_logprobs.some((o) => o.token === t.token && o.logprob === t.logprob));
  }
  const chunks = await collect(await chat({ logprobs: true, top_logprobs: 3, stream: true }));
  assert.deepEqual(chunks.flatMap((c) => c.choices[0].logprobs?.content ?? []), content);
  assert.equal((await chat()).choices[0].logprobs, null);
  assert.equal((await failure(chat({ top_logprobs: 3 }))).param, "top_logprobs");
  assert.equal((await failure(chat({ logprobs: true, top_logprobs: 21 }))).param, "top_logprobs");
});

test("completions: log-probs and echo, as lm-eval's local-completions asks", async () => {
  const { tokens } = await fetch(url + "/tokenize", { method: "POST", body: JSON.stringify({ prompt: "the cat sat on" }) }).then((r) => r.json());
  const asked = { prompt: [tokens, tokens.slice(0, 3)], max_tokens: 1, logprobs: 1, echo: true, temperature: 0, seed: 1234 };
  const { choices } = await complete(asked);
  for (const [i, ids] of asked.prompt.entries()) {
    const l = choices[i].logprobs;
    for (const list of [l.tokens, l.token_logprobs, l.top_logprobs, l.text_offset]) assert.equal(list.length, ids.length + 1);
    assert.equal(l.token_logprobs[0], null);
    assert.ok(l.token_logprobs.slice(1).every((x) => x <= 0));
    assert.ok(l.top_logprobs.slice(1).every((top, t) => Math.max(...Object.values(top)) >= l.token_logprobs[t + 1]));
    // Greedy: the last token is the most likely one.
    assert.equal(Math.max(...Object.values(l.top_logprobs.at(-1))), l.token_logprobs.at(-1));
    assert.deepEqual(l.text_offset.map((o) => o <= choices[i].text.length), l.text_offset.map(() => true));
  }
  assert.deepEqual(choices[1].logprobs.token_logprobs.slice(0, 3), choices[0].logprobs.token_logprobs.slice(0, 3));
  const none = (await complete({ ...asked, prompt: tokens, max_tokens: 0 })).choices[0];
  assert.deepEqual(none.logprobs.token_logprobs, choices[0].logprobs.token_logprobs.slice(0, -1));
  assert.equal(none.text, "the cat sat on");
  // The log-probs of sampled tokens are those of the same tokens in an echoed prompt.
  const answer = (await complete({ prompt: tokens, logprobs: 0, max_tokens: 6 })).choices[0];
  const text = "the cat sat on" + answer.text;
  const echoed = (await complete({ prompt: "the cat sat on", echo: true, logprobs: 0, max_tokens: 6 })).choices[0];
  assert.equal(echoed.text, text);
  assert.deepEqual(echoed.logprobs.token_logprobs.slice(-6), answer.logprobs.token_logprobs);
  const chunks = await collect(await complete({ prompt: "the cat sat on", echo: true, logprobs: 0, max_tokens: 6, stream: true }));
  assert.equal(chunks.map((c) => c.choices[0].text).join(""), text);
  assert.deepEqual(chunks.flatMap((c) => c.choices[0].logprobs?.token_logprobs ?? []), echoed.logprobs.token_logprobs);
  assert.deepEqual(chunks.flatMap((c) => c.choices[0].logprobs?.text_offset ?? []), echoed.logprobs.text_offset);
  assert.equal((await failure(complete({ max_tokens: 0 }))).param, "max_tokens");
});

test("wrong types and values are 400 with the field's name", async () => {
  const wrong = [
    ["temperature", "hot"], ["temperature", 3], ["top_p", []], ["max_tokens", 0], ["max_tokens", 1.5], ["seed", "x"],
    ["stop", 7], ["stream", "yes"], ["n", 0], ["presence_penalty", 3], ["frequency_penalty", "x"], ["logit_bias", []],
    ["logprobs", 3], ["min_tokens", -1], ["ignore_eos", 1], ["bad_words", "x"], ["messages", "hello"], ["messages", []], ["temprature", 1],
  ];
  for (const [field, value] of wrong) {
    const e = await failure(chat({ [field]: value }));
    assert.equal(e.status, 400, field);
    assert.equal(e.param, field);
    assert.equal(e.type, "invalid_request_error");
  }
  const places = [
    [[{ role: "king", content: "x" }], "messages[0].role"], [[{ content: "x" }], "messages[0].role"], [[7], "messages[0]"],
    [[...messages, { role: "user", content: 7 }], "messages[1].content"],
    [[{ role: "user", content: [{ type: "text", text: 7 }] }], "messages[0].content[0].text"],
    [[{ role: "user", content: [{ type: "image_url", image_url: {} }] }], "messages[0].content[0]"],
    [[{ role: "tool", content: "x" }], "messages[0].tool_call_id"],
  ];
  for (const [turns, param] of places) assert.equal((await failure(chat({ messages: turns }))).param, param);
  const completion = [["prompt", 7], ["prompt", [[]]], ["logprobs", 21], ["echo", "yes"], ["suffix", "x"], ["messages", messages]];
  for (const [field, value] of completion)
    assert.match((await failure(complete({ [field]: value }))).param, new RegExp(`^${field}`));
});

test("metrics in Prometheus' format", async () => {
  const r = await fetch(url + "/metrics");
  assert.match(r.headers.get("content-type"), /^text\/plain; version=0\.0\.4/);
  const lines = (await r.text()).trim().split("\n");
  for (const line of lines) assert.match(line, /^(# (HELP|TYPE) puyu_\w+ .+|puyu_\w+(\{\w+="[^"]+"\})? [-+.\de]+)$/);
  assert.ok(lines.some((l) => /^puyu_answer_tokens_total [1-9]/.test(l)));
});

test("an unknown model is 404", async () => {
  const e = await failure(chat({ model: "other" }));
  assert.ok(e instanceof OpenAI.NotFoundError);
  assert.equal(e.code, "model_not_found");
});

test("too long a prompt is 400 and says the limit", async () => {
  const e = await failure(chat({ messages: [{ role: "user", content: "hello world ".repeat(800) }] }));
  assert.equal(e.status, 400);
  assert.match(e.message, /1024/);
});

test("a client that aborts in mid-stream frees its place", async () => {
  const one = await serve("--max_queue=1");
  const other = new OpenAI({ baseURL: one + "/v1", apiKey: "none", maxRetries: 0 });
  const patient = async (call) => {  // asks again while the place is taken
    for (let i = 0; ; ++i)
      try {
        return await call();
      } catch (e) {
        if (e.status !== 429 || i > 500) throw e;
        assert.ok(Number(e.headers.get("retry-after")) >= 1);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
  };
  for (let i = 0; i < 3; ++i) {
    const stream = await patient(() => other.chat.completions.create({ ...ask, max_tokens: 200, stream: true }));
    for await (const chunk of stream) if (chunk.choices[0].delta.content) break;  // leaving the loop aborts
  }
  const answer = await patient(() => other.chat.completions.create(ask));
  assert.equal(answer.usage.completion_tokens, 12);
});

test("an abort in mid-stream frees everything at once, and is counted as one", async () => {
  const one = await serve();
  const other = new OpenAI({ baseURL: one + "/v1", apiKey: "none", maxRetries: 0 });
  const aborted = 'puyu_answers_total{reason="aborted"}';
  assert.equal((await metrics(one))[aborted], 0);
  for (const [i, path] of ["chat/completions", "responses"].entries()) {
    const long = { model: "tiny", temperature: 1, stream: true, ignore_eos: true };
    const stream = path === "responses"
      ? await other.responses.create({ ...long, input: "hello", max_output_tokens: 900 })
      : await other.chat.completions.create({ ...long, messages, max_tokens: 300, n: 3 });
    let pieces = 0;
    for await (const _ of stream) if (++pieces > 8) break;  // leaving the loop aborts
    const after = await until(() => metrics(one), (m) => m.puyu_sequences_running + m.puyu_sequences_waiting === 0);
    assert.equal(after.puyu_kv_tokens_used, 0);
    assert.equal(after.puyu_requests_pending, 0);
    assert.equal(after[aborted], i === 0 ? 3 : 4);
  }
});

test("keys and origins", async () => {
  const closed = await serve("--api_key=right", "--cors_origin=https://page.example");
  const as = (apiKey) => new OpenAI({ baseURL: closed + "/v1", apiKey, maxRetries: 0 });
  for (const key of ["wrong", "rightx", "righ", "rightright"]) {
    const e = await failure(as(key).chat.completions.create(ask));
    assert.ok(e instanceof OpenAI.AuthenticationError, key);
    assert.equal(e.code, "invalid_api_key");
  }
  await as("right").chat.completions.create(ask);
  assert.equal((await fetch(closed + "/v1/models")).status, 401);
  assert.equal((await fetch(closed + "/health")).status, 200);
  assert.equal((await fetch(closed + "/tokenize", { method: "POST", body: "{}" })).status, 401);
  assert.equal((await fetch(closed + "/v1/models", { headers: { "x-api-key": "right" } })).status, 200);
  const preflight = await fetch(closed + "/v1/chat/completions", { method: "OPTIONS" });
  assert.equal(preflight.status, 200);
  assert.equal(preflight.headers.get("access-control-allow-origin"), "https://page.example");
  const { response } = await as("right").chat.completions.create({ ...ask, stream: true }).withResponse();
  assert.equal(response.headers.get("access-control-allow-origin"), "https://page.example");
});
