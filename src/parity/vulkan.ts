/** Finds the Vulkan drivers of this machine, which WebGPU needs outside of a browser. Loads none of them. */

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

export interface VulkanDriver {
  name: string;
  /** What the process that loads onnxruntime has to have in its environment from its start. */
  env: Record<string, string>;
}

const folders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];

/** Chromium's software driver, by distribution: correct and slow, and enough for tests. */
const softwareDrivers = [
  "/usr/lib/chromium",
  "/usr/lib64/chromium-browser",
  "/opt/google/chrome",
  "/snap/chromium/current/usr/lib/chromium-browser",
].map((folder) => join(folder, "vk_swiftshader_icd.json"));

/** Candidates, the named one first and the software driver last; whether one works only a try tells. */
export function vulkanDrivers(environment: Record<string, string | undefined>): VulkanDriver[] {
  const named = environment["VK_DRIVER_FILES"] ?? environment["VK_ICD_FILENAMES"];
  if (named) return [{ name: named, env: { VK_DRIVER_FILES: named, VK_ICD_FILENAMES: named } }];
  const installed = folders
    .filter(existsSync)
    .flatMap((folder) => readdirSync(folder).filter((file) => file.endsWith(".json")));
  return [
    ...(installed.length > 0 ? [{ name: `the installed ${installed.join(", ")}`, env: {} }] : []),
    ...softwareDrivers
      .filter(existsSync)
      .map((file) => ({ name: file, env: { VK_DRIVER_FILES: file, VK_ICD_FILENAMES: file } })),
  ];
}
