/** `npm run parity` on folders that are not what they should be: one sentence each. */

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { readCase } from "./case.ts";

const fixture = fileURLToPath(new URL("../../fixtures/parity/ar-3level", import.meta.url));

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "fractalgen-parity-")), "case");
  cpSync(fixture, folder, { recursive: true });
});
afterEach(() => rmSync(join(folder, ".."), { recursive: true }));

const bytes = (name: string) => readFileSync(join(folder, name));
const write = (name: string, content: Uint8Array | string) => writeFileSync(join(folder, name), content);
const inCase = (change: object) =>
  write("case.json", JSON.stringify({ ...JSON.parse(String(bytes("case.json"))), ...change }));
const pth = "checkpoint-last.pth";

describe("a mistake in a folder is one sentence:", () => {
  const spoils: [what: string, spoil: () => void, sentence: RegExp][] = [
    [
      "no case.json",
      () => rmSync(join(folder, "case.json")),
      /case: there is no case\.json; give a folder with case\.json, checkpoint-last\.pth and expected\.safetensors$/,
    ],
    ["a case.json that is no JSON", () => write("case.json", "[\n1,\n"), /case\.json is not JSON: .*/],
    ["a case.json of another kind", () => write("case.json", "[]"), /case\.json: .*object/],
    [
      "an unknown generator",
      () => inCase({ generators: ["ar", "gan", "ar"] }),
      /case\.json: generators\[1\]: .*"ar"\|"mar"/,
    ],
    ["a width too few", () => inCase({ widths: [32, 32] }), /case\.json: .*width/],
    ["no checkpoint", () => rmSync(join(folder, pth)), /checkpoint-last\.pth: there is no such file; check the path$/],
    [
      "a truncated checkpoint",
      () => write(pth, bytes(pth).subarray(0, 50_000)),
      /checkpoint-last\.pth: the zip is cut short or damaged .*; fetch it again$/,
    ],
    // Its stored pickle names collections.OrderedDict; here it names another class, as an attack would.
    [
      "a checkpoint with a foreign class",
      () =>
        write(
          pth,
          Buffer.from(
            bytes(pth).toString("latin1").replace("collections\nOrderedDict", "collections\nOrderedPlot"),
            "latin1",
          ),
        ),
      /checkpoint-last\.pth: its pickle asks for the class collections\.OrderedPlot, which is not one a checkpoint needs/,
    ],
    [
      "a checkpoint of another architecture",
      () => inCase({ depths: [1, 1, 1] }),
      /checkpoint-last\.pth does not fit the architecture: /,
    ],
    [
      "truncated results",
      () => write("expected.safetensors", bytes("expected.safetensors").subarray(0, 9000)),
      /expected\.safetensors: .*(cut short|fetch)/,
    ],
  ];
  it.each(spoils)("%s", async (_, spoil, sentence) => {
    spoil();
    const error: unknown = await readCase(folder).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).message).toMatch(sentence);
    expect((error as UserError).message).not.toContain("\n");
  });
});

it("the program says it without a stack and exits with 2", () => {
  write(pth, bytes(pth).subarray(0, 50_000));
  const main = fileURLToPath(new URL("./main.ts", import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", "tsx", main, folder], {
    encoding: "utf8",
  });
  expect(stderr).toMatch(/^error: .*checkpoint-last\.pth: the zip is cut short.*\n$/);
  expect([status, stdout]).toEqual([2, ""]);
});
