/** Finds this machine's Chromium for tests in a real browser. Starts nothing. */

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** The program's path, or undefined where there is none in the folders of `PATH`. */
export const findChromium = (path = process.env["PATH"] ?? ""): string | undefined =>
  path
    .split(delimiter)
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find((file) => existsSync(file));

/** With these Chromium's own software driver stands in for a graphics processor: slow, and enough to test WebGPU. */
export const softwareWebGpu = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];
