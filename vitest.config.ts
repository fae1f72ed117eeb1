/** How the tests run: two processes at a time, each with one thread of onnxruntime, in five projects. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { thorough } from "./src/test-depth.ts";

/**
 * What the test files of a project import, or their path. Integration tests start processes, threads or servers; model tests run
 * Inception, read whole data sets, or train, sample and measure whole models in one process. Every other file is a unit
 * test. Files that change modules for the whole process are isolated from others.
 */
const imports = {
  browser: /playwright-core|\/test-page\.ts/,
  integration: /node:child_process|node:worker_threads|\/workers\/|\/test-(program|call|run|models|server|fuzz)\.ts/,
  models: new RegExp(
    [
      "test-inception\\.ts|/inception[\\w-]*\\.ts|openDataset|emojiDataset",
      "/(sampler|trainer|likelihood|parity)\\.ts|trainRun|trainingGraph|trainingStep",
    ].join("|"),
  ),
};

const root = import.meta.dirname;
const files = ["src", "examples", "bench"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join(folder, name).replaceAll("\\", "/")),
);

const kinds = ["browser", "integration", "models"] as const;

function projectOf(file: string): (typeof kinds)[number] | "isolated" | "unit" {
  const text = readFileSync(join(root, file), "utf8");
  if (/\bvi\.mock\(|registerLevelKind/.test(text)) return "isolated";
  const imported = text.match(/^import[^;]*;|\bimport\([^)]*\)/gm) ?? [];
  const some = (pattern: RegExp) => imported.some((line) => pattern.test(line)) || pattern.test(file);
  return kinds.find((kind) => some(imports[kind])) ?? "unit";
}

export default defineConfig({
  test: {
    // Node runs the build, not Vite.
    server: { deps: { external: [/\/dist\//] } },
    globalSetup: "./vitest.build.ts",
    setupFiles: "./vitest.setup.ts",
    // Processes, not threads: loading and unloading a native module in several threads can crash the process.
    pool: "forks",
    maxWorkers: 2,
    // More threads would only wait for each other.
    env: { FRACTALGEN_THREADS: "1" },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Most files leave nothing behind in their process, so they share processes and what these have imported. In CI, where
    // time matters less, an integration test that does leave something must not disturb others.
    projects: (["unit", "models", "integration", "isolated", "browser"] as const).map((name) => ({
      extends: true,
      test: {
        name,
        isolate: name === "isolated" || name === "browser" || (thorough && name === "integration"),
        include: files.filter((file) => projectOf(file) === name),
      },
    })),
    reporters: ["default", "./vitest.durations.ts"],
  },
});
