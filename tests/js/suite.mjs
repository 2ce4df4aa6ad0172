// OpenAI's JavaScript client against a running gateway, as any application would use it: only address and key are ours.
// `node --test suite.mjs`, with MILLRACE_URL, MILLRACE_KEY, and a vendor's server behind that repeats what it is asked
// (tests/live/gateway/clients/vendor.py).
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const baseURL = `${process.env.MILLRACE_URL}/v1`;
const client = new OpenAI({ baseURL, apiKey: process.env.MILLRACE_KEY, maxRetries: 0, timeout: 90_000 });
const model = "millrace";
const question = "How often are the signing keys rotated?";
const messages = [{ role: "user", content: question }];
const told = `You asked: ${question} [1] 👋`;
const schema = {
  type: "object",
  properties: { days: { type: "integer" }, who: { type: "string" } },
  required: ["days", "who"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "days_left", parameters: schema } }];

function refusal(status, code) {
  return (error) => {
    assert.ok(error instanceof OpenAI.APIError, String(error));
    assert.equal(error.status, status);
    assert.equal(error.code, code);
    assert.ok(error.message.length > 10);
    return true;
  };
}

test("a whole answer, with usage and citations", async () => {
  const answer = await client.chat.completions.create({ model, messages });
  assert.equal(answer.choices[0].message.content, told);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.equal(answer.usage.completion_tokens, told.split(" ").length);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  assert.match(answer.choices[0].message.annotations[0].url_citation.url, /^http.*\/v1\/documents\//);
});

test("a stream says the same, and its usage where that is asked for", async () => {
  const stream = await client.chat.completions.create({
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, told);
  assert.equal(usage.completion_tokens, told.split(" ").length);
});

test("limits of the answer", async () => {
  const cut = await client.chat.completions.create({ model, messages, max_completion_tokens: 2 });
  assert.equal(cut.choices[0].message.content, "You asked:");
  assert.equal(cut.choices[0].finish_reason, "length");
  const stopped = await client.chat.completions.create({ model, messages, stop: [" often"], temperature: 0.5 });
  assert.equal(stopped.choices[0].message.content, "You asked: How");
});

test("a JSON schema is kept to", async () => {
  const answer = await client.chat.completions.create({
    model,
    messages,
    response_format: { type: "json_schema", json_schema: { name: "leave", schema, strict: true } },
  });
  assert.deepEqual(JSON.parse(answer.choices[0].message.content), { days: 7, who: "seven" });
});

test("a tool is called, and its result answered from", async () => {
  const first = await client.chat.completions.create({ model, messages, tools });
  const message = first.choices[0].message;
  assert.equal(first.choices[0].finish_reason, "tool_calls");
  assert.equal(message.content, null);
  assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { days: 7, who: "seven" });
  const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "90" };
  const second = await client.chat.completions.create({ model, messages: [...messages, message, result], tools });
  assert.equal(second.choices[0].message.content, "The tool returned 90 .");
});

test("a tool is called in a stream", async () => {
  const stream = client.chat.completions.stream({ model, messages, tools, tool_choice: "required" });
  const message = await stream.finalMessage();
  assert.equal(message.tool_calls[0].function.name, "days_left");
  assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { days: 7, who: "seven" });
});

test("models", async () => {
  const listed = [];
  for await (const each of client.models.list()) listed.push(each.id);
  assert.deepEqual(listed, ["millrace", "millrace-embeddings", "hash-64"]);
  assert.equal((await client.models.retrieve("millrace")).id, "millrace");
  const lora = await client.chat.completions.create({ model: "vendor-lora", messages });
  assert.equal(lora.model, "vendor-lora");
});

test("embeddings are the same in each form", async () => {
  const input = ["the mill wheel", "turns"];
  const first = await client.embeddings.create({ model: "millrace-embeddings", input });
  const second = await client.embeddings.create({ model: "hash-64", input, encoding_format: "float" });
  assert.equal(first.data.length, 2);
  assert.equal(first.data[0].embedding.length, 64);
  assert.deepEqual([...first.data[1].embedding], second.data[1].embedding.map(Math.fround));
  const length = Math.hypot(...second.data[0].embedding);
  assert.ok(Math.abs(length - 1) < 1e-5);
  assert.equal(second.usage.total_tokens, 3);
});

