// Tool calls through OpenAI's client: forced and free, several in a turn, in pieces, with results in the history.
import assert from "node:assert/strict";
import test from "node:test";
import Ajv from "ajv";
import OpenAI from "openai";
import { callsAtOnce, collect, failure, serve } from "./server.mjs";

const url = await serve();
const client = new OpenAI({ baseURL: url + "/v1", apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "hello" }];
const city = {
  type: "object",
  properties: { city: { type: "string", maxLength: 6 }, unit: { enum: ["c", "f"] } },
  required: ["city", "unit"],
  additionalProperties: false,
};
const none = { type: "object", properties: {}, additionalProperties: false };
const tools = [
  { type: "function", function: { name: "get_weather", description: "the weather", strict: true, parameters: city } },
  { type: "function", function: { name: "get_time", parameters: none } },
];
const ask = { model: "tiny", messages, tools, max_tokens: 200, temperature: 1, top_p: 1, seed: 3 };
const chat = (more = {}) => client.chat.completions.create({ ...ask, ...more });
const valid = { get_weather: new Ajv().compile(city), get_time: new Ajv().compile(none) };
function check(call) {
  assert.match(call.id, /^call_[\w-]+$/);
  assert.equal(call.type, "function");
  assert.ok(valid[call.function.name](JSON.parse(call.function.arguments)), call.function.arguments);
}

test("named, required, none", async () => {
  const named = { type: "function", function: { name: "get_weather" } };
  const { message, finish_reason } = (await chat({ tool_choice: named, parallel_tool_calls: false })).choices[0];
  assert.equal(finish_reason, "tool_calls");
  assert.equal(message.content, null);
  assert.equal(message.tool_calls.length, 1);
  check(message.tool_calls[0]);
  assert.equal(message.tool_calls[0].function.name, "get_weather");
  const names = new Set();
  for (let seed = 0; seed < 12; ++seed) {
    const c = (await chat({ tool_choice: "required", parallel_tool_calls: false, seed })).choices[0];
    assert.equal(c.message.tool_calls.length, 1);
    c.message.tool_calls.forEach(check);
    names.add(c.message.tool_calls[0].function.name);
  }
  assert.equal(names.size, 2);
  const plain = await client.chat.completions.create({ ...ask, tools: undefined });
  assert.equal((await chat({ tool_choice: "none" })).choices[0].message.content, plain.choices[0].message.content);
});

test("several calls in one turn, unless forbidden; whole and streamed alike", async () => {
  let most = 0;
  for (let seed = 0; seed < 8; ++seed) {
    const whole = (await chat({ tool_choice: "required", seed })).choices[0];
    const calls = whole.message.tool_calls;
    if (whole.finish_reason === "tool_calls") calls.forEach(check);
    assert.equal(new Set(calls.map((c) => c.id)).size, calls.length);
    most = Math.max(most, calls.length);
    const final = await client.chat.completions
      .stream({ ...ask, tool_choice: "required", seed, stream: true })
      .finalChatCompletion();
    const { finish_reason, message } = final.choices[0];
    assert.equal(finish_reason, whole.finish_reason);
    assert.deepEqual(message.tool_calls.map((c) => [c.function.name, c.function.arguments]),
                     calls.map((c) => [c.function.name, c.function.arguments]));
  }
  assert.ok(most > 1);
});

