/** The files in deploy/ use options that exist, and the script is a script. */

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { commandLine } from "./program.ts";

const folder = new URL("../../deploy/", import.meta.url);
const texts = readdirSync(folder)
  .filter((name) => /\.(yaml|sh|md)$/.test(name))
  .map((name) => [name, readFileSync(new URL(name, folder), "utf8")] as const);

it.each(texts)("%s calls commands by options that they have", async (_, text) => {
  const program = await commandLine();
  const known = new Map(program.commands.map((one) => [one.name(), new Set(one.options.map(({ long }) => long))]));
  // Lines that end with a backslash, and YAML's folded and listed arguments, are one line.
  const lines = text
    .replaceAll(/\\\n\s*/g, " ")
    .replaceAll(/(main\.js sample.*)\n\s+/g, "$1 ")
    .split("\n");
  for (const line of lines) {
    const command = /(?:main\.js |fractalgen |run --rm worker |\["|command: )(worker|sample|train|join)\b(.*)/.exec(
      line,
    );
    if (!command) continue;
    const [, name, rest] = command;
    for (const [option] of rest.matchAll(/--[a-z][a-z-]+/g))
      expect(known.get(name), `${name} ${option}`).toContain(option);
  }
});

it("slurm.sh is a script that bash can read", () => {
  expect(execFileSync("bash", ["-n", fileURLToPath(new URL("slurm.sh", folder))], { encoding: "utf8" })).toBe("");
});

it("slurm.sh ends with the exit code of join", () => {
  const bin = mkdtempSync(join(tmpdir(), "fractalgen-slurm-"));
  try {
    writeFileSync(join(bin, "srun"), '#!/bin/sh\necho "$@"\nexit 2\n', { mode: 0o755 });
    const env = {
      PATH: `${bin}:${process.env["PATH"]}`,
      FRACTALGEN_SHARED: join(bin, "shared"),
      SLURM_CPUS_PER_TASK: "1",
    };
    const { status, stdout } = spawnSync("bash", [fileURLToPath(new URL("slurm.sh", folder)), "join"], { env });
    expect([status, String(stdout)]).toEqual([2, expect.stringMatching(/fractalgen join --shared/)]);
  } finally {
    rmSync(bin, { recursive: true, force: true });
  }
});

it("containers may write to the shared folder, and pods use an image that is there", () => {
  const [dockerfile, kubernetes] = ["Dockerfile", "kubernetes.yaml"].map((name) =>
    readFileSync(new URL(name, folder), "utf8"),
  );
  expect(dockerfile).toMatch(/chown node:node \/shared\n[^]*USER node/);
  const pods = kubernetes.split("---\n").filter((part) => part.includes("image: fractalgen"));
  expect(pods).toHaveLength(3);
  for (const pod of pods) {
    expect(pod).toMatch(/fsGroup: 1000/);
    expect(pod).toMatch(/imagePullPolicy: IfNotPresent/);
  }
});
