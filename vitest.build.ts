/**
 * Builds the program into a temporary folder before the tests, which run it as a user of the package would. Types are
 * checked by `npm run types`.
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

export default (project: TestProject): (() => void) | undefined => {
  if (process.env["FRACTALGEN_BUILD"]) return undefined; // another project's tests have built it
  const root = import.meta.dirname;
  const folder = mkdtempSync(join(tmpdir(), "fractalgen-build-"));
  for (const name of ["node_modules", "models", "package.json"]) symlinkSync(join(root, name), join(folder, name));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const options = [
    "-p",
    "tsconfig.build.json",
    "--outDir",
    join(folder, "dist"),
    "--declaration",
    "false",
    "--noCheck",
  ];
  const build = () => {
    execFileSync(process.execPath, [tsc, ...options], { cwd: root, stdio: "inherit" });
    rmSync(join(folder, "studio"), { recursive: true, force: true }); // tests of the page build it again
  };
  build();
  project.onTestsRerun(async () => build());
  process.env["FRACTALGEN_BUILD"] = folder;
  return () => rmSync(folder, { recursive: true, force: true });
};
