/**
 * Whatever bytes a file contains, the program reads it or refuses it in one sentence. It never hangs, crashes, fills the
 * memory or prints terminal control sequences. Runs for a few seconds by default; FRACTALGEN_FUZZ_SECONDS sets the time, and
 * FRACTALGEN_FUZZ_SEED=N damages the files in other ways.
 */

import * as fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { checkOutcome, type Format, formats, Reader } from "./test-fuzz.ts";
import { thorough } from "../test-depth.ts";

const asked = process.env["FRACTALGEN_FUZZ_SECONDS"];
const seconds = Number(asked ?? (thorough ? 5 : 2));

const reader = new Reader();
afterAll(() => reader.close());
const known = await formats();

/** A position in a piece as a fraction of its length, so that the same damage applies to every format. */
const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const extremes = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];
const texts = [
  "\u001b[2J\u001b]0;owned\u0007",
  "\u202e",
  "../../../x",
  "\0",
  "__proto__",
  "1e999",
  "9".repeat(400),
  "[".repeat(5000),
];

type Damage = (bytes: Buffer) => Buffer;
const at = (bytes: Buffer, share: number, room = 0) => Math.floor(share * Math.max(1, bytes.length - room));

const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.tuple(place, fc.nat(7)).map(([share, bit]): Damage => (bytes) => {
    if (bytes.length > 0) bytes[at(bytes, share)] ^= 1 << bit;
    return bytes;
  }),
  fc.tuple(place, fc.nat(255)).map(([share, value]): Damage => (bytes) => {
    if (bytes.length > 0) bytes[at(bytes, share)] = value;
    return bytes;
  }),
  fc.tuple(place, fc.constantFrom(...extremes), fc.boolean()).map(([share, value, little]): Damage => (bytes) => {
    if (bytes.length >= 4) bytes[little ? "writeUInt32LE" : "writeUInt32BE"](value, at(bytes, share, 4));
    return bytes;
  }),
  fc.tuple(place, place).map(([from, to]): Damage => (bytes) => {
    const [start, end] = [at(bytes, from), at(bytes, to)].toSorted((a, b) => a - b);
    return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
  }),
  fc.tuple(place, place).map(([from, to]): Damage => (bytes) => {
    const [start, end] = [at(bytes, from), at(bytes, to)].toSorted((a, b) => a - b);
    return Buffer.concat([bytes.subarray(0, end), bytes.subarray(start)]);
  }),
  fc.tuple(place, fc.constantFrom(...texts)).map(([share, text]): Damage => (bytes) => {
    const start = at(bytes, share);
    return Buffer.concat([bytes.subarray(0, start), Buffer.from(text), bytes.subarray(start)]);
  }),
  place.map(
    (share): Damage =>
      (bytes) =>
        bytes.subarray(0, at(bytes, share)),
  ),
);

it("reads every format if the files are undamaged", async () => {
  for (const [name, format] of Object.entries(known)) {
    const outcome = await reader.read(
      format,
      format.pieces.map((piece) => Buffer.from(piece)),
    );
    // The hand-written pickles hold two tensors that belong to no model.
    if (/^(pickle|packed)\.pth$/.test(name))
      expect(outcome.text, name).toMatch(/^error: .* does not fit the architecture/);
    else expect([name, outcome.code, outcome.text]).toEqual([name, 0, expect.any(String)]);
  }
}, 300_000);

it(
  "reads damaged files of every format or refuses them in one sentence, within limits of time and memory",
  async () => {
    let tried = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...Object.keys(known)),
        fc.nat(1),
        fc.array(damage, { minLength: 1, maxLength: 4 }),
        async (name, which, damages) => {
          const format: Format = known[name];
          const pieces: Buffer[] = format.pieces.map((piece) => Buffer.from(piece));
          const piece = which % pieces.length;
          pieces[piece] = damages.reduce<Buffer>((bytes, one) => one(bytes), pieces[piece]);
          checkOutcome(await reader.read(format, pieces));
          tried++;
        },
      ),
      {
        numRuns: 1_000_000,
        interruptAfterTimeLimit: seconds * 1000,
        markInterruptAsFailure: false,
        endOnFailure: true,
        seed: Number(process.env["FRACTALGEN_FUZZ_SEED"] ?? 17),
      },
    );
    if (asked !== undefined) console.info(`${tried} damaged files`);
    expect(tried).toBeGreaterThan(0);
  },
  (seconds + 240) * 1000,
);
