/** `npm run bench -- sample|train|quantized`: what the claims about speed rest on. */

import { homedir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { UserError } from "../src/core/errors.ts";
import { whole, wholes, number } from "../src/cli/values.ts";
import { benchQuantized } from "./quantized.ts";
import { benchSample } from "./sample.ts";
import { benchTrain } from "./train.ts";

const program = new Command("npm run bench --").description("Measures this machine against what its processor can do.");
program
  .command("sample")
  .description("images per second of a model")
  .option("--model <dir|name>", "a model folder, or one that ships", "emoji")
  .option("--batch <n>", "images side by side", whole({ least: 1 }), 16)
  .option("--guidance <w>", "guidance (default: the model's)", number({ least: 0 }))
  .option("--iterations <list>", "steps at each level (default: the model's)", wholes({ least: 1 }))
  .option("--rounds <n>", "measurements, of which the median counts", whole({ least: 1 }), 3)
  .option("--json", "one line of JSON")
  .addHelpText("after", "\nExample: npm run bench -- sample --batch 16 --iterations 64,16")
  .action(benchSample);
program
  .command("train")
  .description("seconds per training step of the preset, or of a configuration file")
  .option("--config <file>", 'JSON with "model" and "training"')
  .option("--batch <n>", "images a step", whole({ least: 1 }))
  .option("--micro-batch <n>", "images a run", whole({ least: 1 }))
  .option("--threads <n>", "cores to use (default: all)", whole({ least: 1 }))
  .option("--rounds <n>", "measurements, of which the median counts", whole({ least: 1 }), 5)
  .option("--no-profile", "without the time's share of each operation, which takes two more steps")
  .option("--json", "one line of JSON")
  .addHelpText("after", "\nExample: npm run bench -- train --config model.json --micro-batch 8")
  .action(benchTrain);
program
  .command("quantized")
  .description("what eight and four bits cost in likelihood")
  .option("--model <dir|name>", "a float32 model folder, or one that ships", "emoji")
  .option("--data <name|path>", "whose held-out images are taken", "emoji")
  .option("--cache <dir>", "where decoded data sets are kept", join(homedir(), ".cache", "fractalgen"))
  .option("--images <n>", "held-out images at most", whole({ least: 1 }), 461)
  .option("--batch <n>", "images at once", whole({ least: 1 }), 16)
  .option("--json", "one line of JSON")
  .addHelpText("after", "\nExample: npm run bench -- quantized --model runs/photos --data photos/")
  .action(benchQuantized);

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 2;
}
