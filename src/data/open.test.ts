/** The cache: made once by any process, completely or not at all; reused while nothing changes; constant memory use. */

import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { type Dataset, imagesBetween } from "./dataset.ts";
import { type DataOptions, openDataset } from "./open.ts";
import { idx, plain, put } from "./test-files.ts";
import { builtUrl } from "../test-program.ts";

const root = mkdtempSync(join(tmpdir(), "fractalgen-open-"));
const folder = join(root, "photos");
let caches = 0;
const newCache = () => join(root, `cache${caches++}`);

beforeAll(async () => {
  for (let i = 0; i < 30; i++) {
    const image = plain([i * 8, 10, 255 - i], { width: 20 + i, height: 50 - i });
    put(join(folder, i % 2 ? "odd" : "even", `${i}.png`), await image.png().toBuffer());
  }
  put(join(folder, "odd", "broken.png"), "no image");
});
afterAll(() => rmSync(root, { recursive: true }));

const whole = ({ train, heldOut, ...rest }: Dataset) => ({
  ...rest,
  parts: [train, heldOut].map(({ image, ...split }) => ({
    ...split,
    images: imagesBetween({ ...split, image }, { from: 0, to: split.count }),
  })),
});
const imageSize = 8;

it("is made once, with progress, and read again without", async () => {
  const cache = newCache();
  const progress: string[] = [];
  const measured: string[] = [];
  const skipped: string[] = [];
  const made = await openDataset(folder, {
    cache,
    imageSize,
    onMeasure: (done, total) => measured.push(`${done}/${total}`),
    onProgress: (done, total) => progress.push(`${done}/${total}`),
    onSkipped: (name) => skipped.push(name),
  });
  expect(progress).toEqual(Array.from({ length: 31 }, (_, i) => `${i + 1}/31`));
  expect(measured).toEqual(progress);
  expect(skipped).toEqual(["odd/broken.png"]);
  expect(readdirSync(cache)).toEqual([expect.stringMatching(/^photos-[0-9a-f]{16}\.data$/)]);
  const unexpected = () => expect.unreachable("it decodes again");
  const again = await openDataset(folder, { cache, imageSize, onProgress: unexpected, onSkipped: unexpected });
  expect(whole(again)).toEqual(whole(made));
  expect(again.skipped.length).toBe(1);
  expect(again.fingerprint).toMatch(/^[0-9a-f]{32}$/);
});

it("contains the cropped images, whatever the order of decoding", async () => {
  const { train, heldOut } = await openDataset(folder, { cache: newCache(), imageSize });
  for (const { names, image } of [train, heldOut])
    names.forEach((name, index) => {
      const i = Number(/\d+/.exec(name)![0]);
      for (const at of [0, 63])
        expect([...image(index).subarray(3 * at, 3 * at + 3)], name).toEqual([i * 8, 10, 255 - i]);
    });
});

it("differs for other options and other files", async () => {
  const cache = newCache();
  const fingerprints = new Set<string>();
  const open = async (options: Partial<DataOptions> = {}) => {
    const { fingerprint } = await openDataset(folder, { cache, imageSize, ...options });
    fingerprints.add(fingerprint);
    return readdirSync(cache).length;
  };
  expect(await open()).toBe(1);
  expect(await open({ imageSize: 7 })).toBe(2);
  expect(await open({ channels: 1 })).toBe(3);
  expect(await open({ heldOut: 0.5 })).toBe(4);
  expect(await open({ heldOut: 0.5, group: "^\\w+" })).toBe(5);
  expect(fingerprints.size).toBe(5);
  const now = new Date();
  utimesSync(join(folder, "even", "0.png"), now, now);
  expect(await open()).toBe(6);
  expect(fingerprints.size).toBe(5); // touched, but the same images
});

it("takes names for its classes, one for each", async () => {
  const cache = newCache();
  const plain = await openDataset(folder, { cache, imageSize });
  const named = await openDataset(folder, { cache, imageSize, classNames: ["second, fourth", "first"] });
  expect(named.classes).toEqual(["second, fourth", "first"]);
  expect([...named.train.labels]).toEqual([...plain.train.labels]);
  const refused = (source: string, classNames: string[]) => openDataset(source, { cache, imageSize, classNames });
  await expect(refused(folder, ["one"])).rejects.toThrow("2 names, one for each class (even, odd), got 1");
  await expect(refused(folder, ["one", "one"])).rejects.toThrow("two classes have the name one");
  await expect(refused("emoji", ["one"])).rejects.toThrow("classNames: the classes of emoji have names already");
});

