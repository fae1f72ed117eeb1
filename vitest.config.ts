/** How the tests run: few processes at a time, for onnxruntime takes every core by itself. */

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // The build runs as Node runs it.
    server: { deps: { external: [/\/dist\//] } },
    globalSetup: "./vitest.build.ts",
    include: ["src/**/*.test.ts", "examples/**/*.test.ts"],
    // Processes, not threads: a native module that is loaded and let go in several threads can take the process with it.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
