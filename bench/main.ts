/** `npm run bench -- sample|counts|train|speedrun|quantized|codecs|serve|studio`: what the claims about speed rest on. */

import { homedir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { sizes } from "../src/config/presets.ts";
import { UserError } from "../src/core/errors.ts";
import { filled, oneOf, whole, wholes, number } from "../src/cli/values.ts";
import { benchCodecs } from "./codecs.ts";
import { benchCounts } from "./counts.ts";
import { benchQuantized } from "./quantized.ts";
import { benchSample } from "./sample.ts";
import { recipeNames } from "../src/config/recipes.ts";
import { benchSpeedrun } from "./speedrun.ts";
import { benchServe } from "./serve.ts";
import { benchStudio } from "./studio.ts";
import { benchTrain } from "./train.ts";

const program = new Command("npm run bench --").description("Measures this machine against what its processor can do.");
program
  .command("sample")
  .description("images per second of a model")
  .option("--model <dir|name>", "a model folder, or one that ships", "emoji")
  .option("--preset <name>", "one of the paper's models with random weights instead, kept in --cache", filled)
  .option("--size <name>", "or a model of fractalgen train --size, for 32x32 emoji: tiny, small or base", oneOf(sizes))
  .option("--kind <name>", "of its levels: mar or ar", oneOf(["mar", "ar"]), "mar")
  .option("--dtype <name>", "of these random weights: float32, q8 or q4", oneOf(["float32", "q8", "q4"]), "float32")
  .option("--cache <dir>", "where presets' weights are kept", join(homedir(), ".cache", "fractalgen"))
  .option("--batch <n>", "images side by side", whole({ least: 1 }), 16)
  .option("--threads <n>", "cores to use (default: all)", whole({ least: 1 }))
  .option("--guidance <w>", "guidance (default: the model's)", number({ least: 0 }))
  .option("--iterations <list>", "steps at each level (default: the model's)", wholes({ least: 1 }))
  .option("--rounds <n>", "measurements after a first one, of which the median counts; 0: the first", whole({}), 3)
  .option("--json", "one line of JSON")
  .addHelpText(
    "after",
    "\nExamples:\n  npm run bench -- sample --batch 16 --iterations 64,16\n  npm run bench -- sample --preset fractalar_in64 --dtype q8 --batch 8 --rounds 0",
  )
  .action(benchSample);
program
  .command("train")
  .description("seconds per training step of the preset, or of a configuration file")
  .option("--config <file>", 'JSON with "model" and "training"')
  .option("--preset <name>", "whole steps of one of the paper's models, on random images one at a time", filled)
  .option("--checkpointing", "less memory: what the gradients need is computed twice")
  .option("--batch <n>", "images a step", whole({ least: 1 }))
  .option("--micro-batch <n>", "images a run", whole({ least: 1 }))
  .option("--threads <n>", "cores to use (default: all)", whole({ least: 1 }))
  .option("--rounds <n>", "measurements, of which the median counts", whole({ least: 1 }), 5)
  .option("--no-profile", "without the time's share of each operation, which takes two more steps")
  .option("--json", "one line of JSON")
  .addHelpText(
    "after",
    "\nExamples:\n  npm run bench -- train --config model.json --micro-batch 8\n  npm run bench -- train --preset fractalmar_huge_in256 --checkpointing --rounds 2",
  )
  .action(benchTrain);
program
  .command("speedrun")
  .description("train one small model on emoji and report its held-out likelihood and time (docs/speedrun.md)")
  .option("--recipe <name>", "default, or published: the published trainer's settings", oneOf(recipeNames), "default")
  .option("--kind <name>", "of its levels: mar or ar", oneOf(["mar", "ar"]), "ar")
  .option("--seed <n>", "of weights, order and draws", whole({}), 0)
  .option("--steps <n>", "optimizer steps (default: 1950 published, 600 default)", whole({ least: 1 }))
  .option(
    "--target <x>",
    "held-out bits per dimension to reach; exits with 1 if it is not reached",
    number({ above: 0 }),
  )
  .option("--config <file>", 'JSON with "model" and "training" that replace parts of the recipe')
  .option("--threads <n>", "cores to use (default: all)", whole({ least: 1 }))
  .option("--cache <dir>", "where decoded data sets are kept", join(homedir(), ".cache", "fractalgen"))
  .option("--json", "one line of JSON")
  .addHelpText("after", "\nExample: npm run bench -- speedrun --recipe published --kind mar --seed 1 --target 2.4")
  .action(benchSpeedrun);
program
  .command("counts")
  .description("operations and bytes that an image of each of the paper's models takes")
  .option("--batch <list>", "images side by side", wholes({ least: 1 }), [1, 8])
  .option("--json", "one line of JSON")
  .addHelpText("after", "\nExample: npm run bench -- counts --batch 1")
  .action(benchCounts);
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
program
  .command("codecs")
  .description("what lossless formats take of held-out images, to compare likelihoods with")
  .option("--data <name|path>", "whose held-out images are taken", "emoji")
  .option("--cache <dir>", "where decoded data sets are kept", join(homedir(), ".cache", "fractalgen"))
  .option("--images <n>", "at most so many, evenly spaced", whole({ least: 1 }), 1000)
  .option("--json", "one line of JSON")
  .addHelpText("after", "\nExample: npm run bench -- codecs --data photos/")
  .action(benchCodecs);
program
  .command("serve")
  .description("many clients at once against fractalgen serve: what is lost, memory, event-loop delay")
  .option("--model <dir|name>", "a model folder, or one that ships", "emoji")
  .option("--clients <n>", "clients that ask again and again", whole({ least: 1, most: 1000 }), 200)
  .option("--seconds <n>", "for so long", whole({ least: 1, most: 3600 }), 60)
  .option("--iterations <list>", "steps at each level", wholes({ least: 1 }), [4, 2])
  .option("--queue <n>", "images that wait in the server at most; more get 429", whole({ least: 1 }), 128)
  .option("--json", "one line of JSON")
  .addHelpText("after", "\nExample: npm run bench -- serve --clients 50 --seconds 10")
  .action(benchServe);
program
  .command("studio")
  .description("the studio in Chromium, on WASM and WebGPU, against Node on the same processor")
  .option("--model <dir|name>", "a model folder, or one that ships", "emoji")
  .option("--images <n>", "drawn side by side", whole({ least: 1, most: 36 }), 4)
  .option("--iterations <list>", "steps at each level", wholes({ least: 1 }), [8, 4])
  .option("--rounds <n>", "measurements, of which the median counts", whole({ least: 1 }), 3)
  .option("--json", "one line of JSON")
  .addHelpText("after", "\nExample: npm run bench -- studio --images 16 --iterations 16,8")
  .action(benchStudio);

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 2;
}
