/**
 * `npm run bench -- sample|counts|train|gpu|speedrun|scaling|quantized|codecs|serve|studio|distributed|replicas|sweep`: the benchmarks
 * behind all claims about speed, and a sweep over sampling settings.
 */

import { homedir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { presetKinds, sizes } from "../src/config/presets.ts";
import { UserError } from "../src/core/errors.ts";
import { addDataOptions } from "../src/cli/data-options.ts";
import { deviceOption, threadsOption } from "../src/cli/engine.ts";
import { filled, number, oneOf, seeds, whole, wholes } from "../src/cli/values.ts";
import { sentenceOf } from "../src/cli/wording.ts";
import { benchCodecs } from "./codecs.ts";
import { benchCounts } from "./counts.ts";
import { benchDistributed } from "./distributed.ts";
import { benchQuantized } from "./quantized.ts";
import { benchSample } from "./sample.ts";
import { gpuCommand } from "./gpu-command.ts";
import { recipeNames } from "../src/config/recipes.ts";
import { benchReplicas } from "./replicas.ts";
import { benchScaling, type ScalingBench } from "./scaling.ts";
import { benchSpeedrun } from "./speedrun.ts";
import { benchServe } from "./serve.ts";
import { benchStudio } from "./studio.ts";
import { benchSweep } from "./sweep.ts";
import { addSweptOptions } from "./sweep-settings.ts";
import { benchTrain } from "./train.ts";

const program = new Command("npm run bench --")
  .description("Measures speed on this machine, compared with the limits of its processor, and the quality of models.")
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));
program
  .command("sample")
  .description("measure images per second of a model")
  .option("--model <dir|name>", "a model folder, or the name of a bundled model", "emoji")
  .option("--preset <name>", "one of the paper's models with random weights, cached in --cache", filled)
  .option("--size <name>", "a model of fractalgen train --size for 32x32 emoji: tiny, small or base", oneOf(sizes))
  .option("--kind <name>", `kind of its levels: ${presetKinds.join(", ")}`, oneOf(presetKinds), "mix")
  .option("--dtype <name>", "type of the random weights: float32, q8 or q4", oneOf(["float32", "q8", "q4"]), "float32")
  .option("--cache <dir>", "folder for the random weights", join(homedir(), ".cache", "fractalgen"))
  .option("--batch <n>", "images per batch", whole({ least: 1 }), 16)
  .option("--threads <n>", "cores to use (default: all)", whole({ least: 1 }))
  .option("--guidance <w>", "guidance (default: the model's)", number({ least: 0 }))
  .option("--iterations <list>", "steps at each level (default: the model's)", wholes({ least: 1 }))
  .option("--rounds <n>", "measurements after a warm-up, reported as their median; 0 reports the warm-up", whole({}), 3)
  .option("--json", "print one line of JSON")
  .addHelpText(
    "after",
    "\nExamples:\n  npm run bench -- sample --batch 16 --iterations 64,16\n  npm run bench -- sample --preset fractalar_in64 --dtype q8 --batch 8 --rounds 0",
  )
  .action(benchSample);
program
  .command("train")
  .description("measure seconds per training step of the emoji preset, or of a configuration file, with its optimiser")
  .option("--config <file>", 'JSON with "model" and "training"')
  .option("--preset <name>", "complete steps of one of the paper's models, on random images, one at a time", filled)
  .option("--checkpointing", "save memory by recomputing activations for the gradients")
  .option("--batch <n>", "images per step", whole({ least: 1 }))
  .option("--micro-batch <n>", "images per run", whole({ least: 1 }))
  .option("--threads <n>", "cores to use (default: all)", whole({ least: 1 }))
  .option("--rounds <n>", "measurements, reported as their median", whole({ least: 1 }), 5)
  .option("--no-profile", "skip the share of time by operation, which takes two more steps")
  .option("--json", "print one line of JSON")
  .addHelpText(
    "after",
    "\nExamples:\n  npm run bench -- train --config model.json --micro-batch 8\n  npm run bench -- train --preset fractalmar_huge_in256 --checkpointing --rounds 2",
  )
  .action(benchTrain);
