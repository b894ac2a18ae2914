// Anthropic's own client on /v1/messages: text, streams, tools, counts, errors.
import assert from "node:assert/strict";
import test from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import Ajv from "ajv";
import { callsAtOnce, collect, failure, post, serve } from "./server.mjs";

const url = await serve();
const client = new Anthropic({ baseURL: url, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "hello" }];
const ask = { model: "tiny", messages, max_tokens: 24, temperature: 1, top_p: 1, seed: 3 };
const say = (more = {}) => client.messages.create({ ...ask, ...more });
const chat = (more) => post(url + "/v1/chat/completions", { ...ask, ...more });
const add = {
  type: "object",
  properties: { a: { type: "integer", minimum: 0, maximum: 99 }, b: { enum: ["x", "y"] } },
  required: ["a", "b"],
  additionalProperties: false,
};
const tools = [{ name: "add", description: "adds", input_schema: add }];
const one = { disable_parallel_tool_use: true };
const valid = new Ajv().compile(add);

test("text: the answer of a chat, and what it cost", async () => {
  const m = await say();
  const [plain] = (await chat()).choices;
  assert.equal(m.type, "message");
  assert.equal(m.role, "assistant");
  assert.match(m.id, /^msg_/);
  assert.equal(m.content.length, 1);
  assert.equal(m.content[0].text, plain.message.content);
  assert.equal(m.stop_reason, "max_tokens");
  assert.equal(m.stop_sequence, null);
  assert.equal(m.usage.output_tokens, 24);
  const system = await say({ system: "be brief" });
  const same = await say({ system: [{ type: "text", text: "be ", cache_control: { type: "ephemeral" } }, { type: "text", text: "brief" }] });
  const want = await chat({ messages: [{ role: "system", content: "be brief" }, ...messages] });
  assert.equal(system.content[0].text, want.choices[0].message.content);
  assert.equal(same.content[0].text, want.choices[0].message.content);
  const parts = [{ type: "text", text: "hel" }, { type: "text", text: "lo" }];
  assert.equal((await say({ messages: [{ role: "user", content: parts }] })).content[0].text, plain.message.content);
  assert.equal((await say({ max_tokens: 5000, ignore_eos: true })).stop_reason, "model_context_window_exceeded");
});

test("stop sequences", async () => {
  const { text } = (await say({ max_tokens: 60 })).content[0];
  const stop = text.slice(5, 8);
  const cut = await say({ max_tokens: 60, stop_sequences: ["never in it", stop] });
  assert.equal(cut.content[0].text, text.slice(0, text.indexOf(stop)));
  assert.equal(cut.stop_reason, "stop_sequence");
  assert.equal(cut.stop_sequence, stop);
  const last = (await collect(await say({ max_tokens: 60, stop_sequences: [stop], stream: true }))).at(-2);
  assert.deepEqual(last.delta, { stop_reason: "stop_sequence", stop_sequence: stop });
});

test("a stream's events come in Anthropic's order and add up to the whole", async () => {
  const whole = await say();
  const events = await collect(await say({ stream: true }));
  const deltas = events.filter((e) => e.type === "content_block_delta");
  assert.deepEqual(events.map((e) => e.type), [
    "message_start", "content_block_start", ...deltas.map(() => "content_block_delta"),
    "content_block_stop", "message_delta", "message_stop",
  ]);
  assert.ok(deltas.length > 5);
  assert.equal(deltas.map((e) => e.delta.text).join(""), whole.content[0].text);
  assert.equal(events[0].message.stop_reason, null);
  assert.equal(events.at(-2).delta.stop_reason, "max_tokens");
  assert.equal(events.at(-2).usage.output_tokens, 24);
  let text = "";
  const stream = client.messages.stream(ask).on("text", (piece) => (text += piece));
  const final = await stream.finalMessage();
  assert.equal(text, whole.content[0].text);
  assert.deepEqual(final.content.map((c) => c.text), [text]);
  assert.equal(final.usage.output_tokens, 24);
});

test("count_tokens is what an answer's prompt costs, cached or not", async () => {
  for (const more of [{}, { system: "be brief" }, { tools, tool_choice: { type: "any" } }]) {
    const { max_tokens, temperature, top_p, seed, ...counted } = { ...ask, ...more };
    const { input_tokens } = await client.messages.countTokens(counted);
    for (let i = 0; i < 2; ++i) {
      const { usage } = await say(more);
      assert.equal(usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens, input_tokens);
      if (i > 0) assert.ok(usage.cache_read_input_tokens > 0);
    }
    const { usage } = await client.messages.stream({ ...ask, ...more }).finalMessage();
    assert.equal(usage.input_tokens + usage.cache_read_input_tokens, input_tokens);
  }
});