test("a stream gives id and name first, then the arguments in pieces, each with its number", async () => {
  const weather = { type: "function", function: { name: "get_weather" } };
  let chunks, deltas;
  const several = () => deltas?.filter((d) => d.id).length > 1 && chunks.at(-1).choices[0].finish_reason === "tool_calls";
  for (let seed = 0; !several(); ++seed) {
    chunks = await collect(await chat({ tool_choice: weather, logit_bias: { 509: 2 }, stream: true, max_tokens: 500, seed }));
    deltas = chunks.flatMap((c) => c.choices[0]?.delta.tool_calls ?? []);
  }
  const calls = [];
  for (const d of deltas) {
    if (d.id) {
      assert.equal(d.index, calls.length);
      assert.equal(d.type, "function");
      assert.equal(d.function.arguments, "");
      calls.push({ name: d.function.name, pieces: [] });
    } else {
      assert.equal(d.index, calls.length - 1);
      assert.deepEqual(Object.keys(d.function), ["arguments"]);
      calls.at(-1).pieces.push(d.function.arguments);
    }
  }
  for (const { pieces } of calls) assert.ok(pieces.length > 5);  // as they come, not at the end
  assert.equal(chunks.at(-1).choices[0].finish_reason, "tool_calls");
});

test("free calls: once one begins it is held to the tools, and content may stand before it", async () => {
  const c = (await chat({ logit_bias: callsAtOnce, parallel_tool_calls: false })).choices[0];
  assert.equal(c.finish_reason, "tool_calls");
  check(c.message.tool_calls[0]);
  // Some seed calls after some words of its own accord, with the bias just so.
  let before = 0;
  for (let seed = 0; seed < 30 && before < 3; ++seed) {
    const body = { logit_bias: { 509: 4 }, parallel_tool_calls: false, seed };
    const { message, finish_reason } = (await chat(body)).choices[0];
    if (!message.tool_calls || !message.content) continue;
    assert.equal(finish_reason, "tool_calls");
    check(message.tool_calls[0]);
    const runner = client.chat.completions.stream({ ...ask, ...body, stream: true });
    const events = [];
    runner.on("content.delta", () => events.push("content"));
    runner.on("tool_calls.function.arguments.delta", () => events.push("call"));
    const final = (await runner.finalChatCompletion()).choices[0].message;
    assert.equal(final.content, message.content);
    assert.equal(final.tool_calls[0].function.arguments, message.tool_calls[0].function.arguments);
    assert.ok(events.lastIndexOf("content") < events.indexOf("call"));
    ++before;
  }
  assert.equal(before, 3);
});

test("a guided answer is that or calls", async () => {
  const guided = { guided_regex: "(ab)+c" };
  assert.match((await chat({ ...guided, logit_bias: { 509: -100 } })).choices[0].message.content, /^(ab)+c?$/);
  const called = (await chat({ ...guided, logit_bias: callsAtOnce, parallel_tool_calls: false })).choices[0].message;
  check(called.tool_calls[0]);
  assert.equal((await failure(chat({ ...guided, tool_choice: "required" }))).param, "tool_choice");
});

test("a call that is cut off is not lost", async () => {
  // Before its arguments it is content, as it was written; within them a call that ends with the limit.
  for (const max_tokens of [1, 2, 3, 6]) {
    const body = { logit_bias: callsAtOnce, max_tokens };
    const broken = (await chat(body)).choices[0];
    assert.equal(broken.finish_reason, "length");
    assert.match(broken.message.content, /^<\|action_start\|>/);
    const pieces = await collect(await chat({ ...body, stream: true }));
    assert.equal(pieces.map((c) => c.choices[0]?.delta.content ?? "").join(""), broken.message.content);
  }
  const named = { tool_choice: { type: "function", function: { name: "get_weather" } } };
  const whole = (await chat({ ...named, parallel_tool_calls: false })).usage.completion_tokens;
  let partial = 0;
  for (let max_tokens = 8; max_tokens < whole - 2; ++max_tokens) {
    const cut = (await chat({ ...named, max_tokens })).choices[0];
    assert.equal(cut.finish_reason, "length");
    if (!cut.message.tool_calls) continue;
    assert.ok(cut.message.tool_calls[0].function.arguments.startsWith("{"));
    ++partial;
  }
  assert.ok(partial > 3);
});

