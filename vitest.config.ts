/** Test configuration: few processes at a time, because a single onnxruntime session uses all cores. */

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // The build is run by Node directly.
    server: { deps: { external: [/\/dist\//] } },
    globalSetup: "./vitest.build.ts",
    include: ["src/**/*.test.ts", "examples/**/*.test.ts"],
    // Processes, not threads: a native module that several threads load and unload can crash the process.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
