// OpenAI's client on /v1/responses: text, tools, streams, formats, refusals.
import assert from "node:assert/strict";
import test from "node:test";
import Ajv from "ajv";
import OpenAI from "openai";
import { makeParseableTextFormat } from "openai/lib/parser";
import { callsAtOnce, collect, failure, serve } from "./server.mjs";

const url = await serve();
const client = new OpenAI({ baseURL: url + "/v1", apiKey: "none", maxRetries: 0 });
const ask = { model: "tiny", input: "hello", max_output_tokens: 24, temperature: 1, top_p: 1, seed: 3 };
const respond = (more = {}) => client.responses.create({ ...ask, ...more });
const add = {
  type: "object",
  properties: { a: { type: "integer", minimum: 0, maximum: 99 }, b: { enum: ["x", "y"] } },
  required: ["a", "b"],
  additionalProperties: false,
};
const tools = [{ type: "function", name: "add", description: "adds", strict: true, parameters: add }];
const once = { tools, tool_choice: "required", parallel_tool_calls: false, max_output_tokens: 300 };
const valid = new Ajv().compile(add);

test("text: the answer of a chat, with what it was asked and what it cost", async () => {
  const r = await respond({ metadata: { run: "7" }, instructions: "be brief" });
  const chat = await client.chat.completions.create({
    model: "tiny", max_tokens: 24, temperature: 1, top_p: 1, seed: 3,
    messages: [{ role: "system", content: "be brief" }, { role: "user", content: "hello" }],
  });
  assert.equal(r.object, "response");
  assert.match(r.id, /^resp_/);
  assert.equal(r.output_text, chat.choices[0].message.content);
  assert.equal(r.output[0].role, "assistant");
  assert.equal(r.status, "incomplete");
  assert.deepEqual(r.incomplete_details, { reason: "max_output_tokens" });
  assert.deepEqual(r.metadata, { run: "7" });
  assert.equal(r.instructions, "be brief");
  assert.equal(r.temperature, 1);
  assert.equal(r.usage.input_tokens, chat.usage.prompt_tokens);
  assert.equal(r.usage.output_tokens, 24);
  assert.equal(r.usage.total_tokens, r.usage.input_tokens + 24);
  const again = await respond({ metadata: { run: "7" }, instructions: "be brief" });
  assert.ok(again.usage.input_tokens_details.cached_tokens > 0);
  assert.equal(again.usage.input_tokens, r.usage.input_tokens);
  const items = [
    { role: "developer", content: "be brief" },
    { type: "message", role: "user", content: [{ type: "input_text", text: "hel" }, { type: "input_text", text: "lo" }] },
  ];
  assert.equal((await respond({ input: items })).output_text, r.output_text);
  const ended = await respond({ guided_regex: undefined, text: { format: { type: "json_schema", name: "n", schema: { const: 1 } } } });
  assert.equal(ended.status, "completed");
  assert.equal(ended.incomplete_details, null);
  assert.equal(ended.output_text, "1");
});

test("a stream's events come in OpenAI's order and add up to the whole", async () => {
  const whole = await respond();
  const events = await collect(await respond({ stream: true }));
  assert.deepEqual(events.map((e) => e.sequence_number), events.map((_, i) => i));
  const types = events.map((e) => e.type.replace("response.", ""));
  const deltas = types.filter((t) => t === "output_text.delta").length;
  assert.deepEqual(types, [
    "created", "in_progress", "output_item.added", "content_part.added",
    ...Array(deltas).fill("output_text.delta"),
    "output_text.done", "content_part.done", "output_item.done", "incomplete",
  ]);
  assert.ok(deltas > 5);
  assert.equal(events.filter((e) => e.delta).map((e) => e.delta).join(""), whole.output_text);
  const last = events.at(-1).response;
  assert.equal(last.output[0].content[0].text, whole.output_text);
  assert.equal(last.output[0].status, "incomplete");
  assert.equal(last.usage.output_tokens, 24);
  const raw = await fetch(url + "/v1/responses", { method: "POST", body: JSON.stringify({ ...ask, stream: true }) });
  const lines = (await raw.text()).split("\n").filter((l) => l.startsWith("event: "));
  assert.deepEqual(lines.map((l) => l.slice(7)), events.map((e) => e.type));
});

test("the client's stream helper", async () => {
  const whole = await respond();
  let text = "";
  const stream = client.responses.stream({ ...ask });
  stream.on("response.output_text.delta", (e) => ((text += e.delta), assert.equal(e.snapshot, text)));
  const final = await stream.finalResponse();
  assert.equal(text, whole.output_text);
  assert.equal(final.output_text, whole.output_text);
});