test("a response, as it is written and gone on from", async () => {
  const first = await client.responses.create({ model, input: question, instructions: "Be brief." });
  assert.equal(first.status, "completed");
  assert.equal(first.output_text, told);
  assert.equal(first.output[0].content[0].annotations[0].type, "url_citation");
  const stream = await client.responses.create({
    model,
    input: "And who rotates them?",
    previous_response_id: first.id,
    stream: true,
  });
  let text = "";
  let last = null;
  for await (const event of stream) {
    if (event.type === "response.output_text.delta") text += event.delta;
    last = event;
  }
  assert.equal(last.type, "response.completed");
  assert.equal(last.response.previous_response_id, first.id);
  assert.equal(text, last.response.output[0].content[0].text);
  assert.match(text, /^You asked: And who rotates them\?/);
});

test("a response that keeps to a schema, and one that is cut", async () => {
  const format = { type: "json_schema", name: "leave", schema, strict: true };
  const answer = await client.responses.create({ model, input: question, text: { format } });
  assert.deepEqual(JSON.parse(answer.output_text), { days: 7, who: "seven" });
  const cut = await client.responses.create({ model, input: question, max_output_tokens: 2 });
  assert.equal(cut.status, "incomplete");
  assert.equal(cut.incomplete_details.reason, "max_output_tokens");
});

test("a response calls a function, and is answered from its result", async () => {
  const functions = [{ type: "function", name: "days_left", parameters: schema, strict: true }];
  const input = [{ role: "user", content: question }];
  const first = await client.responses.create({ model, input, tools: functions });
  const [call] = first.output;
  assert.equal(call.type, "function_call");
  assert.deepEqual(JSON.parse(call.arguments), { days: 7, who: "seven" });
  const result = { type: "function_call_output", call_id: call.call_id, output: "90" };
  const stream = client.responses.stream({ model, input: [...input, ...first.output, result], tools: functions });
  assert.equal((await stream.finalResponse()).output_text, "The tool returned 90 .");
});

test("a wrong key", async () => {
  const stranger = new OpenAI({ baseURL, apiKey: `mr_${"a".repeat(12)}_${"1".repeat(64)}`, maxRetries: 0 });
  await assert.rejects(stranger.chat.completions.create({ model, messages }), refusal(401, "invalid_key"));
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
});

test("an unknown model", async () => {
  const unknown = { model: "gpt-9", messages };
  await assert.rejects(client.chat.completions.create(unknown), refusal(404, "model_not_found"));
  await assert.rejects(client.chat.completions.create({ ...unknown, stream: true }), OpenAI.NotFoundError);
  await assert.rejects(client.embeddings.create({ model: "gpt-9", input: "a" }), refusal(404, "model_not_found"));
  await assert.rejects(client.responses.create({ model: "gpt-9", input: "a" }), refusal(404, "model_not_found"));
});

test("what is wrong with a request is a bad request that names the field", async () => {
  const wrong = [
    [{ messages: "hello" }, "messages"],
    [{ messages: [] }, "messages"],
    [{ messages: [{ role: "user", content: 7 }] }, "messages.0.content"],
    [{ messages: [{ role: "king", content: "x" }] }, "messages.0.role"],
    [{ messages: Array(10_000).fill({ role: "user", content: "x" }) }, "messages"],
    [{ messages, max_tokens: -5 }, "max_tokens"],
    [{ messages, temperature: -1 }, "temperature"],
    [{ messages, n: 3 }, "n"],
    [{ messages, tools: [{ type: "web_search" }] }, "tools.0.type"],
  ];
  for (const [change, param] of wrong) {
    await assert.rejects(client.chat.completions.create({ model, ...change }), (error) => {
      assert.equal(error.param, param);
      return refusal(400, "invalid_request")(error);
    });
  }
  await assert.rejects(client.embeddings.create({ model: "hash-64", input: [1, 2] }), refusal(400, "invalid_request"));
  const tooled = { model, input: "a", tools: [{ type: "web_search" }] };
  await assert.rejects(client.responses.create(tooled), refusal(400, "invalid_request"));
  await assert.rejects(client.responses.create({ model, input: "a", background: true }), refusal(400, "unsupported_parameter"));
});

test("who calls no tools says so", async () => {
  const asked = { model: "extractive", messages, tools };
  await assert.rejects(client.chat.completions.create(asked), refusal(400, "tools_not_supported"));
});

test("a message of 10 MB", async () => {
  const huge = [{ role: "user", content: "x".repeat(10_000_000) }];
  await assert.rejects(client.chat.completions.create({ model, messages: huge }), refusal(413, "payload_too_large"));
});
