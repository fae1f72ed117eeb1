/** Event files are read back by the test's own reader and, if it is installed, by TensorBoard's. */

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { openEvents } from "./tensorboard.ts";
import { builtUrl } from "../test-program.ts";

let dir: string;
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), "events-"))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const picture = (channels: 3 | 4) =>
  sharp({ create: { width: 3, height: 2, channels, background: "red" } })
    .png()
    .toBuffer();

/** CRC-32C bit by bit: polynomial 0x1edc6f41, reflected. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** Undoes the mask: subtract the constant, turn left by 15 bits. */
function unmasked(checksum: number): number {
  const turned = (checksum - 0xa282ead8) >>> 0;
  return ((turned << 15) | (turned >>> 17)) >>> 0;
}

/** The contents of all complete records, with checksums verified, and the number of bytes of a truncated one. */
function readRecords(file: Buffer): { contents: Buffer[]; cut: number } {
  const contents: Buffer[] = [];
  let at = 0;
  while (at + 12 <= file.length) {
    const length = Number(file.readBigUInt64LE(at));
    expect(unmasked(file.readUInt32LE(at + 8))).toBe(crc32c(file.subarray(at, at + 8)));
    if (at + 16 + length > file.length) break;
    const content = file.subarray(at + 12, at + 12 + length);
    expect(unmasked(file.readUInt32LE(at + 12 + length))).toBe(crc32c(content));
    contents.push(content);
    at += 16 + length;
  }
  return { contents, cut: file.length - at };
}

/** The fields of a protobuf message in order: varints as numbers, everything else as bytes. */
function fields(message: Buffer): { field: number; number: number; bytes: Buffer }[] {
  const found = [];
  let at = 0;
  const varint = () => {
    for (let value = 0, factor = 1; ; factor *= 128) {
      const byte = message[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const kind = tag & 7;
    const number = kind === 0 || kind === 2 ? varint() : 0;
    const length = { 0: 0, 1: 8, 2: number, 5: 4 }[kind]!;
    found.push({ field: tag >> 3, number, bytes: message.subarray(at, at + length) });
    at += length;
  }
  expect(at).toBe(message.length);
  return found;
}

const part = (message: Buffer, field: number) => fields(message).find((one) => one.field === field);

/** The content of an event as plain values. */
function event(content: Buffer): Record<string, unknown> {
  const base = { time: part(content, 1)!.bytes.readDoubleLE(), step: part(content, 2)!.number };
  const version = part(content, 3);
  if (version) return { ...base, version: version.bytes.toString() };
  const session = part(content, 7);
  if (session) return { ...base, session: part(session.bytes, 1)!.number };
  const values = fields(part(content, 5)!.bytes).map(({ field, bytes }) => {
    expect(field).toBe(1);
    const tag = part(bytes, 1)!.bytes.toString();
    const image = part(bytes, 4)?.bytes;
    if (!image) return [tag, part(bytes, 2)!.bytes.readFloatLE()];
    return [tag, [1, 2, 3].map((field) => part(image, field)!.number), part(image, 4)!.bytes];
  });
  return { ...base, values };
}

const events = (path: string) => readRecords(readFileSync(path)).contents.map(event);

describe("the test's own checksum", () => {
  it("is CRC-32C", () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa); // RFC 3720, B.4
    expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
  });
});

