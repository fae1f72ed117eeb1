/** Prints, after the tests, how long each project took, which files took longest, and what was left out. */

import { relative } from "node:path";
import type { Reporter, TestModule } from "vitest/node";
import { thorough } from "./src/test-depth.ts";

const shown = 8;

export default class Durations implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const files = modules
      .map((module) => {
        const { duration, collectDuration, setupDuration, environmentSetupDuration } = module.diagnostic();
        return { module, seconds: (duration + collectDuration + setupDuration + environmentSetupDuration) / 1000 };
      })
      .sort((a, b) => b.seconds - a.seconds);
    if (files.length < 2) return;
    const byProject = new Map<string, { files: number; seconds: number }>();
    for (const { module, seconds } of files) {
      const sum = byProject.get(module.project.name) ?? { files: 0, seconds: 0 };
      byProject.set(module.project.name, { files: sum.files + 1, seconds: sum.seconds + seconds });
    }
    const projects = [...byProject].map(([name, sum]) => `${name} ${sum.seconds.toFixed(0)} s (${sum.files} files)`);
    console.log(`\n Durations, summed over processes: ${projects.join(", ")}`);
    if (!thorough)
      console.log(" Tests that repeat what others show are skipped; FRACTALGEN_TEST_ALL=1 runs them, as CI does.");
    console.log(" Slowest files:");
    for (const { module, seconds } of files.slice(0, shown))
      console.log(`  ${seconds.toFixed(1).padStart(6)} s  ${relative(process.cwd(), module.moduleId)}`);
  }
}
