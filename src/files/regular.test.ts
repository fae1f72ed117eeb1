/** Opening files of any kind, and JSON in every encoding that editors save. */

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
import { processorSeconds } from "./test-time.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-regular-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

describe("only regular files are opened", () => {
  execFileSync("mkfifo", [at("pipe")]);
  symlinkSync(at("self"), at("self"));
  const cases: [string, string, RegExp][] = [
    ["a named pipe", at("pipe"), /pipe: this is a named pipe, not a file; save its data to a file first$/],
    ["a device", "/dev/zero", /^\/dev\/zero: this is a device, not a file; check the path$/],
    ["a folder", folder, /: this is a folder, not a file; name the file itself$/],
    ["a link to itself", at("self"), /self: it is a link that leads back to itself; remove it$/],
    ["nothing", at("nothing"), /nothing: there is no such file; check the path$/],
    ["a name with a zero byte", "a\0b", /^a\\x00b: a path cannot contain a zero byte; check it$/],
  ];
  it.each(cases)("not %s, by any reader and without waiting", async (_, path, expected) => {
    const most = { most: 10, what: "a text" };
    for (const read of [() => readJson(path), () => readRegularSync(path, most), () => readSafetensorsHeader(path)])
      expect(read).toThrow(expected);
    for (const read of [() => openRegular(path), () => firstBytes(path, 4), () => openCheckpoint(path)])
      await expect(read()).rejects.toThrow(expected);
  });

  it("and none larger than its kind allows", () => {
    writeFileSync(at("large.json"), "");
    truncateSync(at("large.json"), 2e9);
    expect(() => readJson(at("large.json"))).toThrow(
      /large\.json: it has 2\.00 GB, but a JSON file has at most 16 MB; check the path$/,
    );
  });
});

it("JSON may have a byte order mark, and other encodings are reported", () => {
  writeFileSync(at("bom.json"), '\ufeff{"a": 1}');
  expect(readJson(at("bom.json"))).toEqual({ a: 1 });
  writeFileSync(at("utf16.json"), Buffer.from('\ufeff{"a": 1}', "utf16le"));
  expect(() => readJson(at("utf16.json"))).toThrow(/utf16\.json is in UTF-16, expected UTF-8; save it as UTF-8$/);
  writeFileSync(at("latin.json"), Buffer.from('{"caf\xe9": 1}', "latin1"));
  expect(() => readJson(at("latin.json"))).toThrow(/latin\.json is not JSON: it is not UTF-8 text$/);
  writeFileSync(at("bad.json"), '{"a": \u001b[31m}');
  expect(() => readJson(at("bad.json"))).toThrow(/bad\.json is not JSON: .*\\x1b/);
});

describe("configurations that are too large", () => {
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
    const before = process.cpuUsage();
    expect(() => parseModelConfig(model(changes), "it")).toThrow(expected);
    expect(processorSeconds(before)).toBeLessThan(5);
  });

  it("65,536 classes are checked quickly", () => {
    const classes = Array.from({ length: 65_536 }, (_, i) => `class ${i}`);
    const before = process.cpuUsage();
    expect(parseModelConfig(model({ classes }), "it").classes.length).toBe(65_536);
    expect(processorSeconds(before)).toBeLessThan(5);
  });

  it.each([{ batch: 1e9 }, { microBatch: 1e15 }, { threads: 1e6 }, { steps: 1e15 }])("%j is rejected", (training) => {
    expect(() => parseTrainingConfig(training, "state.json")).toThrow(UserError);
    expect(() => parseTrainingConfig(training, "state.json")).toThrow(
      /^state\.json: \w+: .*(1000000000000|65536|1024)/,
    );
  });
});

describe("untrusted text in messages", () => {
  it("is visible", () => {
    expect(visible("a\u001b[2J\r\n\u202eb\ufeff\u009b\ud800 é 👩‍🚀")).toBe(
      "a\\x1b[2J\\r\\n\\u{202e}b\\u{feff}\\x9b\\u{d800} é 👩‍🚀",
    );
  });

  it("is short, and unprintable values are described by their kind", () => {
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

  it("leaves a message within 500 characters, keeping its start and end", () => {
    const long = new UserError(`${"/deep".repeat(1000)}: there is no such file; check the path`).message;
    expect(long.length).toBe(500);
    expect(long).toMatch(/^\/deep\/deep.*…\/?.*: there is no such file; check the path$/);
    expect(message("short")).toBe("short");
  });
});
