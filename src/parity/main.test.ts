/** `npm run parity` recognises the kinds of folders and reports mistakes in one sentence. */

import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { withoutChecksums } from "../files/test-torch.ts";
import { UserError } from "../core/errors.ts";
import { nodeEngine } from "../engine/node.ts";
import { writeSafetensors } from "../files/safetensors.ts";
import { compareFolder, openFolder } from "./folder.ts";
import { built } from "../test-program.ts";
import { thorough } from "../test-depth.ts";

const fixtures = (name: string) => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));

it.runIf(thorough)(
  "compares only what is asked for, and refuses unknown options and a device that is not there",
  () => {
    const run = (...args: string[]) =>
      spawnSync(process.execPath, [built("parity/main"), ...args], {
        encoding: "utf8",
        env: { ...process.env, VK_DRIVER_FILES: "/none", VK_ICD_FILENAMES: "/none" },
      });
    const only = run("--only", "evaluation", fixtures("parity/ar-3level"));
    expect(only.stdout).toMatch(
      /^ar-3level:\n {2}ok .*level0\.cond\.middle\n {2}ok .*eval\.loss\n2 agree, 0 differ\n$/,
    );
    expect(run("--only", "dreams", "x")).toMatchObject({ status: 2, stderr: expect.stringMatching(/one of evaluation, training, resumed, samples, got "dreams"/) }); // prettier-ignore
    expect(run("--devise", "webgpu", "x")).toMatchObject({ status: 2, stderr: expect.stringMatching(/--devise/) });
    expect(run("--device", "webgpu", fixtures("parity/ar-3level"))).toMatchObject({ status: 2, stderr: expect.stringMatching(/webgpu is not available here/i) }); // prettier-ignore
  },
);

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "fractalgen-parity-")), "case");
  cpSync(fixtures("parity/ar-3level"), folder, { recursive: true });
});
afterEach(() => rmSync(join(folder, ".."), { recursive: true }));

const bytes = (name: string) => readFileSync(join(folder, name));
const write = (name: string, content: Uint8Array | string) => writeFileSync(join(folder, name), content);
const inCase = (change: object) =>
  write("case.json", JSON.stringify({ ...JSON.parse(String(bytes("case.json"))), ...change }));
const pth = "checkpoint-last.pth";

describe("a mistake in a folder is reported in one sentence:", () => {
  const spoils: [what: string, spoil: () => void, sentence: RegExp][] = [
    [
      "no case.json",
      () => rmSync(join(folder, "case.json")),
      /case: it contains neither case\.json nor any of inception\.safetensors, .*; give a folder laid out like those in fixtures\/parity, or like fixtures\/metrics$/,
    ],
    ["no folder", () => rmSync(folder, { recursive: true }), /case: there is no such folder; check the path$/],
    ["a case.json that is not JSON", () => write("case.json", "[\n1,\n"), /case\.json is not JSON: .*/],
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
      /checkpoint-last\.pth: the archive is truncated or damaged .*; download it again$/,
    ],
    // Its stored pickle names collections.OrderedDict; here it names another class, as an attack would, which is never
    // made.
    [
      "a checkpoint with a foreign class",
      () =>
        write(
          pth,
          withoutChecksums(
            Buffer.from(
              bytes(pth).toString("latin1").replace("collections\nOrderedDict", "collections\nOrderedPlot"),
              "latin1",
            ),
          ),
        ),
      /checkpoint-last\.pth: "model" is an object of the class collections\.OrderedPlot, which cannot be read/,
    ],
    [
      "a checkpoint of another architecture",
      () => inCase({ depths: [1, 1, 1] }),
      /checkpoint-last\.pth does not fit the architecture: /,
    ],
    [
      "truncated results",
      () => write("expected.safetensors", bytes("expected.safetensors").subarray(0, 9000)),
      /expected\.safetensors: .*(truncated|download)/,
    ],
  ];
  it.each(spoils)("%s", async (_, spoil, sentence) => {
    spoil();
    const error: unknown = await openFolder(folder).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(UserError);
    expect((error as UserError).message).toMatch(sentence);
    expect((error as UserError).message).not.toContain("\n");
  });
});