describe("an event file", () => {
  it("contains version, start, scalars and images with correct checksums", async () => {
    let time = 1_700_000_000.5;
    const log = await openEvents(dir, { wallTime: () => time++ });
    const [red, clear] = [await picture(3), await picture(4)];
    await log.scalars(1, { "bits/training": 7.5, loss: -0.25 });
    await log.scalars(3_000_000_000, { "bits/training": 2.125, "Größe ❤": 1e-3 });
    await log.image(2, "samples", red);
    await log.image(2, "clear", clear);
    await log.close();
    expect(log.path).toBe(join(dir, `events.out.tfevents.1700000000.fractalgen.${process.pid}`));
    expect(events(log.path)).toEqual([
      { time: 1_700_000_001.5, step: 0, version: "brain.Event:2" },
      { time: 1_700_000_002.5, step: 0, session: 1 },
      {
        time: 1_700_000_003.5,
        step: 1,
        values: [
          ["bits/training", 7.5],
          ["loss", -0.25],
        ],
      },
      {
        time: 1_700_000_004.5,
        step: 3_000_000_000,
        values: [
          ["bits/training", 2.125],
          ["Größe ❤", Math.fround(1e-3)],
        ],
      },
      { time: 1_700_000_005.5, step: 2, values: [["samples", [2, 3, 3], red]] },
      { time: 1_700_000_006.5, step: 2, values: [["clear", [2, 3, 4], clear]] },
    ]);
  });

  it("stores NaN, and values beyond 32-bit floats as infinity", async () => {
    const log = await openEvents(dir);
    await log.scalars(1, { a: Number.NaN, b: Infinity, c: -Infinity, d: 1e39, e: -0 });
    await log.close();
    expect(events(log.path)[2].values).toEqual([
      ["a", Number.NaN],
      ["b", Infinity],
      ["c", -Infinity],
      ["d", Infinity],
      ["e", -0],
    ]);
  });

  it("keeps the order of calls that are not awaited", async () => {
    const log = await openEvents(dir);
    const png = await picture(3);
    const calls = Array.from({ length: 200 }, (_, step) =>
      step % 3 === 0 ? log.image(step, "samples", png) : log.scalars(step, { bits: step }),
    );
    await log.close();
    await Promise.all(calls);
    expect(
      events(log.path)
        .slice(2)
        .map(({ step }) => step),
    ).toEqual(calls.map((_, step) => step));
  });

  it("is complete up to the last call when the process is killed", () => {
    const code = `
      const { openEvents } = await import(${JSON.stringify(builtUrl("files/tensorboard"))});
      const log = await openEvents(${JSON.stringify(dir)});
      for (let step = 1; step <= 50; step++) await log.scalars(step, { bits: step });
      process.kill(process.pid, "SIGKILL");`;
    const { signal } = spawnSync(process.execPath, ["--input-type=module", "--eval", code]);
    expect(signal).toBe("SIGKILL");
    const { contents, cut } = readRecords(readFileSync(join(dir, readdirSync(dir)[0])));
    expect(event(contents.at(-1)!)).toMatchObject({ step: 50, values: [["bits", 50]] });
    expect(cut).toBe(0);
  });

  it("is read up to the last complete record when truncated", async () => {
    const log = await openEvents(dir);
    await log.scalars(1, { bits: 8 });
    const whole = readFileSync(log.path).length;
    await log.scalars(2, { bits: 7 });
    await log.close();
    const file = readFileSync(log.path);
    for (let length = whole; length < file.length; length++) {
      const { contents, cut } = readRecords(file.subarray(0, length));
      expect([contents.length, cut]).toEqual([3, length - whole]);
    }
  });

  const canMount = spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]).status === 0;
  it.skipIf(!canMount)(
    "continues with complete records after a full disk (skipped if no small disk can be mounted)",
    () => {
      const code = `
      import { readFileSync, rmSync, writeFileSync } from "node:fs";
      const { openEvents } = await import(${JSON.stringify(builtUrl("files/tensorboard"))});
      const dir = ${JSON.stringify(dir)};
      writeFileSync(dir + "/other", new Uint8Array(40_000));
      const log = await openEvents(dir + "/tb");
      const png = readFileSync(0);
      await log.image(1, "noise", png).catch((error) => process.stderr.write(error.name + ": " + error.message));
      rmSync(dir + "/other");
      await log.scalars(2, { bits: 3 });
      await log.close();
      process.stdout.write(readFileSync(log.path));`;
      const png = Buffer.concat([
        Buffer.from("89504e470d0a1a0a0000000d49484452000000640000006408020000", "hex"),
        Buffer.alloc(30_000),
      ]);
      const mount = `mount -t tmpfs -o size=64k tmpfs ${dir} && exec "$0" "$@"`;
      const node = [process.execPath, "--input-type=module", "--eval", code];
      const { stdout, stderr } = spawnSync("unshare", ["-rm", "sh", "-c", mount, ...node], { input: png });
      expect(stderr.toString()).toMatch(
        /^UserError: cannot write TensorBoard events to .*tfevents.*: no space left on device; free some space there/,
      );
      const { contents, cut } = readRecords(stdout);
      expect(contents.slice(2).map(event)).toMatchObject([{ step: 2, values: [["bits", 3]] }]);
      expect(cut).toBe(0);
    },
  );
});

