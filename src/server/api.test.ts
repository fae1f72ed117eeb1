/** A listening server called by OpenAI's client: images, edits, errors, the shipped model. */

import { fileURLToPath } from "node:url";
import OpenAI, { BadRequestError, toFile } from "openai";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readModelFolder } from "../files/model.ts";
import { readPngText } from "../pictures/pngtext.ts";
import type { Listening } from "./listen.ts";
import { servedModels } from "./models.ts";
import { answerSchemas } from "./schemas.ts";
import { clientOf, drawnBy, editedBy, generate, listening, pixels, png } from "./test-client.ts";
import { type TestModels, testModels, testServer } from "./test-models.ts";
import { thorough } from "../test-depth.ts";

let models: TestModels;
let at: Listening;
let client: OpenAI;

beforeAll(async () => {
  models = await testModels();
  at = await listening(testServer([models.tiny, models.slow], { loopback: true }));
  client = clientOf(at);
});
afterAll(async () => {
  await at.close();
  models.remove();
});

describe("OpenAI's client", () => {
  it("gets images of classes, equal to the library's to the byte, with their origin in the metadata", async () => {
    const answer = await generate(client, {
      model: "tiny",
      prompt: "cat, dog",
      n: 3,
      seed: 5,
      response_format: "b64_json",
    });
    expect(answerSchemas.Images.parse(answer)).toMatchObject({ model: "tiny" });
    const images = await drawnBy(models.tiny, { labels: [0, 1, 0], seed: 5 });
    for (const [i, one] of answer.data!.entries()) {
      expect(one).toMatchObject({ seed: 5, index: i, class: ["cat", "dog", "cat"][i] });
      expect(await pixels(one.b64_json)).toEqual(images.slice(i * 192, (i + 1) * 192));
    }
    const text = readPngText(png(answer.data![1].b64_json));
    expect(text).toMatchObject({ Software: "fractalgen 1.2.3", Model: "tiny", Class: "dog", Seed: "5", Index: "1" });
    expect(JSON.parse(text.Options)).toEqual({
      guidance: 2,
      schedule: "linear",
      temperature: 1,
      filterThreshold: 0,
      iterations: [2, 4],
      device: "cpu",
    });
  });

  it("passes our options, and gets a new random seed in each answer if it gives none", async () => {
    const options = { guidance: 3, schedule: "constant", temperature: 2, filter_threshold: 0.001, iterations: [3, 5] };
    const answer = await generate(client, { seed: 1, size: "8x8", user: "me", quality: "auto", n: null, ...options });
    const own = { guidance: 3, schedule: "constant", temperature: 2, filterThreshold: 0.001 } as const;
    expect(await pixels(answer.data![0].b64_json)).toEqual(
      await drawnBy(models.tiny, { labels: [0], seed: 1, iterations: [3, 5], ...own }),
    );
    const seeds = await Promise.all([generate(client, {}), generate(client, {})]);
    const [one, two] = seeds.map(({ data }) => (data![0] as unknown as { seed: number }).seed);
    expect(one).not.toBe(two);
  });

  it("reads images as a stream, with partial images first", async () => {
    const options = { model: "tiny", prompt: "cat", n: 2, seed: 5, stream: true, partial_images: 2 } as const;
    const stream = await client.images.generate(options as OpenAI.ImageGenerateParamsStreaming);
    const events: OpenAI.ImageGenStreamEvent[] = [];
    for await (const event of stream) events.push(event);
    const done = events.filter(({ type }) => type === "image_generation.completed");
    const images = await drawnBy(models.tiny, { labels: [0, 0], seed: 5 });
    expect(await Promise.all(done.map(({ b64_json }) => pixels(b64_json)))).toEqual([
      images.slice(0, 192),
      images.slice(192),
    ]);
    const partial = events.filter((event) => event.type === "image_generation.partial_image");
    expect(partial.map((event) => event.partial_image_index)).toEqual([0, 0, 1, 1]);
    expect(events.indexOf(done[0])).toBe(4);
    expect(await pixels(partial[0].b64_json)).toContain(128); // not drawn yet
  });

  it("lists the models", async () => {
    const list = await client.models.list();
    expect(list.data.map(({ id }) => id)).toEqual(["tiny", "slow"]);
    expect(list.data[0]).toMatchObject({ image_size: 8, classes: ["cat", "dog"], owned_by: "fractalgen" });
    answerSchemas.ModelList.parse(await (await fetch(`${at.url}/v1/models`)).json());
  });

  it("recognizes errors: error class, field and message", async () => {
    await expect(generate(client, { prompt: "cot" })).rejects.toThrow(BadRequestError);
    await expect(generate(client, { prompt: "cot" })).rejects.toMatchObject({
      status: 400,
      type: "invalid_request_error",
      param: "prompt",
      message: '400 prompt: the model has no class "cot"; did you mean "cat"?',
    });
  });
});