program.addCommand(gpuCommand());
program
  .command("speedrun")
  .description("train one small model on emoji and report its held-out likelihood and time (docs/speedrun.md)")
  .option("--recipe <name>", "default, or published: the published trainer's settings", oneOf(recipeNames), "default")
  .option("--kind <name>", `kind of its levels: ${presetKinds.join(", ")}`, oneOf(presetKinds), "ar")
  .option("--seeds <list>", "seeds of weights, order and draws: one run each", wholes({}), [1, 2, 3])
  .option(
    "--steps <n>",
    "optimizer steps (default: 800 published; otherwise 430 with AR and 390 with MAR levels)",
    whole({ least: 1 }),
  )
  .option(
    "--target <x>",
    "held-out bits per dimension to reach (default: the published recipe's mean); if given, exits with 1 if it is not reached",
    number({ above: 0 }),
  )
  .option("--config <file>", 'JSON with "model" and "training" that replace parts of the recipe')
  .option("--threads <n>", "cores to use (default: all)", whole({ least: 1 }))
  .option("--cache <dir>", "folder for decoded data sets", join(homedir(), ".cache", "fractalgen"))
  .option("--json", "print one line of JSON")
  .addHelpText(
    "after",
    "\nExamples:\n  npm run bench -- speedrun --recipe published --kind mar\n  npm run bench -- speedrun --seeds 1 --steps 500 --target 2.45",
  )
  .action(benchSpeedrun);
program
  .command("scaling")
  .description("train the speedrun's model with each level at three widths: likelihood against operations")
  .option("--kind <name>", `kind of its levels: ${presetKinds.join(", ")}`, oneOf(presetKinds), "ar")
  .option("--seeds <list>", "seeds of weights, order and draws: their mean is reported", wholes({}), [1])
  .option(
    "--steps <n>",
    "optimizer steps of each run (default: 430 with AR and 390 with MAR levels)",
    whole({ least: 1 }),
  )
  .option("--config <file>", 'JSON with "model" and "training" that replace parts of the recipe, except for the levels')
  .option("--threads <n>", "cores to use (default: all)", whole({ least: 1 }))
  .option("--cache <dir>", "folder for decoded data sets", join(homedir(), ".cache", "fractalgen"))
  .option("--json", "print a line of JSON for each width")
  .addHelpText("after", "\nExample: npm run bench -- scaling --kind mar --threads 1")
  .action((options: Omit<ScalingBench, "recipe">) => benchScaling({ ...options, recipe: "default" }));
program
  .command("counts")
  .description("count operations and bytes per image for each of the paper's models")
  .option("--batch <list>", "images per batch", wholes({ least: 1 }), [1, 8])
  .option("--json", "print one line of JSON")
  .addHelpText("after", "\nExample: npm run bench -- counts --batch 1")
  .action(benchCounts);
program
  .command("quantized")
  .description("measure the cost of 8-bit and 4-bit weights in likelihood")
  .option("--model <dir|name>", "a float32 model folder, or the name of a bundled model", "emoji")
  .option("--data <name|path>", "the data set whose held-out images are used", "emoji")
  .option("--cache <dir>", "folder for decoded data sets", join(homedir(), ".cache", "fractalgen"))
  .option("--images <n>", "the most held-out images to use", whole({ least: 1 }), 461)
  .option("--batch <n>", "images per batch", whole({ least: 1 }), 16)
  .option("--json", "print one line of JSON")
  .addHelpText("after", "\nExample: npm run bench -- quantized --model runs/photos --data photos/")
  .action(benchQuantized);
program
  .command("codecs")
  .description("measure lossless image formats on held-out images, for comparison with likelihoods")
  .option("--data <name|path>", "the data set whose held-out images are used", "emoji")
  .option("--cache <dir>", "folder for decoded data sets", join(homedir(), ".cache", "fractalgen"))
  .option("--images <n>", "the most held-out images to use, evenly spaced", whole({ least: 1 }), 1000)
  .option("--json", "print one line of JSON")
  .addHelpText("after", "\nExample: npm run bench -- codecs --data photos/")
  .action(benchCodecs);
program
  .command("serve")
  .description("load-test fractalgen serve with many clients: lost requests, memory, event-loop delay")
  .option("--model <dir|name>", "a model folder, or the name of a bundled model", "emoji")
  .option("--clients <n>", "clients that send requests continuously", whole({ least: 1, most: 1000 }), 200)
  .option("--seconds <n>", "duration of the test", whole({ least: 1, most: 3600 }), 60)
  .option("--iterations <list>", "steps at each level", wholes({ least: 1 }), [4, 2])
  .option("--queue <n>", "the most images waiting in the server; further requests get 429", whole({ least: 1 }), 128)
  .option("--json", "print one line of JSON")
  .addHelpText("after", "\nExample: npm run bench -- serve --clients 50 --seconds 10")
  .action(benchServe);