test("results in the history, several a turn, whatever their order", async () => {
  const calls = ["a", "b"].map((id) => ({ id, type: "function", function: { name: "get_time", arguments: "{}" } }));
  const result = (id) => ({ role: "tool", tool_call_id: id, content: "of " + id });
  const turns = (...more) => [...messages, { role: "assistant", content: "two", tool_calls: calls }, ...more];
  const answers = [];
  for (const order of [["a", "b"], ["b", "a"]])
    answers.push((await chat({ messages: turns(...order.map(result)) })).choices[0].message);
  assert.deepEqual(answers[0], answers[1]);
  assert.equal((await failure(chat({ messages: turns(result("c")) }))).param, "messages[2].tool_call_id");
  assert.equal((await failure(chat({ messages: turns(result("a"), result("a")) }))).param, "messages[3].tool_call_id");
  const broken = { ...calls[0], function: { name: "get_time", arguments: "{" } };
  assert.equal((await failure(chat({ messages: [{ role: "assistant", tool_calls: [broken] }] }))).param,
               "messages[0].tool_calls[0].function.arguments");
});

test("runTools calls the functions and tells the model what they gave", async () => {
  const asked = [];
  const runner = client.chat.completions.runTools({
    ...ask,
    max_tokens: undefined,
    logit_bias: callsAtOnce,
    parallel_tool_calls: false,
    tools: [
      {
        type: "function",
        function: {
          name: "get_weather",
          parameters: city,
          parse: JSON.parse,
          function: (args) => (asked.push(args), "22"),
        },
      },
    ],
  }, { maxChatCompletions: 3 });
  await runner.done();
  assert.equal(asked.length, 3);
  for (const args of asked) assert.ok(valid.get_weather(args));
  const roles = runner.messages.map((m) => m.role);
  assert.deepEqual(roles.slice(0, 4), ["user", "assistant", "tool", "assistant"]);
});

test("strict schemas are held or refused, others are at least objects", async () => {
  const tool = (strict, parameters) => [{ type: "function", function: { name: "f", strict, parameters } }];
  const odd = { type: "object", properties: { n: { type: "number", multipleOf: 2 } } };
  const e = await failure(chat({ tools: tool(true, odd) }));
  assert.equal(e.status, 400);
  assert.equal(e.param, "tools[0].function.parameters");
  assert.match(e.message, /#\/properties\/n\/multipleOf/);
  const tree = {
    type: "object",
    properties: { root: { $ref: "#/$defs/node" } },
    required: ["root"],
    additionalProperties: false,
    $defs: { node: { type: "object", properties: { v: { type: "integer", minimum: 0, maximum: 9 } }, required: ["v"], additionalProperties: false } },
  };
  const call = (await chat({ tools: tool(true, tree), tool_choice: "required", parallel_tool_calls: false })).choices[0].message.tool_calls[0];
  assert.ok(new Ajv().compile(tree)(JSON.parse(call.function.arguments)));
  assert.equal((await failure(chat({ tools: [{ type: "function" }] }))).param, "tools[0].function");
  assert.equal((await failure(chat({ tools: tool(true, { type: "string" }) }))).param, "tools[0].function.parameters.type");
  const twice = [...tool(true, none), ...tool(true, none)];
  assert.equal((await failure(chat({ tools: twice }))).param, "tools[1].function.name");
});

test("guesses change nothing: with speculation the same calls", async () => {
  const guessing = await serve("--engine.draft=ngram");
  const other = new OpenAI({ baseURL: guessing + "/v1", apiKey: "none", maxRetries: 0 });
  for (let seed = 0; seed < 6; ++seed) {
    const body = { ...ask, tool_choice: seed % 2 ? "required" : "auto", logit_bias: { 509: 4 }, seed };
    const [a, b] = await Promise.all([client, other].map((c) => c.chat.completions.create(body)));
    const shown = ({ choices: [c] }) => [c.finish_reason, c.message.content, c.message.tool_calls?.map((t) => t.function)];
    assert.deepEqual(shown(b), shown(a));
  }
});