describe("edits", () => {
  const image = Uint8Array.from({ length: 192 }, (_, i) => (i * 7) % 256);
  const hole = Uint8Array.from({ length: 64 }, (_, i) => Number(i % 8 < 3 && i > 20));
  const picture = async (data: Uint8Array, channels: 1 | 2 | 3 | 4 = 3, name = "image.png") =>
    toFile(
      await sharp(data, { raw: { width: 8, height: 8, channels } })
        .png()
        .toBuffer(),
      name,
      { type: "image/png" },
    );
  const ask = (options: Record<string, unknown>) =>
    client.images.edit({ prompt: "dog", ...options } as OpenAI.ImageEditParamsNonStreaming);

  const expected = ({ n, ...options }: { n: number; seed: number; ring?: number }): Promise<Uint8Array> =>
    editedBy(models.tiny, { image, mask: hole, labels: Array.from({ length: n }, () => 1), ...options });

  it.each([
    ["white on black", "white", 1, (drawn: number) => [drawn * 255]],
    ["transparent", "transparent", 4, (drawn: number) => [9, 9, 9, 255 - drawn * 255]],
  ] as const)("redraw the %s pixels of the mask, and keep all others to the byte", async (_, rule, channels, pixel) => {
    const mask = await picture(Uint8Array.from([...hole].flatMap(pixel)), channels, "mask.png");
    const answer = await ask({ image: await picture(image), mask, n: 2, seed: 3 });
    expect(answerSchemas.Images.parse(answer)).toMatchObject({ mask_rule: rule });
    const images = await expected({ n: 2, seed: 3 });
    for (const [i, { b64_json }] of answer.data!.entries()) {
      const found = await pixels(b64_json);
      expect(found).toEqual(images.slice(i * 192, (i + 1) * 192));
      const kept = found.filter((_, at) => hole[Math.floor(at / 3)] === 0);
      expect(kept).toEqual(image.filter((_, at) => hole[Math.floor(at / 3)] === 0));
    }
  });

  it("redraw the image's own transparent pixels without a mask, and accept our options and a ring", async () => {
    const own = Uint8Array.from([...hole].flatMap((drawn, i) => [...image.slice(3 * i, 3 * i + 3), 255 * (1 - drawn)]));
    const answer = await ask({ image: [await picture(own, 4)], n: 1, seed: 4, ring: 1, iterations: [2, 4] });
    expect(await pixels(answer.data![0].b64_json)).toEqual(await expected({ n: 1, seed: 4, ring: 1 }));
  });

  it("say what is wrong with the pictures", async () => {
    const good = await picture(image);
    const wrong = async (options: Record<string, unknown>, sentence: RegExp) => {
      await expect(ask({ image: good, ...options })).rejects.toMatchObject({
        status: 400,
        message: expect.stringMatching(sentence),
      });
    };
    await wrong({}, /mask: expected a mask, or an image with transparent pixels, got an opaque image without a mask$/);
    await wrong({ mask: await picture(new Uint8Array(64), 1) }, /no transparent or white pixels/);
    const large = await sharp({ create: { width: 9, height: 8, channels: 3, background: "white" } })
      .png()
      .toBuffer();
    await wrong(
      { mask: await toFile(large, "m.png") },
      /mask: expected 8x8 pixels, the size of the model tiny, got 9x8$/,
    );
    await wrong(
      { image: await toFile(Buffer.from("<svg/>"), "a.png") },
      /image: this file is not a PNG, JPEG or WebP$/,
    );
    const broken = png((await generate(client, { seed: 1 })).data![0].b64_json).subarray(0, 350);
    await wrong({ image: await toFile(broken, "a.png"), mask: good }, /image: it does not decode/);
    const bomb = await sharp({ create: { width: 5000, height: 5000, channels: 3, background: "red" } })
      .png()
      .toBuffer();
    await wrong({ image: await toFile(bomb, "a.png"), mask: good }, /image: expected 8x8 pixels.* got 5000x5000$/);
    await wrong({ mask: good, ring: -1 }, /ring: /);
    const raster = await picture(new Uint8Array(64).fill(255), 1);
    await wrong({ model: "slow", mask: raster }, /image: expected 64x64/);
  });
});

describe.runIf(thorough)("the shipped model", () => {
  it("returns the same images as the command line", async () => {
    const folder = readModelFolder(fileURLToPath(new URL("../../models/emoji", import.meta.url)));
    const shipped = servedModels([{ name: "emoji", folder }]);
    const own = await listening(testServer(shipped, { threads: 2 }));
    const answer = await generate(clientOf(own), { prompt: "heart", n: 2, seed: 1, iterations: [4, 2] });
    const heart = folder.config.classes.indexOf("heart");
    const images = await drawnBy(shipped[0], { labels: [heart, heart], seed: 1, iterations: [4, 2] });
    expect(await pixels(answer.data![1].b64_json)).toEqual(images.slice(images.length / 2));
    await own.close();
  });
});
