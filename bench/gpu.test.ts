/** The benchmark of a GPU, on the CPU with miniature models: what its JSON says, in full and when it is stopped. */

import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { started } from "../src/cli/test-run.ts";
import { thorough } from "../src/test-depth.ts";
import { limitsIn } from "./gpu-device.ts";

const program = fileURLToPath(new URL("main.ts", import.meta.url));
const bench = () =>
  started(process.execPath, ["--import", "tsx", program, "gpu", "--device", "cpu", "--quick", "--json"]);
const result = (out: string) =>
  JSON.parse(out) as {
    device: { provider: string; largestTensor: number };
    rates: Record<string, { product: number; copy: number }>;
    results: { name: string; images: number; busBytes: number; floor: number }[];
    failed: { name: string; problem: string }[];
    skipped: { name: string; problem: string }[];
    complete: boolean;
  };

it.runIf(thorough)("measures rates, sampling and training, and says why float16 is skipped", async () => {
  const { code, out, err } = await bench().ended;
  expect(code, err).toBe(0);
  const { device, rates, results, failed, skipped, complete } = result(out);
  expect(device).toMatchObject({ provider: "cpu", largestTensor: 2 ** 26 });
  expect(rates["float32"].product).toBeGreaterThan(0.1);
  expect(rates["float32"].copy).toBeGreaterThan(0.01);
  expect(results.map(({ name }) => name)).toEqual(["sample tiny MAR", "train tiny MAR", "sample tiny AR"]);
  for (const { floor, images, busBytes } of results) {
    expect(images).toBe(2);
    expect(floor).toBeGreaterThan(0);
    expect(busBytes).toBeGreaterThan(500);
  }
  expect([failed, complete]).toEqual([[], true]);
  expect(skipped.map(({ problem }) => problem)).toEqual(["float16 is not available on cpu here: only GPUs have it"]);
});

it.runIf(process.platform !== "win32")(
  "prints what it has when it is stopped, even if the signal comes twice",
  async () => {
    const running = bench();
    await running.says(/float32: a plain product/);
    running.child.kill("SIGINT");
    running.child.kill("SIGINT"); // npm forwards it once more
    const { code, out } = await running.ended;
    expect(code).toBe(130);
    const { rates, failed, complete } = result(out);
    expect(rates["float32"].product).toBeGreaterThan(0.1);
    expect(failed.at(-1)!.problem).toBe("not measured, stopped");
    expect(complete).toBe(false);
  },
);

it("reads the limits of all devices in vulkaninfo's text", () => {
  const text = `GPU0:\n\tapiVersion        = 1.3.255 (4206847)\n\tdeviceName        = A GPU\n\tmaxStorageBufferRange = 4294967295\nGPU1:\n\tdeviceName = llvmpipe (LLVM 15)\n\tother = 3\n`;
  expect(limitsIn(text)).toEqual({
    apiVersion: ["1.3.255 (4206847)"],
    deviceName: ["A GPU", "llvmpipe (LLVM 15)"],
    maxStorageBufferRange: ["4294967295"],
  });
});
