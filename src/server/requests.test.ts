/** Refused requests and their messages, access rules, and the documents that describe the API. */

import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { samplingBytes } from "../sample/memory.ts";
import type { FractalServer } from "./app.ts";
import { bodyReader } from "./bodies.ts";
import { capacity } from "./capacity.ts";
import { listen } from "./listen.ts";
import { servedModels } from "./models.ts";
import { readGeneration } from "./requests.ts";
import { answerSchemas, defaultLimits, requestSchemas } from "./schemas.ts";
import { listening } from "./test-client.ts";
import { gate, type TestModels, testModels, testServer } from "./test-models.ts";

let models: TestModels;
let server: FractalServer;
const drawn = gate();
beforeAll(async () => {
  models = await testModels();
  server = testServer([models.tiny, models.slow], {
    loopback: true,
    cors: ["https://friend.example"],
    open: drawn.open,
    limits: { images: 8, body: 20_000, json: 20_000 },
    shareWeights: true,
  });
});
afterAll(async () => {
  await server.dispose();
  models.remove();
});

const json = { "Content-Type": "application/json" };

async function post(body: unknown, { path = "/v1/images/generations", headers = json as Record<string, string> } = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const answer = await server.app.request(path, { method: "POST", headers, body: text });
  const found = answerSchemas.Error.parse(await answer.json());
  return { status: answer.status, ...found.error };
}

