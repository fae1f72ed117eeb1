/** The free memory of a GPU, which WebGPU itself does not tell. */

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { freemem } from "node:os";
import { join } from "node:path";

/** Where Linux lists its graphics cards. */
const cards = "/sys/class/drm";

/**
 * Free memory in bytes of the GPU: as nvidia-smi reports it, or Linux (AMD), or the free memory of the machine on macOS,
 * where both share it. With several GPUs, that of the one with the least. Undefined if nothing reports it.
 */
export function freeGpuMemory({ cards: folder = cards, platform = process.platform } = {}): number | undefined {
  const found = [...nvidia(), ...(platform === "linux" ? amd(folder) : [])];
  if (found.length > 0) return Math.min(...found);
  return platform === "darwin" ? freemem() : undefined;
}

function nvidia(): number[] {
  try {
    const args = ["--query-gpu=memory.free", "--format=csv,noheader,nounits"];
    const out = execFileSync("nvidia-smi", args, {
      encoding: "utf8",
      timeout: 5000,
      stdio: ["ignore", "pipe", "ignore"],
    });
    return out.split("\n").flatMap((line) => (/^\d+\s*$/.test(line) ? [Number(line) * 2 ** 20] : []));
  } catch {
    return []; // not installed, or no driver
  }
}

/** Of each card, the larger of its own free memory and of the machine's memory that it may use. */
function amd(folder: string): number[] {
  const bytes = (card: string, name: string) => Number(readFileSync(join(folder, card, "device", name), "utf8"));
  const free = (card: string, kind: "vram" | "gtt") =>
    bytes(card, `mem_info_${kind}_total`) - bytes(card, `mem_info_${kind}_used`);
  try {
    const names = readdirSync(folder).filter((name) => /^card\d+$/.test(name));
    return names.flatMap((card) => {
      try {
        return [Math.max(free(card, "vram"), free(card, "gtt"))];
      } catch {
        return []; // another vendor's
      }
    });
  } catch {
    return []; // no graphics cards
  }
}
