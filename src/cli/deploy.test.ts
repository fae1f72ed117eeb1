/** The files in deploy/ use options that exist, and the script is a script. */

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
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
