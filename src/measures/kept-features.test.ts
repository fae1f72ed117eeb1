/** An interrupted measure resumes from its cached features, with the same results. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { float32, type HostTensor } from "../core/arrays.ts";
import { nodeEngine } from "../engine/node.ts";
import { type FeatureNetwork, measure, type MeasuredSet } from "../evaluate/features.ts";
import { keptFeatures } from "./kept-features.ts";

const engine = await nodeEngine({ threads: 1 });
let cache = "";
beforeEach(() => void (cache = mkdtempSync(join(tmpdir(), "fractalgen-kept-"))));
afterEach(() => rmSync(cache, { recursive: true, force: true }));

/** A network with two features and three logits of 2x2 pixels that counts the batches it computes. */
function counting(): FeatureNetwork & { batches: number } {
  const network = {
    name: "counting",
    kind: "own" as const,
    width: 2,
    batches: 0,
    async run({ data, shape: [rows] }: HostTensor) {
      network.batches++;
      const of = (width: number) =>
        float32(
          Float32Array.from(
            { length: rows * width },
            (_, i) => Number(data[12 * Math.floor(i / width) + (i % width)]) / 7,
          ),
          [rows, width],
        );
      return { features: of(2), logits: of(3) };
    },
    dispose: async () => {},
  };
  return network;
}

/** 50 images, that is four batches. Image `changed` differs; the stream fails before image `until`. */
async function* images({ changed = -1, until = 50 } = {}): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < 50; i++) {
    if (i === until) throw new Error("interrupted");
    yield Uint8Array.from({ length: 12 }, (_, at) => (i * 31 + at * 17 + (i === changed ? 1 : 0)) % 256);
  }
}

async function measured(
  stream: AsyncIterable<Uint8Array>,
  { id = "weights", kept = keptFeatures(cache) } = {},
): Promise<{ batches: number; found?: MeasuredSet }> {
  const network = counting();
  const remembering = await kept.open(network, { id, name: "pictures" });
  const found = await measure(engine, { network: remembering, name: "pictures" }, stream, { size: 2 }).catch(() => {});
  await remembering.close();
  return { batches: network.batches, found: found ?? undefined };
}

const plain = (stream: AsyncIterable<Uint8Array>) =>
  measure(engine, { network: counting(), name: "pictures" }, stream, { size: 2 });

it("resumes an interrupted measure, with the same numbers", async () => {
  expect(await measured(images({ until: 40 }))).toEqual({ batches: 2, found: undefined });
  const { batches, found } = await measured(images());
  expect(batches).toBe(2);
  expect(found).toEqual(await plain(images()));
  expect((await measured(images())).batches).toBe(0);
});

it("recomputes from the first batch that has other images or is incomplete", async () => {
  await measured(images());
  const { batches, found } = await measured(images({ changed: 20 }));
  expect(batches).toBe(3);
  expect(found).toEqual(await plain(images({ changed: 20 })));
  const [name] = readdirSync(cache);
  truncateSync(join(cache, name), statSync(join(cache, name)).size - 1);
  expect(await measured(images({ changed: 20 }))).toEqual({ batches: 1, found });
});

it("recomputes numbers whose hash is wrong, for example after two measures wrote one file", async () => {
  const { found } = await measured(images());
  const path = join(cache, readdirSync(cache)[0]);
  const bytes = readFileSync(path);
  bytes[80] ^= 1; // in the first record's features
  writeFileSync(path, bytes);
  expect(await measured(images())).toEqual({ batches: 4, found });
});

it("measures without a cache if none can be written", async () => {
  writeFileSync(join(cache, "file"), "");
  const kept = keptFeatures(join(cache, "file/cache"));
  expect(await measured(images(), { kept })).toEqual({ batches: 4, found: await plain(images()) });
  kept.forget();
});

it("has a file for each set of weights, and deletes it when the measure is done", async () => {
  await measured(images());
  const kept = keptFeatures(cache);
  expect((await measured(images(), { id: "others", kept })).batches).toBe(4);
  expect(readdirSync(cache)).toHaveLength(2);
  kept.forget();
  expect(readdirSync(cache)).toHaveLength(1);
});
