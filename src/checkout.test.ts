/** `npm ci` in a checkout installs everything its scripts need, whatever NODE_ENV is. */

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";

it("npm ci installs tsx and tsc also with NODE_ENV=production", () => {
  const folder = mkdtempSync(join(tmpdir(), "fractalgen-checkout-"));
  for (const name of ["package.json", "package-lock.json", ".npmrc"]) cpSync(name, join(folder, name));
  const { stdout } = spawnSync("npm", ["ci", "--dry-run", "--offline", "--no-audit", "--no-fund"], {
    cwd: folder,
    env: { ...process.env, NODE_ENV: "production" },
    encoding: "utf8",
  });
  rmSync(folder, { recursive: true });
  for (const name of ["tsx", "typescript", "onnxruntime-node"])
    expect(stdout).toMatch(new RegExp(`^add ${name} \\d`, "m"));
});
