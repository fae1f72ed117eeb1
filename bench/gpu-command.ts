/** The options of `npm run bench -- gpu`, apart from the other benchmarks so that `gpu-pack.sh` can pack it alone. */

import { Command } from "commander";
import { oneOf, whole } from "../src/cli/values.ts";
import { benchGpu } from "./gpu.ts";

export const gpuCommand = (): Command =>
  new Command("gpu")
    .description("measure a GPU through WebGPU: plain rates, sampling and training, each against its floor")
    .option("--device <name>", "webgpu, or cpu for comparison", oneOf(["webgpu", "cpu"]), "webgpu")
    .option("--seconds <n>", "the most time to take; Ctrl-C ends it earlier", whole({ least: 10, most: 3600 }), 460)
    .option("--quick", "a rehearsal with miniature models, for software drivers")
    .option("--json", "print one line of JSON at the end, and progress to stderr")
    .addHelpText("after", "\nExamples:\n  npm run bench -- gpu\n  npm run bench -- gpu --quick --seconds 120")
    .action(benchGpu);