describe("a bad request gets 400 and one sentence", () => {
  it.each([
    [{ prompt: "cot" }, "prompt", /no class "cot"; did you mean "cat"\?$/],
    [{}, "prompt", /^prompt: expected names of classes, such as "heart" or "heart,face"$/],
    [{ prompt: 3 }, "prompt", /^prompt: expected names of classes, such as/],
    [{ prompt: "" }, "prompt", /^prompt: expected names of classes, .* such as cat,dog, got an empty string$/],
    [{ prompt: " \t " }, "prompt", /^prompt: expected names of classes, .* got an empty string$/],
    [{ prompt: "cat,,dog" }, "prompt", /got an empty name in "cat,,dog"$/],
    [{ prompt: "cat", n: 9 }, "n", /^n: .*<=8$/],
    [{ prompt: "cat", n: 1e12 }, "n", /^n: /],
    [{ prompt: "cat", n: 0 }, "n", /^n: /],
    [{ prompt: Array(9).fill("cat").join() }, "prompt", /^prompt: it names 9 classes, expected at most 8 /],
    [{ prompt: "cat", n: "2" }, "n", /^n: expected number, received string$/],
    [
      { prompt: "cat", size: "1000x1001" },
      "size",
      /^size: expected auto or one of 8x8, 16x16, .* 1024x1024, got "1000x1001"$/,
    ],
    [{ prompt: "cat", size: "1032x1032" }, "size", /^size: expected auto or one of 8x8/],
    [{ prompt: "cat", size: "12x12" }, "size", /^size: expected auto or one of 8x8/],
    [{ prompt: "cat", size: "0x0" }, "size", /^size: expected auto or one of 8x8/],
    [{ prompt: "cat", size: "-8x-8" }, "size", /^size: expected auto or one of 8x8/],
    [{ prompt: "cat", size: "1024x1024", model: "slow", n: 1, stream: 1 }, "stream", /^stream: /],
    [{ prompt: "cat", size: 8 }, "size", /^size: /],
    [{ prompt: "cat", response_format: "file" }, "response_format", /^response_format: /],
    [{ prompt: "cat", output_format: "gif" }, "output_format", /^output_format: .*"png"\|"webp"\|"jpeg"/],
    [{ prompt: "cat", output_compression: 101 }, "output_compression", /^output_compression: .*<=100/],
    [{ prompt: "cat", input_fidelity: 3 }, "input_fidelity", /^input_fidelity: /],
    [{ prompt: "cat", stream: "yes" }, "stream", /^stream: /],
    [{ prompt: "cat", guidence: 2 }, null, /unknown key "guidence"; did you mean "guidance"\?$/],
    [{ prompt: "cat", guidance: -1 }, "guidance", /^guidance: /],
    [{ prompt: "cat", temperature: 0 }, "temperature", /^temperature: /],
    [{ prompt: "cat", iterations: [4] }, "iterations", /^iterations: expected 2 numbers, .* got 1$/],
    [{ prompt: "cat", iterations: [0, 4] }, "iterations", /^iterations\[0\]: /],
    [{ prompt: "cat", filter_threshold: 2 }, "filter_threshold", /^filter_threshold: /],
    [{ prompt: "cat", temperature: [1, 2] }, "temperature", /^temperature: expected one number, .* got 2$/],
    [{ prompt: "cat", min_p: [[0, 1]] }, "min_p", /^min_p: expected one number or 3 for a level, .* got 2$/],
    [{ prompt: "cat", top_p: 0 }, "top_p", /^top_p: /],
    [{ prompt: "cat", seed: 1.5 }, "seed", /^seed: expected int/],
    ["[1, 2]", null, /expected object/],
    ["null", null, /expected object/],
    ['{"prompt": "cat"', null, /^the body is not JSON/],
    ["", null, /^the body is not JSON/],
    ["\u0007\u001b[31mx", null, /^the body is not JSON[ -~]*$/],
    ['{"prompt": "cat", "n": 1e}', null, /^the body is not JSON: syntax error at character 25$/],
  ])("%j", async (body, param, sentence) => {
    const found = await post(body);
    expect(found).toMatchObject({ status: 400, type: "invalid_request_error", param });
    expect(found.message).toMatch(sentence);
    expect(found.message).not.toMatch(/\n/);
    expect(found.message.length).toBeLessThan(1500);
    expect(drawn.asked).toEqual([]);
  });

  it("in a short message, however long the input is", async () => {
    const told = async (prompt: string) => (await post({ prompt })).message;
    expect(await told(",".repeat(9999))).toMatch(/^prompt: expected names of classes.{1,200}$/);
    expect(await told("x".repeat(9999))).toMatch(/^prompt: the model has no class "x+…x+"; it has cat, dog/);
    expect(await told("cat".repeat(5000))).toBe("prompt: expected at most 10000 characters");
    const { message } = await post({ prompt: "cat", ["k".repeat(9000)]: 1 });
    expect(message).toMatch(/^an unknown key "k+…k+"$/);
  });

  it.each(["../tiny", "/etc/passwd", "tiny/../slow", "tiny\0", "__proto__", "gpt-image-1", "", "x".repeat(120)])(
    "and 404 for the unknown model %j, as in OpenAI's API",
    async (model) => {
      const found = await post({ prompt: "cat", model });
      expect(found).toMatchObject({ status: 404, param: "model", code: "model_not_found" });
      expect(found.message).toMatch(/^model: there is no model ".{0,90}"; this server has tiny, slow/);
      const retrieved = await server.app.request(`/v1/models/${encodeURIComponent(model || " ")}`);
      expect(retrieved.status).toBe(404);
      expect(answerSchemas.Error.parse(await retrieved.json()).error.code).toBe("model_not_found");
    },
  );

  it("for bodies of the wrong type", async () => {
    const text = { "Content-Type": "text/plain" };
    expect((await post({ prompt: "cat" }, { headers: text })).message).toMatch(/must be JSON .* got text\/plain$/);
    const edits = { path: "/v1/images/edits" };
    expect((await post({ prompt: "cat" }, edits)).message).toMatch(/must be a form with files .* application\/json$/);
    const broken = { ...edits, headers: { "Content-Type": "multipart/form-data; boundary=x" } };
    expect((await post("--y\r\n", broken)).message).toMatch(/not a valid form with files/);
  });

  it("for forms without a picture, with too many, or with a text in its place", async () => {
    const form = async (fields: [string, string | Blob][]) => {
      const body = new FormData();
      for (const [name, value] of fields) body.append(name, value);
      const answer = await server.app.request("/v1/images/edits", { method: "POST", body });
      expect(answer.status).toBe(400);
      return answerSchemas.Error.parse(await answer.json()).error.message;
    };
    const file = new Blob(["x"]);
    expect(await form([["prompt", "cat"]])).toMatch(/^image: /);
    expect(
      await form([
        ["prompt", "cat"],
        ["image", "../a.png"],
      ]),
    ).toMatch(/^image: /);
    expect(
      await form([
        ["image[]", file],
        ["image[]", file],
        ["prompt", "cat"],
      ]),
    ).toMatch(/^image: this file is not a PNG, JPEG or WebP$/);
    expect(
      await form([...Array.from({ length: 17 }, (): [string, Blob] => ["image[]", file]), ["prompt", "cat"]]),
    ).toMatch(/^image: /);
    expect(
      await form([
        ["image", file],
        ["mask", file],
        ["mask", file],
        ["prompt", "cat"],
      ]),
    ).toMatch(/^mask: expected one value, got 2$/);
    expect(await form(Array.from({ length: 65 }, (_, i): [string, string] => [`f${i}`, "x"]))).toMatch(
      /^the form has more than 64 fields$/,
    );
    expect(
      await form([
        ["image", file],
        ["prompt", "cat"],
      ]),
    ).toMatch(/^image: this file is not a PNG, JPEG or WebP$/);
    expect(
      await form([
        ["image", file],
        ["prompt", "cat"],
        ["n", "many"],
      ]),
    ).toMatch(/^n: /);
  });

  it("or 413 if it is too large, whether or not its length is declared", async () => {
    expect(await post({ prompt: "cat", user: "x".repeat(20_000) })).toMatchObject({ status: 413 });
    const at = await listening(testServer([models.tiny], { open: drawn.open, limits: { body: 20_000, json: 20_000 } }));
    const chunks = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(10_000)),
    });
    const options = { method: "POST", headers: json, body: chunks, duplex: "half" } as RequestInit;
    const answer = await fetch(`${at.url}/v1/images/generations`, options).catch((error: Error) => error);
    if (answer instanceof Response) expect(answer.status).toBe(413); // otherwise the connection was closed while sending
    await at.close();
  });

  it("and 404 for unknown paths", async () => {
    for (const path of ["/v1/jobs/none", "/v1/jobs/..%2f..%2fetc/events", "/v1/none", "/v1/models/none", "/%00"])
      expect((await server.app.request(path)).status, path).toBe(404);
    for (const path of ["/v1/none", "/%E0%A4%A", "/..%2f..%2fpackage.json"])
      expect((await server.app.request(path, { method: "POST" })).status, path).toBe(404);
  });

  it.each([
    ["/v1/images/generations", "GET", "POST, OPTIONS"],
    ["/v1/images/edits", "PUT", "POST, OPTIONS"],
    ["/v1/models", "POST", "GET, HEAD, OPTIONS"],
    ["/v1/models/tiny", "DELETE", "GET, HEAD, OPTIONS"],
    ["/v1/jobs/1", "PATCH", "GET, HEAD, DELETE, OPTIONS"],
    ["/v1/jobs/1/events", "POST", "GET, HEAD, OPTIONS"],
    ["/metrics", "DELETE", "GET, HEAD, OPTIONS"],
    ["/models.json", "PUT", "GET, HEAD, OPTIONS"],
    ["/", "POST", "GET, HEAD, OPTIONS"],
  ])("405 names what %s takes instead of %s", async (path, method, allowed) => {
    const answer = await server.app.request(path, { method });
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, allowed]);
    expect(answerSchemas.Error.parse(await answer.json()).error.code).toBe("method_not_allowed");
    const options = await server.app.request(path, { method: "OPTIONS" });
    expect([options.status, options.headers.get("allow")]).toEqual([204, allowed]);
  });
});