test("tools: any, one by name, auto, none", async () => {
  for (const tool_choice of [{ type: "any", ...one }, { type: "tool", name: "add", ...one }]) {
    const m = await say({ tools, tool_choice, max_tokens: 300 });
    assert.equal(m.stop_reason, "tool_use");
    assert.equal(m.content.length, 1);
    assert.match(m.content[0].id, /^toolu_[a-zA-Z0-9_-]+$/);
    assert.equal(m.content[0].name, "add");
    assert.ok(valid(m.content[0].input));
    const stream = client.messages.stream({ ...ask, tools, tool_choice, max_tokens: 300 });
    let json = "";
    stream.on("inputJson", (piece) => (json += piece));
    const final = await stream.finalMessage();
    assert.deepEqual(final.content[0].input, m.content[0].input);
    assert.deepEqual(JSON.parse(json), m.content[0].input);
    assert.equal(final.stop_reason, "tool_use");
  }
  const auto = await say({ tools, tool_choice: { type: "auto", ...one }, logit_bias: callsAtOnce, max_tokens: 300 });
  assert.ok(valid(auto.content[0].input));
  assert.equal((await say({ tools, tool_choice: { type: "none" } })).content[0].text, (await say()).content[0].text);
});

test("text before calls, several of them, each block in its place", async () => {
  let both = 0, most = 0;
  for (let seed = 0; seed < 30 && (both === 0 || most < 2); ++seed) {
    const body = { tools, logit_bias: { 509: 4 }, seed, max_tokens: 400 };
    const m = await say(body);
    if (m.stop_reason !== "tool_use") continue;
    const calls = m.content.filter((b) => b.type === "tool_use");
    for (const c of calls) assert.ok(valid(c.input));
    const shape = (content) => content.map((b) => b.text ?? b.input);
    const events = await collect(await say({ ...body, stream: true }));
    const starts = events.filter((e) => e.type === "content_block_start").map((e) => e.index);
    assert.deepEqual(starts, m.content.map((_, i) => i));
    assert.deepEqual(events.filter((e) => e.type === "content_block_stop").map((e) => e.index), starts);
    assert.deepEqual(shape((await client.messages.stream({ ...ask, ...body }).finalMessage()).content), shape(m.content));
    both += m.content[0].type === "text";
    most = Math.max(most, calls.length);
  }
  assert.ok(both > 0 && most > 1);
});

test("calls and results in the history, as OpenAI's", async () => {
  const input = { a: 1, b: "x" };
  const history = [
    ...messages,
    { role: "assistant", content: [{ type: "text", text: "so" }, { type: "tool_use", id: "t1", name: "add", input }, { type: "tool_use", id: "t2", name: "add", input }] },
    { role: "user", content: [
      { type: "tool_result", tool_use_id: "t2", content: [{ type: "text", text: "22" }] },
      { type: "tool_result", tool_use_id: "t1", content: "11" },
      { type: "text", text: "and?" },
    ] },
  ];
  const call = (id) => ({ id, type: "function", function: { name: "add", arguments: JSON.stringify(input) } });
  const want = await chat({
    messages: [
      ...messages, { role: "assistant", content: "so", tool_calls: [call("1"), call("2")] },
      { role: "tool", tool_call_id: "1", content: "11" }, { role: "tool", tool_call_id: "2", content: "22" },
      { role: "user", content: "and?" },
    ],
    tools: [{ type: "function", function: { name: "add", description: "adds", parameters: add } }],
  });
  const got = await say({ messages: history, tools });
  assert.equal(got.content[0].text, want.choices[0].message.content);
  assert.equal(got.usage.input_tokens + got.usage.cache_read_input_tokens, want.usage.prompt_tokens);
  const failed = [...history.slice(0, 2), { role: "user", content: [
    { type: "tool_result", tool_use_id: "t1", content: "no", is_error: true }, { type: "tool_result", tool_use_id: "t2" }] }];
  assert.equal((await say({ messages: failed, tools })).type, "message");
});