it("is not left incomplete after an abort or a failure", async () => {
  const cache = newCache();
  const controller = new AbortController();
  const stopped = openDataset(folder, {
    cache,
    imageSize,
    signal: controller.signal,
    onProgress: (done) => done === 5 && controller.abort(),
  });
  await expect(stopped).rejects.toThrow("aborted");
  expect(readdirSync(cache)).toEqual([]);
  const path = join(root, "cut-images.idx3-ubyte");
  writeFileSync(path, idx([9, 4, 4], new Uint8Array(130)));
  await expect(openDataset(path, { cache })).rejects.toThrow(/it ends in image 8 of 9/);
  expect(readdirSync(cache)).toEqual([]);
  await expect(openDataset(folder, { cache, signal: AbortSignal.abort() })).rejects.toThrow("aborted");
});

it("can be made by several processes at once, completely by each", async () => {
  const cache = newCache();
  const script = `import { openDataset } from ${JSON.stringify(builtUrl("data/open"))};
    const { fingerprint } = await openDataset(${JSON.stringify(folder)}, { cache: ${JSON.stringify(cache)}, imageSize: 8 });
    console.log(fingerprint);`;
  const cwd = fileURLToPath(new URL("../..", import.meta.url));
  const run = () => promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { cwd });
  const results = await Promise.all([run(), run()]);
  const { fingerprint } = await openDataset(folder, { cache, imageSize });
  expect(results.map(({ stdout }) => stdout.trim())).toEqual([fingerprint, fingerprint]);
  expect(readdirSync(cache).length).toBe(1);
});

it("is rejected by name if it is damaged or truncated", async () => {
  const cache = newCache();
  const { train } = await openDataset(folder, { cache, imageSize });
  const path = join(cache, readdirSync(cache)[0]);
  const bytes = readFileSync(path);
  const changed = Buffer.from(bytes);
  changed[30 * 192 + 2] ^= 1; // in what comes after the images
  for (const damaged of [
    bytes.subarray(0, -1),
    bytes.subarray(100),
    bytes.subarray(0, 20),
    Buffer.alloc(500),
    changed,
  ]) {
    writeFileSync(path, damaged);
    const attempt = openDataset(folder, { cache, imageSize });
    await expect(attempt).rejects.toThrow(UserError);
    await expect(attempt).rejects.toThrow(`${path}: it `);
    await expect(attempt).rejects.toThrow(/; delete it, and it will be created again$/);
  }
  // A file that is truncated after opening is reported when it is read.
  writeFileSync(path, "");
  expect(() => train.image(0)).toThrow(UserError);
});

it("reports a file in the way of the folder", async () => {
  const cache = join(root, "a-file");
  writeFileSync(cache, "");
  await expect(openDataset(folder, { cache, imageSize })).rejects.toThrow(
    /^cannot write .*part of this path is a file/,
  );
});

it("needs no more memory for more images", async () => {
  const [count, side] = [6000, 100];
  const path = join(root, "many-images.idx3-ubyte");
  const each = side * side;
  const images = new Uint8Array(count * each);
  for (let i = 0; i < count; i++) images.fill(i % 256, i * each + (i >> 8), (i + 1) * each);
  writeFileSync(path, idx([count, side, side], images)); // 60 MB
  const script = `import { openDataset } from ${JSON.stringify(builtUrl("data/open"))};
    const memory = () => process.memoryUsage.rss();
    const before = memory();
    let most = 0;
    const look = () => (most = Math.max(most, memory() - before));
    const { train, heldOut } = await openDataset(${JSON.stringify(path)}, { cache: ${JSON.stringify(newCache())}, onProgress: look });
    for (let i = 0; i < train.count; i++) train.image(i), look();
    console.log(JSON.stringify({ most, count: train.count + heldOut.count, heldOut: heldOut.count }));`;
  const cwd = fileURLToPath(new URL("../..", import.meta.url));
  const args = ["--max-semi-space-size=4", "--input-type=module", "-e", script];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd });
  const { most, count: read, heldOut } = JSON.parse(stdout);
  expect(read).toBe(count);
  expect(heldOut).toBeGreaterThan(count * 0.03);
  expect(most).toBeLessThan(45e6);
  expect(statSync(path).size).toBeGreaterThan(60e6);
}, 60_000);
