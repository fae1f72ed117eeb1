/** The free memory of a GPU, which WebGPU itself does not tell. */

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";
import { freeMemory } from "./free-memory.ts";

/** Where Linux lists its graphics cards. */
const cards = "/sys/class/drm";

/**
 * Free memory in bytes of the GPU: as nvidia-smi reports it, or Linux (AMD), or half of the machine's on macOS, where both
 * share it and the free part grows on demand. With several GPUs, that of the one with the least, of those in
 * CUDA_VISIBLE_DEVICES. Undefined if nothing reports it.
 */
export function freeGpuMemory({ cards: folder = cards, platform = process.platform } = {}): number | undefined {
  const found = [...nvidia(), ...(platform === "linux" ? amd(folder) : [])];
  if (found.length > 0) return Math.min(...found);
  return platform === "darwin" ? totalmem() / 2 : undefined;
}

function nvidia(): number[] {
  try {
    const chosen = process.env["CUDA_VISIBLE_DEVICES"];
    const args = ["--query-gpu=memory.free", "--format=csv,noheader,nounits", ...(chosen ? ["-i", chosen] : [])];
    const out = execFileSync("nvidia-smi", args, {
      encoding: "utf8",
      timeout: 10_000, // the driver of an idle GPU takes seconds to start
      stdio: ["ignore", "pipe", "ignore"],
    });
    return out.split("\n").flatMap((line) => (/^\d+\s*$/.test(line) ? [Number(line) * 2 ** 20] : []));
  } catch {
    return []; // not installed, or no driver
  }
}

/** A card with less memory of its own than this is part of a processor, and uses the machine's. */
const integrated = 4e9;

/** Of each card, its own free memory, or what it may use of the machine's. */
function amd(folder: string): number[] {
  const bytes = (card: string, name: string) => Number(readFileSync(join(folder, card, "device", name), "utf8"));
  const free = (card: string, kind: "vram" | "gtt") =>
    bytes(card, `mem_info_${kind}_total`) - bytes(card, `mem_info_${kind}_used`);
  const usable = (card: string) =>
    bytes(card, "mem_info_vram_total") > integrated ? free(card, "vram") : Math.min(free(card, "gtt"), freeMemory());
  try {
    const names = readdirSync(folder).filter((name) => /^card\d+$/.test(name));
    return names.flatMap((card) => {
      try {
        return [usable(card)];
      } catch {
        return []; // another vendor's
      }
    });
  } catch {
    return []; // no graphics cards
  }
}