test("the client's tool runner, which asks for a thread, is refused, and goes on without", async () => {
  const asked = [];
  const runner = client.beta.messages.toolRunner({
    ...ask, max_tokens: 300, logit_bias: callsAtOnce, tool_choice: { type: "auto", ...one }, max_iterations: 2,
    tools: [{ name: "add", description: "adds", input_schema: add, run: (input) => (asked.push(input), "3"), parse: (input) => input }],
  });
  for await (const message of runner) assert.equal(message.type, "message");
  assert.ok(asked.length >= 1);
  for (const input of asked) assert.ok(valid(input));
});

test("an answer by a schema", async () => {
  const m = await say({ max_tokens: 300, output_config: { format: { type: "json_schema", schema: add } } });
  assert.equal(m.stop_reason, "end_turn");
  assert.ok(valid(JSON.parse(m.content[0].text)));
});

test("a call that is cut off is text in a whole answer, and ends with the limit in a stream", async () => {
  const body = { tools, tool_choice: { type: "any" }, max_tokens: 30 };
  const m = await say(body);
  assert.equal(m.stop_reason, "max_tokens");
  assert.match(m.content[0].text, /^<\|action_start\|><\|plugin\|>\n\{"name":\s*"add"/);
  assert.equal((await client.messages.stream({ ...ask, ...body }).finalMessage()).stop_reason, "max_tokens");
});

test("errors in Anthropic's shape", async () => {
  const wrong = {
    temperature: 1.5, top_p: "x", top_k: -1, max_tokens: 0, messages: "hello", system: 3, stop_sequences: "x", stream: "yes",
    nonsense: 1, tool_choice: "auto", thinking: { type: "enabled", budget_tokens: 1024 }, n: 2, max_completion_tokens: 3,
  };
  for (const [field, value] of Object.entries(wrong)) {
    const e = await failure(say({ [field]: value }));
    assert.ok(e instanceof Anthropic.BadRequestError, field);
    assert.equal(e.error.type, "error");
    assert.equal(e.error.error.type, "invalid_request_error");
    assert.match(e.error.error.message, new RegExp(`^'${field}[.\\w]*'`), field);
  }
  const says = async (more, words) => assert.match((await failure(say(more))).message, words);
  await says({ max_tokens: undefined }, /'max_tokens': missing/);
  await says({ messages: [...messages, { role: "assistant", content: "I" }] }, /messages\[1\]\.role/);
  await says({ messages: [{ role: "system", content: "x" }] }, /messages\[0\]\.role/);
  await says({ messages: [{ role: "user", content: [{ type: "image", source: {} }] }] }, /messages\[0\]\.content\[0\]\.type/);
  await says({ messages: [{ role: "user", content: [{ type: "tool_result", tool_use_id: "t", content: "1" }] }] }, /tool_use_id/);
  await says({ tools: [{ type: "web_search_20250305", name: "web_search" }] }, /tools\[0\]\.type/);
  await says({ tools: [{ name: "f" }] }, /tools\[0\]\.input_schema/);
  await says({ tools: [{ name: "f", strict: true, input_schema: { type: "object", not: {} } }] }, /tools\[0\]\.input_schema.*#\/not/s);
  await says({ tools, tool_choice: { type: "tool", name: "g" } }, /tool_choice/);
  await says({ messages: [{ role: "user", content: "hello world ".repeat(800) }] }, /1024/);
  assert.match((await post(url + "/v1/messages", { ...ask, tools: 3 })).error.message, /^'tools'/);
  const unknown = await failure(say({ model: "other" }));
  assert.ok(unknown instanceof Anthropic.NotFoundError);
  assert.equal(unknown.error.error.type, "not_found_error");
  assert.ok((await failure(client.messages.countTokens({ model: "tiny", messages: [] }))) instanceof Anthropic.BadRequestError);
});

test("keys go in x-api-key, and a full queue is rate_limit_error", async () => {
  const closed = await serve("--api_key=right", "--max_queue=0");
  const as = (apiKey) => new Anthropic({ baseURL: closed, apiKey, maxRetries: 0 });
  const e = await failure(as("wrong").messages.create(ask));
  assert.ok(e instanceof Anthropic.AuthenticationError);
  assert.equal(e.error.error.type, "authentication_error");
  const full = await failure(as("right").messages.create(ask));
  assert.ok(full instanceof Anthropic.RateLimitError);
  assert.equal(full.error.error.type, "rate_limit_error");
  assert.ok(Number(full.headers.get("retry-after")) >= 1);
  assert.ok((await as("right").messages.countTokens({ model: "tiny", messages })).input_tokens > 0);
});