describe("access", () => {
  const models1 = (headers: Record<string, string>, method = "GET") =>
    server.app.request("/v1/models", { headers, method });

  it("on loopback is allowed only under loopback names", async () => {
    for (const host of ["localhost:7860", "127.0.0.1:7860", "[::1]:7860", "LOCALHOST"])
      expect((await models1({ host })).status, host).toBe(200);
    for (const host of ["evil.example", "localhost.evil.example", "10.0.0.1:7860", "127.0.0.1.evil.example"])
      expect((await models1({ host })).status, host).toBe(403);
  });

  it("is allowed for the server's own pages and for allowed origins only", async () => {
    const own = await models1({ host: "localhost:1", origin: "http://localhost:1" });
    expect([own.status, own.headers.get("access-control-allow-origin")]).toEqual([200, null]);
    const friend = await models1({ origin: "https://friend.example" });
    expect([friend.status, friend.headers.get("access-control-allow-origin")]).toEqual([200, "https://friend.example"]);
    const preflight = await models1({ origin: "https://friend.example" }, "OPTIONS");
    expect([preflight.status, preflight.headers.get("access-control-allow-origin")]).toEqual([
      204,
      "https://friend.example",
    ]);
    for (const origin of ["https://evil.example", "null", "http://localhost:2"])
      for (const method of ["GET", "OPTIONS"]) {
        const refused = await models1({ host: "localhost:1", origin }, method);
        expect([refused.status, refused.headers.get("access-control-allow-origin")], origin).toEqual([403, null]);
      }
  });
});

