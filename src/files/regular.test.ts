/** Opening files that may be anything, and JSON in all the forms that editors save. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { parseTrainingConfig } from "../config/training.ts";
import { UserError } from "../core/errors.ts";
import { message, shown, visible } from "../core/text.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { readJson } from "./model.ts";
import { firstBytes, openRegular, readRegularSync } from "./regular.ts";
import { readSafetensorsHeader } from "./safetensors.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-regular-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

describe("only regular files are opened", () => {
  execFileSync("mkfifo", [at("pipe")]);
  symlinkSync(at("self"), at("self"));
  const cases: [string, string, RegExp][] = [
    [
      "a named pipe",
      at("pipe"),
      /pipe: this is a named pipe, not a file; write what comes through it to a file first$/,
    ],
    ["a device", "/dev/zero", /^\/dev\/zero: this is a device, not a file; check the path$/],
    ["a folder", folder, /: this is a folder, not a file; name the file itself$/],
    ["a link to itself", at("self"), /self: it is a link that leads back to itself; remove it$/],
    ["nothing", at("nothing"), /nothing: there is no such file; check the path$/],
    ["a name with a zero byte", "a\0b", /^a\\x00b: a path cannot hold a zero byte; check it$/],
  ];
  it.each(cases)("not %s, by any reader, and none waits", async (_, path, expected) => {
    const most = { most: 10, what: "a text" };
    for (const read of [() => readJson(path), () => readRegularSync(path, most), () => readSafetensorsHeader(path)])
      expect(read).toThrow(expected);
    for (const read of [openRegular(path), firstBytes(path, 4), openCheckpoint(path)])
      await expect(read).rejects.toThrow(expected);
  });

  it("and none that is larger than its kind", () => {
    writeFileSync(at("large.json"), "");
    truncateSync(at("large.json"), 2e9);
    expect(() => readJson(at("large.json"))).toThrow(
      /large\.json: it has 2\.00 GB, but a file of JSON has at most 16 MB; is it another file\?$/,
    );
  });
});

it("JSON may have a byte order mark, and is said to be in another encoding", () => {
  writeFileSync(at("bom.json"), '\ufeff{"a": 1}');
  expect(readJson(at("bom.json"))).toEqual({ a: 1 });
  writeFileSync(at("utf16.json"), Buffer.from('\ufeff{"a": 1}', "utf16le"));
  expect(() => readJson(at("utf16.json"))).toThrow(/utf16\.json is in UTF-16, expected UTF-8; save it as UTF-8$/);
  writeFileSync(at("latin.json"), Buffer.from('{"caf\xe9": 1}', "latin1"));
  expect(() => readJson(at("latin.json"))).toThrow(/latin\.json is not JSON: it is no text in UTF-8$/);
  writeFileSync(at("bad.json"), '{"a": \u001b[31m}');
  expect(() => readJson(at("bad.json"))).toThrow(/bad\.json is not JSON: .*\\x1b/);
});

describe("configurations that would cost too much", () => {
  const model = (changes: object) => ({
    imageSize: 4,
    classes: ["a"],
    levels: [
      { kind: "mar", patch: 1, width: 8, depth: 1, heads: 1 },
      { kind: "pixel", width: 8, depth: 1, heads: 1 },
    ],
    ...changes,
  });
  it.each<[string, object, RegExp]>([
    [
      "200,000 classes",
      { classes: Array.from({ length: 200_000 }, (_, i) => `c${i}`) },
      /^it: classes: expected at most 65536, got 200000$/,
    ],
    [
      "a million levels",
      { levels: Array.from({ length: 1e6 }, () => 1) },
      /^it: levels: expected at most 14, got 1000000$/,
    ],
    [
      "widths and depths beyond any machine",
      {
        levels: [
          { kind: "mar", patch: 1, width: 65_536, depth: 256, heads: 1 },
          { kind: "pixel", width: 8, depth: 1, heads: 1 },
        ],
      },
      /^it: the levels have about 13194 billion parameters, but at most 100 billion are supported/,
    ],
    ["a key of megabytes", { ["k".repeat(5e6)]: 1 }, /^it: an unknown key "k{48}…k{31}"$/],
    ["a class of megabytes", { classes: ["c".repeat(5e6)] }, /^it: classes\[0\]: /],
  ])("%s are refused at once", (_, changes, expected) => {
    const started = performance.now();
    expect(() => parseModelConfig(model(changes), "it")).toThrow(expected);
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it("65,536 classes are checked in no time", () => {
    const classes = Array.from({ length: 65_536 }, (_, i) => `class ${i}`);
    const started = performance.now();
    expect(parseModelConfig(model({ classes }), "it").classes.length).toBe(65_536);
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it.each([{ batch: 1e9 }, { microBatch: 1e15 }, { threads: 1e6 }, { steps: 1e15 }])("%j is refused", (training) => {
    expect(() => parseTrainingConfig(training, "state.json")).toThrow(UserError);
    expect(() => parseTrainingConfig(training, "state.json")).toThrow(
      /^state\.json: \w+: .*(1000000000000|65536|1024)/,
    );
  });
});

describe("foreign text in messages", () => {
  it("is visible", () => {
    expect(visible("a\u001b[2J\r\n\u202eb\ufeff\u009b\ud800 é 👩‍🚀")).toBe(
      "a\\x1b[2J\\r\\n\\u{202e}b\\u{feff}\\x9b\\u{d800} é 👩‍🚀",
    );
  });

  it("is short, and what cannot be printed is named by its kind", () => {
    expect(shown("x".repeat(1e7)).length).toBe(80);
    expect([shown([1, 2]), shown([[1]]), shown(Array(9).fill(1)), shown(new Map()), shown({}), shown(null)]).toEqual([
      "[1, 2]",
      "a list",
      "a list",
      "a dict",
      "an object",
      "null",
    ]);
    let doubled: unknown = "x";
    for (let i = 0; i < 60; i++) doubled = [doubled, doubled];
    expect(shown(doubled)).toBe("a list");
  });

  it("keeps a message within 500 characters, with its start and its end", () => {
    const long = new UserError(`${"/deep".repeat(1000)}: there is no such file; check the path`).message;
    expect(long.length).toBe(500);
    expect(long).toMatch(/^\/deep\/deep.*…\/?.*: there is no such file; check the path$/);
    expect(message("short")).toBe("short");
  });
});
