// Answers by JSON schema against another implementation of JSON Schema (ajv): a set of varied schemas, and random ones
// from a seeded generator; as answers, and as arguments of a tool.
import assert from "node:assert/strict";
import test from "node:test";
import Ajv from "ajv";
import OpenAI from "openai";
import { serve } from "./server.mjs";

const url = await serve("--engine.max_batch=16");
const client = new OpenAI({ baseURL: url + "/v1", apiKey: "none", maxRetries: 0 });
const formats = {
  date: (s) => /^\d{4}-\d\d-\d\d$/.test(s) && !Number.isNaN(Date.parse(s)) && new Date(s).toISOString().startsWith(s),
  time: /^\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
  "date-time": (s) => !Number.isNaN(Date.parse(s)),
  uuid: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i,
};
const ajv = () => new Ajv({ formats, strict: false });
const ask = { model: "tiny", messages: [{ role: "user", content: "hello" }], max_tokens: 700, temperature: 1, top_p: 1 };
const text = { type: "string", maxLength: 4 };
const some = (properties, more = {}) => ({
  type: "object", properties, required: Object.keys(properties), additionalProperties: false, ...more,
});

const varied = {
  "an enum of mixed types": { enum: ["a", 1, null, true, [1, "x"], { k: "v" }] },
  "a constant": { const: { a: [1, 2], "键": "值" } },
  "nested objects": some({ a: some({ b: some({ c: { type: "boolean" } }) }) }),
  "optional properties": { ...some({ a: text, b: text, c: text }), required: ["b"] },
  "further properties": { type: "object", properties: { a: { type: "null" } }, additionalProperties: { type: "boolean" }, required: ["a"] },
  "integers in a range": { type: "array", items: { type: "integer", minimum: -105, exclusiveMaximum: 17 }, minItems: 3, maxItems: 5 },
  "a tuple": { type: "array", prefixItems: [{ type: "integer", minimum: 0, maximum: 9 }, text], minItems: 2, items: false },
  "lengths in characters": { type: "string", minLength: 3, maxLength: 5 },
  "a pattern": { type: "string", pattern: "^[A-Z]{2}-[0-9]{3,4}(x|大)?$" },
  "a date": { type: "string", format: "date" },
  "a date and time": { type: "string", format: "date-time" },
  "an id": { type: "string", format: "uuid" },
  "several types": { type: ["boolean", "null", "string"], maxLength: 3 },
  "one of several": { anyOf: [{ type: "boolean" }, some({ kind: { const: "x" }, n: { type: "integer", minimum: 0, maximum: 3 } }), { type: "null" }] },
  "exactly one": { oneOf: [some({ kind: { const: "a" } }), some({ kind: { const: "b" }, v: { type: "boolean" } })] },
  "all of several": { allOf: [{ type: "object", properties: { a: text }, required: ["a"] }, { type: "object", properties: { b: { type: "boolean" } }, required: ["b"] }] },
  "a reference": { $defs: { t: { enum: ["p", "q"] } }, ...some({ x: { $ref: "#/$defs/t" }, y: { $ref: "#/$defs/t" } }) },
  "a recursive reference": {
    $defs: { list: { anyOf: [{ type: "null" }, some({ head: { type: "boolean" }, tail: { $ref: "#/$defs/list" } })] } },
    $ref: "#/$defs/list",
  },
  "keys that need escapes": some({ "a\"b": { type: "boolean" }, "c\\d": { type: "null" }, "é\n": text }),
};

// The answers to these schemas, all asked for at once.
async function answers(schemas, body) {
  return Promise.all(schemas.map((schema, i) => client.chat.completions.create({ ...ask, seed: i, ...body(schema) })));
}
const asAnswer = (schema) => ({ response_format: { type: "json_schema", json_schema: { name: "x", strict: true, schema } } });