describe("a resumed run", () => {
  it("begins a new file with a START at the step after the checkpoint", async () => {
    const wallTime = () => 1_700_000_000;
    const first = await openEvents(dir, { wallTime });
    await first.close();
    const before = readFileSync(first.path);
    const second = await openEvents(dir, { step: 100, wallTime });
    const third = await openEvents(dir, { step: 0, wallTime: () => 1_600_000_000 }); // a clock that was set back
    await Promise.all([second.close(), third.close()]);
    expect(readFileSync(first.path)).toEqual(before);
    const names = readdirSync(dir).sort();
    expect(names.map((name) => name.split(".")[3])).toEqual(["1700000000", "1700000001", "1700000002"]);
    expect(names.map((name) => events(join(dir, name))[1])).toMatchObject([
      { session: 1, step: 0 },
      { session: 1, step: 101 },
      { session: 1, step: 1 },
    ]);
  });
});

describe("a failed write", () => {
  it("is reported", async () => {
    const log = await openEvents(join(dir, "made/for/it"));
    await expect(log.image(1, "samples", new Uint8Array(100))).rejects.toThrow("not a PNG file");
    await expect(log.scalars(1.5, { bits: 1 })).rejects.toThrow(RangeError);
    await log.close();
    expect(events(log.path)).toHaveLength(2);
    writeFileSync(join(dir, "file"), "");
    await expect(openEvents(join(dir, "file"))).rejects.toThrow(UserError);
  });
});

const tensorboard = spawnSync("python3", ["-c", "import tensorboard"], { encoding: "utf8" });
const missing = tensorboard.status === 0 ? "" : " (skipped: python3 here has no tensorboard package)";

describe(`TensorBoard's own reader${missing}`, () => {
  const program = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
log = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0}).Reload()
print(json.dumps({
  "scalars": {tag: [[e.step, e.value] for e in log.Scalars(tag)] for tag in log.Tags()["scalars"]},
  "images": {tag: [[e.step, e.width, e.height, e.encoded_image_string.hex()] for e in log.Images(tag)]
             for tag in log.Tags()["images"]},
}))`;
  const read = () =>
    JSON.parse(
      execFileSync("python3", ["-c", program, dir], { encoding: "utf8", stdio: "pipe" }).replaceAll("NaN", "null"),
    );

  it.skipIf(missing)(
    "finds scalars and pictures, passes over a cut record, and drops the steps that come again",
    async () => {
      const png = await picture(3);
      const first = await openEvents(dir);
      for (let step = 1; step <= 5; step++) await first.scalars(step, { "bits/training": 8 - step, nan: Number.NaN });
      await first.image(2, "samples", png);
      await first.image(4, "samples", png);
      await first.close();
      writeFileSync(first.path, readFileSync(first.path).subarray(0, -7));
      const { scalars, images } = read();
      expect(scalars["bits/training"]).toEqual([1, 2, 3, 4, 5].map((step) => [step, 8 - step]));
      expect(images).toEqual({ samples: [[2, 3, 2, png.toString("hex")]] });

      const second = await openEvents(dir, { step: 3 });
      expect(read().scalars["bits/training"]).toEqual([1, 2, 3].map((step) => [step, 8 - step]));
      await second.scalars(4, { "bits/training": 0.5 });
      await second.close();
      expect(read().scalars["bits/training"]).toEqual([...[1, 2, 3].map((step) => [step, 8 - step]), [4, 0.5]]);
      expect(read().images.samples).toHaveLength(1);

      const anew = await openEvents(dir);
      await anew.close();
      expect(read()).toEqual({ scalars: { "bits/training": [], nan: [] }, images: { samples: [] } });
    },
  );
});
