/** Centre crops match Pillow's byte for byte; a wrong byte is detected, and unexpected files are reported. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, it } from "vitest";
import { float32, type HostTensor, uint8 } from "../core/arrays.ts";
import { nodeEngine } from "../engine/node.ts";
import { readSafetensors, writeSafetensors } from "../files/safetensors.ts";
import { compareCrops, readCrops } from "./crops.ts";

const fixtures = fileURLToPath(new URL("../../fixtures/crop", import.meta.url));
const engine = await nodeEngine();
const temporary = mkdtempSync(join(tmpdir(), "fractalgen-crops-"));
const path = join(temporary, "crop.safetensors");
afterAll(() => rmSync(temporary, { recursive: true }));

it("agree, all five, in every byte", async () => {
  const names = ["0.size64.u8", "1.size64.u8", "2.size64.u8", "3.size256.u8", "4.size32.u8"];
  expect(await compareCrops(engine, fixtures)).toEqual(
    names.map((name) => ({ name, error: 0, tolerance: 0, ok: true })),
  );
});

it("with one byte off by one are detected", async () => {
  const { tensors } = readSafetensors(join(fixtures, "crop.safetensors"));
  const { data } = tensors.get("2.size64.u8") as HostTensor<Uint8Array>;
  data[5000] ^= 1;
  await writeSafetensors(path, [...tensors]);
  const failed = (await compareCrops(engine, temporary)).filter(({ ok }) => !ok);
  expect(failed).toEqual([{ name: "2.size64.u8", error: 1, tolerance: 0, ok: false }]);
});

it("may be several per image, with any number of channels", async () => {
  const grey = uint8(new Uint8Array(8 * 9).fill(7), [8, 9, 1]);
  const crop = (size: number) => uint8(new Uint8Array(size * size).fill(7), [size, size, 1]);
  await writeSafetensors(path, [["one.input.u8", grey], ["one.size8.u8", crop(8)], ["one.size4.u8", crop(4)]]); // prettier-ignore
  expect(await compareCrops(engine, temporary)).toHaveLength(2);
  expect((await compareCrops(engine, temporary)).every(({ ok }) => ok)).toBe(true);
});

it("cannot be read from other files, which are reported in one sentence", async () => {
  const read = async (...tensors: [string, HostTensor][]) => {
    await writeSafetensors(path, tensors);
    return () => readCrops(path);
  };
  const crop: [string, HostTensor] = ["0.size2.u8", uint8(new Uint8Array(12), [2, 2, 3])];
  expect(await read(["0.crop.u8", crop[1]])).toThrow(
    'crop.safetensors: unexpected tensor "0.crop.u8"; expected only N.input.u8 and N.sizeS.u8',
  );
  expect(await read(crop)).toThrow('it has no tensor "0.input.u8"');
  expect(await read(["0.input.u8", float32(new Float32Array(12), [2, 2, 3])], crop)).toThrow(
    "0.input.u8 is float32 [2, 2, 3], expected uint8 [H, W, C]",
  );
});
