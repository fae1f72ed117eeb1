/** Third-party clients of OpenAI's API, each with the options that it sends by default. */

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { createOpenAI } from "@ai-sdk/openai";
import { DallEAPIWrapper } from "@langchain/openai";
import { generateImage } from "ai";
import OpenAI, { NotFoundError, toFile } from "openai";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readPngText } from "../pictures/pngtext.ts";
import type { Listening } from "./listen.ts";
import { answerSchemas } from "./schemas.ts";
import { clientOf, drawnBy, generate, listening, metric, pixels } from "./test-client.ts";
import { type TestModels, testModels, testServer } from "./test-models.ts";
import { firstOf } from "../test-depth.ts";

const key = "sk-test";
let models: TestModels;
let at: Listening;
let client: OpenAI;
beforeAll(async () => {
  models = await testModels();
  at = await listening(testServer([models.tiny, models.grey], { loopback: true, apiKey: key }));
  client = new OpenAI({ baseURL: `${at.url}/v1`, apiKey: key, maxRetries: 0 });
});
afterAll(async () => {
  await at.close();
  models.remove();
});

/** Decodes an enlarged file to one pixel per block. Throws if the pixels of a block differ. */
async function shrunk(file: Uint8Array, scale: number): Promise<Uint8Array> {
  const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true });
  const side = info.width / scale;
  expect([info.width, info.height]).toEqual([8 * scale, 8 * scale]);
  const small = new Uint8Array(side * side * info.channels);
  for (let y = 0; y < info.height; y++)
    for (let x = 0; x < info.width; x++)
      for (let c = 0; c < info.channels; c++) {
        const to = (Math.floor(y / scale) * side + Math.floor(x / scale)) * info.channels + c;
        const value = data[(y * info.width + x) * info.channels + c];
        if (y % scale === 0 && x % scale === 0) small[to] = value;
        else if (small[to] !== value) throw new Error(`the pixel ${x},${y} differs from its block`);
      }
  return small;
}

const fileIn = (url: string) => Buffer.from(/^data:image\/\w+;base64,(.+)$/.exec(url)![1], "base64");

