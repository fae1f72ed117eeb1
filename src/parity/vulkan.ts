/** Finds this machine's Vulkan drivers, which WebGPU needs outside a browser. Loads none of them. */

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

export interface VulkanDriver {
  name: string;
  /** Whether it computes on the CPU, where that is known. */
  software?: boolean;
  /** Environment variables that the process that loads onnxruntime must be started with. */
  env: Record<string, string>;
}

const folders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];

/** Chromium's software driver, by distribution: correct but slow, and sufficient for tests. */
const softwareDrivers = [
  "/usr/lib/chromium",
  "/usr/lib64/chromium-browser",
  "/opt/google/chrome",
  "/snap/chromium/current/usr/lib/chromium-browser",
].map((folder) => join(folder, "vk_swiftshader_icd.json"));

/** Candidate drivers, the software driver last. Only trying one shows whether it works. */
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
      .map((file) => ({ name: file, software: true, env: { VK_DRIVER_FILES: file, VK_ICD_FILENAMES: file } })),
  ];
}
