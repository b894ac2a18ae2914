// OpenAI's own client against puyu serve: chat, completions, streams, errors.
import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";
import { collect, failure, serve } from "./server.mjs";

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
  const refused = await failure(complete({ prompt: ["hello", "hello world ".repeat(400)] }));
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

test("wrong types and values are 400 with the field's name", async () => {
  const wrong = [
    ["temperature", "hot"], ["temperature", 3], ["top_p", []], ["max_tokens", 0], ["max_tokens", 1.5], ["seed", "x"],
    ["stop", 7], ["stream", "yes"], ["n", 0], ["messages", "hello"], ["messages", []], ["temprature", 1],
  ];
  for (const [field, value] of wrong) {
    const e = await failure(chat({ [field]: value }));
    assert.equal(e.status, 400, field);
    assert.equal(e.param, field);
    assert.equal(e.type, "invalid_request_error");
  }
  const e = await failure(chat({ messages: [{ role: "king", content: "x" }] }));
  assert.equal(e.param, "messages[0].role");
});

test("an unknown model is 404", async () => {
  const e = await failure(chat({ model: "other" }));
  assert.ok(e instanceof OpenAI.NotFoundError);
  assert.equal(e.code, "model_not_found");
});

test("too long a prompt is 400 and says the limit", async () => {
  const e = await failure(chat({ messages: [{ role: "user", content: "hello world ".repeat(400) }] }));
  assert.equal(e.status, 400);
  assert.match(e.message, /256/);
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