describe("the OpenAPI document", () => {
  // oxlint-disable-next-line typescript/no-explicit-any
  const openApi = async (): Promise<any> => (await server.app.request("/openapi.json")).json();

  it("has exactly the routes of the API, and every schema that it refers to", async () => {
    const document = await openApi();
    const described = Object.entries(document.paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const routes = server.app.routes
      .filter(({ method, path }) => method !== "ALL" && !/^\/(\*|models\.json|served\/.*)$/.test(path))
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
    expect(described.toSorted()).toEqual([...new Set(routes)].toSorted());
    const text = JSON.stringify(document);
    const references = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, at]) => at);
    expect(references.length).toBeGreaterThan(10);
    for (const at of references) {
      const found = at
        .replace("#/", "")
        .split("/")
        .reduce((part, key) => part?.[key], document);
      expect(found, at).toBeTypeOf("object");
    }
    const ids = Object.values(document.paths as Record<string, Record<string, { operationId: string }>>).flatMap(
      (one) => Object.values(one).map(({ operationId }) => operationId),
    );
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("has the limits that requests are validated against", async () => {
    const { components, openapi, info } = await openApi();
    expect([openapi, info.version]).toEqual(["3.1.0", "1.2.3"]);
    const { GenerationRequest, EditRequest } = components.schemas;
    expect(GenerationRequest).toMatchObject({ type: "object", required: ["prompt"], additionalProperties: false });
    expect(GenerationRequest.properties.n.anyOf[0]).toMatchObject({ type: "integer", minimum: 1, maximum: 8 });
    expect(EditRequest.required.toSorted()).toEqual(["image", "prompt"]);
    expect(EditRequest.properties.image.anyOf[0]).toMatchObject({ type: "string", format: "binary" });
    expect(EditRequest.properties.mask).toMatchObject({ type: "string", format: "binary" });
    expect(JSON.stringify(components)).not.toContain("$schema");
  });
});