describe("openai for Node", () => {
  it.each([
    [{}, 1],
    [{ size: "auto" }, 1],
    [{ size: "8x8" }, 1],
    [{ size: "24x24" }, 3],
    [{ size: "1024x1024" }, 128],
  ] as const)("gets images of size %j, every pixel repeated", async (options, scale) => {
    const answer = await generate(client, { ...options, seed: 7, n: 2 });
    const side = 8 * scale;
    expect(answerSchemas.Images.parse(answer)).toMatchObject({ size: `${side}x${side}`, output_format: "png" });
    const images = await drawnBy(models.tiny, { labels: [0, 0], seed: 7 });
    for (const [i, { b64_json }] of answer.data!.entries()) {
      const file = Buffer.from(b64_json!, "base64");
      expect(await shrunk(file, scale)).toEqual(images.slice(i * 192, (i + 1) * 192));
      expect(readPngText(file)).toMatchObject({ Class: "cat", Seed: "7", Index: String(i) });
    }
  });

  it("gets data: URLs if it asks for urls", async () => {
    const { data } = await generate(client, { response_format: "url", seed: 7 });
    expect(data![0].b64_json).toBeUndefined();
    const images = await drawnBy(models.tiny, { labels: [0], seed: 7 });
    expect(await shrunk(fileIn(data![0].url!), 1)).toEqual(images);
  });

  it.each(["tiny", "grey"])(
    "gets WebP of %s without loss, with its origin in the metadata, and JPEG of a given quality",
    async (model) => {
      const drawn = await pixels((await generate(client, { model, seed: 2 })).data![0].b64_json);
      const ask = async (options: object) => {
        const answer = await generate(client, { model, seed: 2, size: "64x64", ...options });
        return Buffer.from(answer.data![0].b64_json!, "base64");
      };
      const webp = await ask({ output_format: "webp" });
      const exact = await sharp(webp)
        .toColourspace(model === "grey" ? "b-w" : "srgb")
        .png()
        .toBuffer();
      expect(await shrunk(exact, 8)).toEqual(drawn);
      const { format, exif } = await sharp(webp).metadata();
      expect([format, exif!.toString("latin1")]).toEqual(["webp", expect.stringContaining('"Seed":"2"')]);
      const [low, high] = [10, 95].map((output_compression) => ask({ output_format: "jpeg", output_compression }));
      expect((await sharp(await low).metadata()).format).toBe("jpeg");
      expect((await low).length).toBeLessThan((await high).length);
      expect((await ask({ output_format: "webp", output_compression: 1 })).length).toBeLessThan(webp.length);
      expect((await ask({ output_format: "jpeg", output_compression: 0 })).length).toBeGreaterThan(0);
    },
  );

  it("streams in the requested size and format", async () => {
    const options = { prompt: "cat", seed: 3, stream: true, partial_images: 1, size: "16x16", output_format: "webp" };
    const stream = await client.images.generate({
      ...options,
      response_format: "url",
    } as OpenAI.ImageGenerateParamsStreaming);
    let events = 0;
    for await (const event of stream) {
      events++;
      expect(event).toMatchObject({ size: "16x16", output_format: "webp" });
      const { format, width } = await sharp(Buffer.from(event.b64_json, "base64")).metadata();
      expect([format, width]).toEqual(["webp", 16]);
    }
    expect(events).toBe(2);
  });

  it("can send all of its own options", async () => {
    const options = { quality: "high", background: "transparent", moderation: "low", style: "vivid", user: "u" };
    await generate(client, { ...options, output_compression: 100, input_fidelity: "high" });
  });

  it("edits several pictures in turn, with one mask or each picture's own transparent pixels", async () => {
    const picture = async (value: number, alpha: (i: number) => number) => {
      const data = Uint8Array.from({ length: 256 }, (_, i) => (i % 4 === 3 ? alpha(i >> 2) : value));
      const png = await sharp(data, { raw: { width: 8, height: 8, channels: 4 } })
        .png()
        .toBuffer();
      return toFile(png, "a.png", { type: "image/png" });
    };
    const upper = (i: number) => (i < 32 ? 255 : 0);
    const left = (i: number) => (i % 8 < 4 ? 255 : 0);
    const image = [await picture(10, upper), await picture(200, left)];
    const { data } = await client.images.edit({ image, prompt: "cat", seed: 1 } as OpenAI.ImageEditParamsNonStreaming);
    const [first, second] = await Promise.all(data!.map(({ b64_json }) => pixels(b64_json)));
    const kept = (found: Uint8Array, alpha: (i: number) => number) =>
      found.filter((_, i) => alpha(Math.floor(i / 3)) > 0);
    expect([...new Set(kept(first, upper))]).toEqual([10]);
    expect([...new Set(kept(second, left))]).toEqual([200]);
    const mask = await picture(0, left);
    const opaque = [await picture(10, () => 255), await picture(200, () => 255)];
    const masked = await client.images.edit({ image: opaque, mask, prompt: "cat", n: 3, input_fidelity: "low" });
    const values = await Promise.all(
      masked.data!.map(async ({ b64_json }) => [...new Set(kept(await pixels(b64_json), left))]),
    );
    expect(values).toEqual([[10], [200], [10]]);
  });

  it("retrieves a model, and gets 404 for unknown ones", async () => {
    expect(await client.models.retrieve("tiny")).toMatchObject({ id: "tiny", object: "model", image_size: 8 });
    answerSchemas.Model.parse(await client.models.retrieve("grey"));
    const unknown = expect(client.models.retrieve("dall-e-3")).rejects;
    await unknown.toThrow(NotFoundError);
    const missing = { status: 404, code: "model_not_found", type: "invalid_request_error" };
    await expect(client.models.retrieve("dall-e-3")).rejects.toMatchObject(missing);
    await expect(generate(client, { model: "gpt-image-1" })).rejects.toMatchObject({ ...missing, param: "model" });
  });

  it.each(firstOf([9e6, 40e6, 200e6], 2))(
    "reads the refusal of %d bytes, and the connection closes without an error",
    async (bytes) => {
      const image = await toFile(Buffer.alloc(bytes), "a.png");
      await expect(client.images.edit({ prompt: "cat", image })).rejects.toMatchObject({ status: 413 });
      await expect(generate(client, { user: "x".repeat(bytes) })).rejects.toMatchObject({ status: 413 });
    },
  );

  it("gets 401 if its key is wrong or missing", async () => {
    await expect(generate(clientOf(at), {})).rejects.toMatchObject({ status: 401, code: "invalid_api_key" });
    expect(await metric(at, "fractalgen_images_total")).toBeNaN();
  });
});

