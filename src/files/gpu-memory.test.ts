/** Reports of free GPU memory in the formats of nvidia-smi and of Linux's driver for AMD. */

import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it, vi } from "vitest";
import { freeGpuMemory } from "./gpu-memory.ts";

const folder = mkdtempSync(join(tmpdir(), "fractalgen-gpu-"));
const cards = join(folder, "drm");
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

/** A program called nvidia-smi that is first in PATH. */
function nvidiaSmi(says: string, code = 0): void {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "nvidia-smi");
  writeFileSync(path, `#!/bin/sh\ncat <<'END'\n${says}\nEND\nexit ${code}\n`);
  chmodSync(path, 0o755);
  vi.stubEnv("PATH", `${folder}:${process.env["PATH"]}`);
}

function card(name: string, files: Record<string, number>): void {
  mkdirSync(join(cards, name, "device"), { recursive: true });
  for (const [file, value] of Object.entries(files)) writeFileSync(join(cards, name, "device", file), `${value}\n`);
}

it.runIf(process.platform === "linux")("is the least that nvidia-smi reports", () => {
  nvidiaSmi("8001\n143190");
  expect(freeGpuMemory({ cards })).toBe(8001 * 2 ** 20);
});

it.runIf(process.platform === "linux")("is unknown if nvidia-smi fails, or says something else", () => {
  nvidiaSmi("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 9);
  expect(freeGpuMemory({ cards })).toBeUndefined();
  nvidiaSmi("[N/A]");
  expect(freeGpuMemory({ cards })).toBeUndefined();
});

it.runIf(process.platform === "linux")("is what an AMD card has left, or may use of the machine's memory", () => {
  nvidiaSmi("", 9);
  const used = { mem_info_vram_used: 1e9, mem_info_gtt_used: 1e8 };
  card("card0", { mem_info_vram_total: 17e9, mem_info_gtt_total: 12e9, ...used });
  expect(freeGpuMemory({ cards })).toBe(16e9);
  card("card0-HDMI-A-1", {});
  card("card2", {});
  expect(freeGpuMemory({ cards })).toBe(16e9);
  card("card1", { mem_info_vram_total: 2e9, mem_info_gtt_total: 3e8, ...used }); // part of a processor
  expect(freeGpuMemory({ cards })).toBe(2e8);
});

it("is unknown on a machine without a GPU, and half of the machine's on macOS", () => {
  vi.stubEnv("PATH", "/nowhere");
  expect(freeGpuMemory({ cards, platform: "win32" })).toBeUndefined();
  expect(freeGpuMemory({ cards, platform: "darwin" })).toBeGreaterThan(1e6);
});