describe("metrics", () => {
  it("are in Prometheus' format", async () => {
    const answer = await server.app.request("/metrics");
    expect(answer.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
    const lines = (await answer.text()).trimEnd().split("\n");
    for (const line of lines)
      expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|[a-z_]+(\{(\w+="[^"]*",?)+\})? -?\d+(\.\d+)?(e-?\d+)?)$/);
    expect(lines).toContain(
      'fractalgen_http_requests_total{method="POST",route="/v1/images/generations",status="413"} 1',
    );
    const bucket = (le: string) =>
      Number(lines.find((line) => line.includes(`_bucket{route="/v1/images/generations",le="${le}"`))!.split(" ")[1]);
    expect(bucket("10")).toBe(bucket("+Inf"));
  });

  it("are there without those of the queue when these fail", async () => {
    const away = { lanes: 1, workers: () => 0, metrics: () => Promise.reject(new Error("Redis is away")) };
    const { app, dispose } = testServer([models.tiny], { open: drawn.open, elsewhere: away });
    const answer = await app.request("/metrics");
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringMatching(/^fractalgen_/m)]);
    await dispose();
  });

  const hasPromtool = spawnSync("promtool", ["--version"]).status === 0;
  it.skipIf(!hasPromtool)(`pass promtool${hasPromtool ? "" : " (skipped: Debian's prometheus has it)"}`, async () => {
    const at = await listening(testServer([models.tiny], { open: drawn.open }));
    await fetch(`${at.url}/v1/none"\\`);
    await new Promise((resolve) => setTimeout(resolve, 100)); // wait until the event loop's delay has been measured
    const input = await (await fetch(`${at.url}/metrics`)).text();
    await at.close();
    expect(input).toContain('fractalgen_event_loop_delay_seconds{quantile="0.99"}');
    const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], { input, encoding: "utf8" });
    expect([status, stdout, stderr]).toEqual([0, "", ""]);
  });
});

describe("a server", () => {
  it("does not start with two models of one name, without enough memory, or on a port in use", async () => {
    const { tiny } = models;
    expect(() => servedModels([tiny, tiny])).toThrow(/two models are called "tiny"/);
    expect(() => capacity([tiny], { threads: 2, memory: 1e6, batch: 4 })).toThrow(UserError);
    const at = await listening(testServer([tiny], { open: drawn.open }));
    const again = listen(testServer([tiny], { open: drawn.open }), {
      host: "127.0.0.1",
      port: Number(new URL(at.url).port),
    });
    await expect(again).rejects.toThrow(/^port: \d+ is already in use on 127\.0\.0\.1/);
    await at.close();
  });

  it("uses as many threads and as large a batch as fit in memory", async () => {
    const { slow } = models;
    const weightBytes = [...slow.folder.weights.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
    const size = { guided: false, iterations: [256, 16], weightBytes };
    const room = async (memory: number) => {
      const { lanes, batchOf, dispose } = capacity([slow], { threads: 4, memory, batch: 64 });
      const batch = await batchOf(slow, { ...slow.config.sampling, iterations: [256, 16] });
      await dispose();
      return { lanes, batch };
    };
    const bytes = (images: number, lanes: number) =>
      samplingBytes(slow.config, { ...size, batch: images * lanes, lanes });
    expect(await room(8e9)).toEqual({ lanes: 4, batch: 64 });
    expect(await room(bytes(33, 4))).toEqual({ lanes: 4, batch: 32 });
    expect(await room(bytes(1, 4))).toEqual({ lanes: 4, batch: 1 });
    expect((await room(bytes(1, 3))).lanes).toBe(3);
  });
});

it("accepts groups in a prompt: one image per name, and the next class of a group each time", async () => {
  const { config } = models.tiny;
  const [first, second] = config.classes;
  const grouped = { ...models.tiny, config: { ...config, groups: { both: [second, first] } } };
  const context = {
    models: [grouped],
    schemas: requestSchemas({ images: 8 }),
    batchOf: async () => 1,
    bodies: bodyReader(defaultLimits),
    limits: { ...defaultLimits, images: 8 },
  };
  const labels = async (body: object) => {
    const request = new Request("http://test/", { method: "POST", headers: json, body: JSON.stringify(body) });
    return (await readGeneration(request, context)).order.labels;
  };
  expect(await labels({ prompt: "both", n: 3 })).toEqual([1, 0, 1]);
  expect(await labels({ prompt: `both, ${first}` })).toEqual([1, 0]);
  await expect(labels({ prompt: "bath" })).rejects.toThrow(/did you mean "both"\?$/);
});