test("tools: calls, whole and streamed, and their results", async () => {
  const r = await respond(once);
  assert.equal(r.status, "completed");
  const [call] = r.output;
  assert.equal(call.type, "function_call");
  assert.match(call.call_id, /^call_/);
  assert.equal(call.name, "add");
  assert.ok(valid(JSON.parse(call.arguments)));
  const events = await collect(await respond({ ...once, stream: true }));
  const types = events.map((e) => e.type.replace("response.", ""));
  const deltas = events.filter((e) => e.type.endsWith("arguments.delta"));
  assert.deepEqual(types, [
    "created", "in_progress", "output_item.added",
    ...deltas.map(() => "function_call_arguments.delta"),
    "function_call_arguments.done", "output_item.done", "completed",
  ]);
  assert.ok(deltas.length > 5);
  assert.equal(deltas.map((e) => e.delta).join(""), call.arguments);
  assert.equal(events.at(-2).item.arguments, call.arguments);
  const final = await client.responses.stream({ ...ask, ...once }).finalResponse();
  assert.deepEqual(final.output[0].parsed_arguments, JSON.parse(call.arguments));
  // The answer's items and a result go back as they are.
  const input = [{ role: "user", content: "hello" }, ...r.output,
                 { type: "function_call_output", call_id: call.call_id, output: "3" }];
  const next = await respond({ input, tools });
  const chat = await client.chat.completions.create({
    model: "tiny", max_tokens: 24, temperature: 1, top_p: 1, seed: 3,
    messages: [
      { role: "user", content: "hello" },
      { role: "assistant", tool_calls: [{ id: "1", type: "function", function: { name: "add", arguments: call.arguments } }] },
      { role: "tool", tool_call_id: "1", content: "3" },
    ],
    tools: [{ type: "function", function: { name: "add", description: "adds", parameters: add } }],
  });
  assert.equal(next.output_text, chat.choices[0].message.content);
});

test("several calls, text before them", async () => {
  let both = 0, most = 0;
  for (let seed = 0; seed < 30 && (both === 0 || most < 2); ++seed) {
    const body = { tools, logit_bias: { 509: 4 }, seed, max_output_tokens: 400 };
    const { output } = await respond(body);
    const final = await client.responses.stream({ ...ask, ...body }).finalResponse();
    assert.deepEqual(final.output.map((o) => [o.type, o.arguments ?? o.content[0].text]),
                     output.map((o) => [o.type, o.arguments ?? o.content[0].text]));
    const calls = output.filter((o) => o.type === "function_call");
    for (const c of calls) if (c.status === "completed") assert.ok(valid(JSON.parse(c.arguments)));
    both += output[0].type === "message" && calls.length > 0;
    most = Math.max(most, calls.length);
  }
  assert.ok(both > 0 && most > 1);
  const named = { tools, tool_choice: { type: "function", name: "add" }, parallel_tool_calls: false, max_output_tokens: 300 };
  assert.equal((await respond(named)).output[0].name, "add");
  assert.ok(valid(JSON.parse((await respond({ ...once, tool_choice: "auto", logit_bias: callsAtOnce })).output[0].arguments)));
});

test("text.format and parse", async () => {
  const schema = { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"], additionalProperties: false };
  const format = makeParseableTextFormat({ type: "json_schema", name: "answer", strict: true, schema }, JSON.parse);
  const r = await client.responses.parse({ ...ask, max_output_tokens: 100, text: { format } });
  assert.equal(typeof r.output_parsed.ok, "boolean");
  assert.ok((await respond({ text: { format: { type: "json_object" } } })).output_text.startsWith("{"));
  const e = await failure(respond({ text: { format: { type: "json_schema", name: "x", schema: { not: {} } } } }));
  assert.equal(e.param, "text.format.schema");
});

test("what it cannot do is refused by name", async () => {
  const wrong = {
    store: true, background: true, previous_response_id: "resp_1", conversation: "c", truncation: "auto", top_logprobs: 3,
    include: ["message.output_text.logprobs"], reasoning: { effort: "high" }, prompt: { id: "p" }, temperature: "hot",
    max_output_tokens: 0, max_tokens: 3, stream: "yes", nonsense: 1, metadata: 3, parallel_tool_calls: "no",
  };
  for (const [field, value] of Object.entries(wrong)) {
    const e = await failure(respond({ [field]: value }));
    assert.equal(e.status, 400, field);
    assert.equal(e.param, field);
  }
  const at = async (more) => (await failure(respond(more))).param;
  assert.equal(await at({ input: [] }), "input");
  assert.equal(await at({ input: [{ type: "item_reference", id: "x" }] }), "input[0].type");
  assert.equal(await at({ input: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] }), "input[0].content[0]");
  assert.equal(await at({ input: [{ type: "function_call_output", call_id: "x", output: "1" }] }), "input[0].call_id");
  assert.equal(await at({ tools: [{ type: "web_search" }] }), "tools[0].type");
  assert.equal(await at({ tool_choice: "required" }), "tool_choice");
  assert.equal(await at({ metadata: { a: 1 } }), "metadata.a");
  for (const nothing of [{ store: false }, { background: false }, { truncation: "disabled" }, { reasoning: null }, { user: "u" }])
    await respond({ ...nothing, max_output_tokens: 1 });
  assert.equal((await failure(respond({ model: "other" }))).status, 404);
  const long = await failure(respond({ input: "hello world ".repeat(800) }));
  assert.equal(long.param, "input");
  assert.match(long.message, /1024/);
});