test("varied schemas: every whole answer is valid", async (t) => {
  const names = Object.keys(varied);
  for (const seeds of [0, 1, 2]) {
    const got = await answers(Object.values(varied), (schema) => ({ ...asAnswer(schema), seed: seeds }));
    for (const [i, name] of names.entries()) {
      const { message, finish_reason } = got[i].choices[0];
      assert.equal(finish_reason, "stop", `${name}: ${message.content}`);
      const schema = structuredClone(varied[name]);
      if (schema.prefixItems) schema.items = schema.prefixItems, schema.additionalItems = false, delete schema.prefixItems;  // draft 7, as ajv
      const validate = ajv().compile(schema);
      assert.ok(validate(JSON.parse(message.content)), `${name}: ${message.content}: ${ajv().errorsText(validate.errors)}`);
    }
  }
});

// Small random schemas of what src/grammar/schema.h promises (mulberry32, seeded).
function generator(seed) {
  const next = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (n) => Math.floor(next() * n);
  const pick = (list) => list[below(list.length)];
  const leaf = () => {
    const low = below(2000) - 1000;
    return pick([
      () => ({ type: "boolean" }),
      () => ({ type: "null" }),
      () => ({ type: "integer", minimum: low, maximum: low + below(3000) }),
      () => ({ type: "integer", exclusiveMinimum: low, exclusiveMaximum: low + 2 + below(9) }),
      () => ({ type: "string", minLength: below(3), maxLength: 3 + below(3) }),
      () => ({ type: "string", pattern: pick(["^[a-f]{1,4}$", "^(x|yy)z?$", "^\\d{2}:\\d{2}$", "^[^a-z]{2}$"]) }),
      () => ({ type: "string", format: pick(Object.keys(formats)) }),
      () => ({ enum: ["a", 7, null, "ü"].slice(below(3)) }),
      () => ({ const: pick(["k", 0, false, ["l"], { m: 1 }]) }),
    ])();
  };
  const schema = (depth) => {
    if (depth === 0 || below(3) === 0) return below(5) === 0 ? { $ref: "#/$defs/d" } : leaf();
    const part = () => schema(depth - 1);
    return pick([
      () => {
        const names = ["a", "b b", "c\"", "d", "é"].slice(below(4));
        const out = { type: "object", properties: Object.fromEntries(names.map((n) => [n, part()])), additionalProperties: false };
        return { ...out, required: names.filter(() => below(2)) };
      },
      () => ({ type: "array", items: part(), minItems: below(2), maxItems: 1 + below(3) }),
      () => ({ anyOf: [part(), part(), leaf()] }),
    ])();
  };
  return () => ({ ...some({ v: schema(3), w: schema(1) }), $defs: { d: leaf() } });
}

for (const [how, body, read] of [
  ["answers", asAnswer, (choice) => choice.message.content],
  ["arguments", (parameters) => ({
    tools: [{ type: "function", function: { name: "f", strict: true, parameters } }],
    tool_choice: "required", parallel_tool_calls: false,
  }), (choice) => choice.message.tool_calls?.[0].function.arguments],
])
  test(`random schemas: every whole one of the ${how} is valid`, async () => {
    const make = generator(how.length);
    let whole = 0;
    for (let round = 0; round < 4; ++round) {
      const schemas = Array.from({ length: 25 }, make);
      const got = await Promise.allSettled(schemas.map((s, i) => client.chat.completions.create({ ...ask, seed: i, ...body(s) })));
      for (const [i, g] of got.entries()) {
        if (g.status === "rejected") {  // a tool's turn that is longer than the context, and nothing else
          assert.match(g.reason.message, /1024/, JSON.stringify(schemas[i]));
          continue;
        }
        const [choice] = g.value.choices;
        if (choice.finish_reason === "length") continue;
        const validate = ajv().compile(schemas[i]);
        assert.ok(validate(JSON.parse(read(choice))),
                  `${JSON.stringify(schemas[i])}: ${read(choice)}: ${ajv().errorsText(validate.errors)}`);
        ++whole;
      }
    }
    assert.ok(whole >= 60, `only ${whole} of 100 came to their end`);
  });
