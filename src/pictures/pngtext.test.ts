import sharp from "sharp";
import { expect, test } from "vitest";
import { crc32, insertPngText, readPngText } from "./pngtext.ts";

const png = await sharp({ create: { width: 2, height: 2, channels: 3, background: "red" } })
  .png()
  .toBuffer();

test("text is read back, in Latin-1 or not", () => {
  const text = {
    Software: "fractalgen",
    "a b": "café\nline",
    empty: "",
    heart: "❤ 日本",
    tab: "a\tb",
    json: '{"seed":7}',
  };
  const file = insertPngText(png, text);
  expect(readPngText(file)).toEqual(text);
  expect(Buffer.from(file).includes("iTXtheart")).toBe(true);
  expect(Buffer.from(file).includes("tEXta b")).toBe(true);
  expect(readPngText(png)).toEqual({});
  expect(readPngText(insertPngText(file, { again: "1" }))).toEqual({ ...text, again: "1" });
});

test("other readers find the text and the pixels", async () => {
  const file = insertPngText(png, { seed: "7", prompt: "❤" });
  const { comments } = await sharp(file, { failOn: "warning" }).metadata();
  expect(comments?.map(({ keyword, text }) => [keyword, text])).toEqual(
    expect.arrayContaining([
      ["seed", "7"],
      ["prompt", "❤"],
    ]),
  );
  expect([...(await sharp(file, { failOn: "warning" }).raw().toBuffer()).subarray(0, 3)]).toEqual([255, 0, 0]);
});

test("the checksum matches PNG's", () => {
  expect(crc32(Buffer.from("123456789"))).toBe(0xcbf43926); // the check value of CRC-32/ISO-HDLC
  expect(crc32(Buffer.from("IEND"))).toBe(0xae426082); // the end of every PNG
});

test("reports text that cannot be written", () => {
  for (const keyword of ["", " a", "a ", "x".repeat(80), "❤"])
    expect(() => insertPngText(png, { [keyword]: "" })).toThrow("is not a keyword");
  expect(() => insertPngText(png, { a: "b\0c" })).toThrow("zero character");
  expect(() => readPngText(new Uint8Array(100))).toThrow("not a PNG");
});