describe("the AI SDK", () => {
  it("gets images", async () => {
    const provider = createOpenAI({ baseURL: `${at.url}/v1`, apiKey: key });
    const ask = (size?: "1024x1024") =>
      generateImage({ model: provider.image("tiny"), prompt: "dog", n: 2, maxRetries: 0, ...(size ? { size } : {}) });
    const { images } = await ask();
    expect(images.map(({ mediaType }) => mediaType)).toEqual(["image/png", "image/png"]);
    expect((await sharp(images[0].uint8Array).metadata()).width).toBe(8);
    expect((await sharp((await ask("1024x1024")).images[0].uint8Array).metadata()).width).toBe(1024);
  });
});

describe("LangChain", () => {
  it.each([{}, { dallEResponseFormat: "b64_json" as const }])("gets an image with %j", async (options) => {
    const tool = new DallEAPIWrapper({
      model: "tiny",
      apiKey: key,
      baseUrl: `${at.url}/v1`,
      ...options,
    });
    const found = String(await tool.invoke("cat"));
    const file = "dallEResponseFormat" in options ? Buffer.from(found, "base64") : fileIn(found);
    expect(await sharp(file).metadata()).toMatchObject({ format: "png", width: 1024, height: 1024 });
  });
});

const python = promisify(execFile);
const hasPython = await python("python3", ["-c", "import openai"]).then(
  () => true,
  () => false,
);

describe("openai for Python", () => {
  it.skipIf(!hasPython)(
    `draws, edits and reads errors${hasPython ? "" : " (skipped: pip install openai)"}`,
    async () => {
      const code = `
import base64, os, openai
client = openai.OpenAI(base_url=os.environ["BASE"], api_key=os.environ["KEY"], max_retries=0)
answer = client.images.generate(prompt="cat", size="1024x1024", response_format="url", extra_body={"seed": 7})
print(answer.data[0].url[:22], answer.data[0].seed)
png = base64.b64decode(client.images.generate(prompt="cat").data[0].b64_json)
try: client.images.edit(image=[("a.png", png), ("b.png", png)], prompt="cat")
except openai.BadRequestError as error: print(error.param)
try: client.models.retrieve("none")
except openai.NotFoundError as error: print(error.code)
print(client.models.retrieve("tiny").id)
print([event.type for event in client.images.generate(prompt="cat", stream=True, partial_images=1)])
try: client.images.edit(image=("a.png", bytes(50_000_000)), prompt="cat")
except openai.APIStatusError as error: print(error.status_code)
`;
      const env = { ...process.env, BASE: `${at.url}/v1`, KEY: key };
      const { stdout } = await python("python3", ["-c", code], { env });
      expect(stdout.trim().split("\n")).toEqual([
        "data:image/png;base64, 7",
        "mask",
        "model_not_found",
        "tiny",
        "['image_generation.partial_image', 'image_generation.completed']",
        "413",
      ]);
    },
  );
});