/** The output and exit code of the program. */
function parity(...folders: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [built("parity/main"), ...folders], {
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

describe("the program", () => {
  it("prints it without a stack trace and exits with 2", () => {
    write(pth, bytes(pth).subarray(0, 50_000));
    const { status, stdout, stderr } = parity(folder);
    expect(stderr).toMatch(/^error: .*checkpoint-last\.pth: the archive is truncated.*\n$/);
    expect([status, stdout]).toEqual([2, ""]);
  });

  it("compares a folder of metrics like a case, and exits with 1 if something differs", () => {
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    for (const name of ["metrics/metrics.safetensors", "metrics/stats.npz", "crop/crop.safetensors"])
      cpSync(fixtures(name), join(folder, basename(name)));
    write("metrics.json", JSON.stringify({ recall: 0.5 }));
    const { status, stdout, stderr } = parity(folder);
    expect(stdout).toMatch(
      /^case:\n {2}FAIL {3}5\.86e-1 {2}\(tolerance 1e-6\) {2}recall\n( {2}ok .*\n){9}9 agree, 1 differ\n$/,
    );
    expect([status, stderr]).toEqual([1, ""]);
  });

  it("reports that there is nothing to compare", async () => {
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    await writeSafetensors(join(folder, "crop.safetensors"), []);
    const { status, stdout, stderr } = parity(folder);
    expect([status, stdout]).toEqual([2, "case:\n"]);
    expect(stderr).toMatch(/^error: .*case: its files contain no results to compare with; check the path\n$/);
  });
});

describe("a folder", () => {
  const kinds = async (path: string) => (await openFolder(path)).comparisons.map(({ what }) => what);
  const ofCase = ["evaluation", "training", "resumed", "samples"];

  it("is compared in everything that its files allow", async () => {
    expect(await kinds(fixtures("metrics"))).toEqual([
      "compareFeatures",
      "compareMetrics",
      "compareMoments",
      "compareStatistics",
    ]);
    expect(await kinds(fixtures("crop"))).toEqual(["compareCrops"]);
    expect(await kinds(folder)).toEqual(ofCase);
    cpSync(fixtures("crop/crop.safetensors"), join(folder, "crop.safetensors"));
    expect(await kinds(folder)).toEqual([...ofCase, "compareCrops"]);
  });

  it("with a missing file is reported when the file is read", async () => {
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    for (const [name, lacks] of [
      ["stats.npz", "metrics.safetensors"],
      ["metrics.json", "metrics.safetensors"],
      ["inception.safetensors", "inception-parameters.json"],
    ]) {
      cpSync(fixtures(`metrics/${name}`), join(folder, name));
      const compared = compareFolder(await nodeEngine({ threads: 1 }), await openFolder(folder)).next();
      await expect(compared, name).rejects.toThrow(`${lacks}: there is no such file`);
      rmSync(join(folder, name));
    }
  });

  it("with something that cannot be computed counts as a difference, and the rest is compared", async () => {
    const named = (name: string) => ({ name, error: 0, tolerance: 0, ok: true });
    const comparisons = [
      { what: "one", run: async () => [named("a"), named("b")] },
      { what: "other", run: () => Promise.reject(new Error("another order")) },
      { what: "third", run: async () => [named("c")] },
    ];
    const found: unknown[] = [];
    for await (const { name, ok } of compareFolder(await nodeEngine({ threads: 1 }), { name: "x", comparisons }))
      found.push([name, ok]);
    expect(found).toEqual([
      ["a", true],
      ["b", true],
      ["other: another order", false],
      ["c", true],
    ]);
  });
});