program
  .command("studio")
  .description("compare the studio in Chromium, on WASM and WebGPU, with Node on the same processor")
  .option("--model <dir|name>", "a model folder, or the name of a bundled model", "emoji")
  .option("--images <n>", "images per batch", whole({ least: 1, most: 36 }), 4)
  .option("--iterations <list>", "steps at each level", wholes({ least: 1 }), [8, 4])
  .option("--rounds <n>", "measurements, reported as their median", whole({ least: 1 }), 3)
  .option("--steps <n>", "training steps to measure, 0 for none", whole({ least: 0, most: 20 }), 10)
  .option("--software", "without a graphics processor, measure WebGPU on the CPU; slow")
  .option("--json", "print one line of JSON")
  .addHelpText("after", "\nExample: npm run bench -- studio --images 16 --iterations 16,8")
  .action(benchStudio);
program
  .command("distributed")
  .description("training by rounds on several workers: speed, and what the network costs")
  .option("--workers <list>", "numbers of workers, each with a replica", wholes({ least: 1 }), [1, 2, 4])
  .option("--round-steps <n>", "steps in a round", whole({ least: 1 }), 100)
  .option("--rounds <n>", "rounds after a first one, of which the median counts", whole({ least: 1 }), 3)
  .option("--batch <n>", "images in a replica's step (default: 16)", whole({ least: 1 }))
  .option("--network", "also over networks of 1 and 50 ms and of 100 and 1000 Mbit/s; needs root, sshfs and sshd")
  .option("--cache <dir>", "where decoded data sets are kept", join(homedir(), ".cache", "fractalgen"))
  .option("--json", "one line of JSON")
  .addHelpText(
    "after",
    "\nExamples:\n  npm run bench -- distributed --workers 1,2 --rounds 1\n  npm run bench -- distributed --network",
  )
  .action(benchDistributed);
program
  .command("replicas")
  .description(
    "what training by rounds costs in likelihood, after the same number of images in the same batches overall",
  )
  .argument("[options...]", "options of fractalgen train, one argument for each training by rounds", [
    "--round-steps 50",
    "--round-steps 50 --outer-rate 1 --outer-momentum 0",
    "--round-steps 50 --outer-rate 1 --outer-momentum 0 --differences int8",
  ])
  .option("--replicas <n>", "replicas, one after the other on this machine", whole({ least: 2 }), 4)
  .option("--images <n>", "images that each training sees", whole({ least: 1 }), 51_200)
  .option("--batch <n>", "images in a replica's step", whole({ least: 1 }), 8)
  .option("--image-size <n>", "pixels per side of the emoji", whole({ least: 4 }), 16)
  .option("--init-from <dir>", "a model of this size to go on from (default: random weights)", filled)
  .addOption(threadsOption())
  .option("--cache <dir>", "where decoded data sets are kept", join(homedir(), ".cache", "fractalgen"))
  .option("--json", "one line of JSON")
  .addHelpText(
    "after",
    '\nExample: npm run bench -- replicas --images 20000 "--round-steps 20" "--round-steps 50 --outer-rate 0.5"',
  )
  .action(benchReplicas);
const sweep = program
  .command("sweep")
  .description(
    "draw images with every combination of sampling settings, and measure Fréchet distance, precision, recall and blank images. Values are separated by commas or, if they contain commas, by colons (--iterations 32,16:64,16). An interrupted sweep resumes, and a longer one measures only what is new",
  )
  .option("--model <dir|name>", "a model folder, or the name of a bundled model", "emoji")
  .option("--data <name|path>", "the data set to compare with", "emoji")
  .option(
    "-n, --count <n>",
    "images of each combination; classes are as frequent as in the data",
    whole({ least: 10 }),
    300,
  )
  .option("--seed <n>", "random seed, the same for all combinations", seeds, 0)
  .option("--features <name|dir>", "own (trained if necessary), inception, or a network folder", filled, "own")
  .option("--out <dir>", "folder for results, images and sweep.svg (default: out/sweep-NAME)", filled)
  .option("--batch <n>", "images per batch; does not affect results", whole({ least: 1, most: 4096 }), 32)
  .option("--json", "print one line of JSON and no progress");
addSweptOptions(addDataOptions(sweep))
  .optionsGroup("Performance:")
  .addOption(deviceOption())
  .addOption(threadsOption())
  .addHelpText(
    "after",
    "\nExample: npm run bench -- sweep --model emoji --guidance 1,1.5,2,3 --temperature 0.9,1,1.1 -n 300",
  )
  .action(benchSweep);

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(`error: ${sentenceOf(error)}`);
  process.exitCode = 2;
}
