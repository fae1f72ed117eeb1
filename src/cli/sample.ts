/** `fractalgen sample`: images from a model as a labelled grid, one by one, and as an animation. */

import { statSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { type Command, Option } from "commander";
import type { ModelConfig } from "../config/model.ts";
import { placedLevels } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import type { Provider } from "../engine/engine.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { externalModel } from "../files/external.ts";
import { animation } from "../pictures/animation.ts";
import { gridPixels, gridPng, imagePng } from "../pictures/grid.ts";
import { halfBlocks } from "../pictures/halfblocks.ts";
import { createSampler, type Frame } from "../sample/sampler.ts";
import type { Schedule } from "../sample/schedule.ts";
import { deviceOption, openEngine, threadsOption } from "./engine.ts";
import { findModel, parseClasses, shippedModels } from "./models.ts";
import { duration, interruptible, progressOn } from "./progress.ts";
import { number, whole, wholes } from "./values.ts";
import { version } from "./version.ts";

interface SampleFlags {
  model: string;
  class?: string;
  count: number;
  seed: number;
  guidance?: number;
  schedule?: Schedule;
  temperature?: number;
  filterThreshold?: number;
  iterations?: number[];
  batch: number;
  out: string;
  columns?: number;
  animate?: string;
  each?: string;
  json?: boolean;
  preview: boolean;
  device: Provider;
  threads?: number;
}

export function addSample(program: Command): void {
  program
    .command("sample")
    .description("generate images")
    .option("--model <dir|name>", `a model folder, or one that ships (${shippedModels().join(", ")})`, "emoji")
    .option("--class <names>", "classes by name or number, comma-separated; images take them in turn (default: all)")
    .option("-n, --count <n>", "how many images", whole({ least: 1, most: 100_000 }), 16)
    .option("--seed <n>", "the same seed, class and options give the same images", whole({ least: 0 }), 0)
    .option("--guidance <w>", "classifier-free guidance; 1 is none (default: the model's)", number({ least: 0, most: 1000 }))
    .addOption(new Option("--schedule <name>", "guidance over the first level's steps (default: the model's)").choices(["linear", "constant"]))
    .option("--temperature <t>", "logits are multiplied by it: above 1 sharpens (default: the model's)", number({ least: 0.001, most: 1000 }))
    .option("--filter-threshold <p>", "guidance leaves less likely bytes alone (default: the model's)", number({ least: 0, most: 1 }))
    .option("--iterations <list>", "steps at each level above the pixels, such as 64,16 (default: the model's)", wholes({ least: 1 }))
    .option("--batch <n>", "images made side by side; they do not depend on it", whole({ least: 1, most: 4096 }), 16)
    .option("--out <file>", "the grid, a PNG with seed and options in its text chunks", "out/samples.png")
    .option("--columns <n>", "columns of the grid", whole({ least: 1, most: 1000 }))
    .option("--animate <file>", "an animation of how the fractal fills in (.webp or .gif)")
    .option("--each <dir>", "also every image on its own, as PNG")
    .option("--json", "print one line of JSON, no progress")
    .option("--no-preview", "no preview on the terminal")
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen sample --model emoji --class heart,face -n 16 --seed 1 --guidance 4 --out grid.png\n  fractalgen sample --class flag -n 4 --animate flags.webp --each flags/",
    )
    .action(sample);
}

async function sample(flags: SampleFlags): Promise<void> {
  const model = await findModel(flags.model);
  const { config } = model;
  const classes = flags.class ? parseClasses(flags.class, config.classes) : config.classes.map((_, i) => i);
  const labels = Array.from({ length: flags.count }, (_, i) => classes[i % classes.length]);
  const settings = settingsOf(flags, config);
  checkOutputs(flags);

  const engine = await openEngine(flags);
  const sampler = createSampler(engine, externalModel(model));
  const progress = progressOn(process.stderr, { quiet: flags.json, preview: flags.preview });
  const { signal, done } = interruptible();
  const names = labels.map((label) => config.classes[label]);
  const picture = { count: flags.count, size: config.imageSize, channels: config.channels, columns: flags.columns };
  const film = flags.animate ? filming(picture) : undefined;
  const started = performance.now();
  const frames = sampler.sample({ labels, seed: flags.seed, ...settings, batch: flags.batch, signal });
  let images: Uint8Array;
  try {
    for (;;) {
      const next = await frames.next();
      if (next.done) {
        images = next.value;
        break;
      }
      film?.add(next.value);
      progress.update(progressLine(next.value, flags.count, (performance.now() - started) / 1000), () =>
        halfBlocks(gridPixels(next.value.images, { ...picture, scale: 1 }), { columns: process.stderr.columns ?? 80 }),
      );
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    progress.clear();
    console.error("stopped; nothing was written");
    process.exitCode = 130;
    return;
  } finally {
    done();
    await sampler.dispose();
  }
  const seconds = (performance.now() - started) / 1000;
  progress.clear();

  const text = (label: string, index?: number) => ({
    Software: `fractalgen ${version}`,
    Model: config.name ?? basename(model.folder),
    Class: label,
    Seed: String(flags.seed),
    ...(index === undefined ? {} : { Index: String(index) }),
    Options: JSON.stringify({ ...settings, device: engine.provider }),
  });
  await writeFileAtomic(flags.out, await gridPng(images, { ...picture, labels: names, text: text([...new Set(names)].join(",")) }));
  const each = flags.each ? await writeEach(flags.each, images, { config, names, text }) : [];
  if (film && flags.animate) await film.write(flags.animate, images);
  if (flags.json)
    console.log(
      JSON.stringify({
        out: flags.out,
        ...(flags.animate ? { animation: flags.animate } : {}),
        ...(flags.each ? { each } : {}),
        classes: names,
        seed: flags.seed,
        ...settings,
        device: engine.provider,
        seconds,
        imagesPerSecond: flags.count / seconds,
      }),
    );
  else {
    console.error(`${flags.count} images in ${seconds.toFixed(1)} s (${(flags.count / seconds).toFixed(2)} images/s)`);
    for (const path of [flags.out, flags.animate, flags.each]) if (path) console.log(path);
  }
}

/** The options that images depend on, with the model's own where none was given. */
function settingsOf(flags: SampleFlags, { sampling, levels, ...config }: ModelConfig) {
  const above = placedLevels({ sampling, levels, ...config });
  const { iterations = sampling.iterations ?? above.map(({ tokens }) => tokens) } = flags;
  if (iterations.length !== above.length)
    throw new UserError(
      `--iterations has ${iterations.length} numbers, but this model has ${above.length} levels above the pixels, such as ${above.map(({ tokens }) => tokens).join(",")}`,
    );
  return {
    guidance: flags.guidance ?? sampling.guidance,
    schedule: flags.schedule ?? sampling.schedule,
    temperature: flags.temperature ?? sampling.temperature,
    filterThreshold: flags.filterThreshold ?? sampling.filterThreshold,
    iterations,
  };
}

/** Finds mistakes in the names of outputs before an hour of work goes into them. */
function checkOutputs({ out, animate, each }: SampleFlags): void {
  if (extname(out).toLowerCase() !== ".png") throw new UserError(`--out ${out}: the grid is a PNG, expected a name that ends in .png`);
  if (animate && ![".webp", ".gif"].includes(extname(animate).toLowerCase()))
    throw new UserError(`--animate ${animate}: expected a name that ends in .webp or .gif`);
  if (each && isFile(each)) throw new UserError(`--each ${each} is a file, expected a folder`);
}

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;

function progressLine({ done, level, step, steps }: Frame, count: number, seconds: number): string {
  const rate = (done * count) / seconds;
  const left = done > 0 ? duration((seconds / done) * (1 - done)) : "?";
  return `${(100 * done).toFixed(0).padStart(3)}%  ${rate.toFixed(2)} images/s  ${left} left  (level ${level + 1}, step ${step} of ${steps})`;
}

interface Picture {
  count: number;
  size: number;
  channels: number;
  columns?: number;
}

const filmFrames = 60;

/** Takes at most 60 pictures of images in the making, evenly spaced over what is drawn. */
function filming(picture: Picture): { add(frame: Frame): void; write(path: string, images: Uint8Array): Promise<void> } {
  const scale = Math.max(1, Math.floor(96 / picture.size));
  const shot = (images: Uint8Array) => gridPixels(images, { ...picture, scale });
  const frames: Uint8Array[] = [];
  return {
    add({ done, images }) {
      if (done * filmFrames >= frames.length) frames.push(shot(images).data);
    },
    async write(path, images) {
      const { data, width, height } = shot(images);
      await animation([...frames, data], { path, width, height, delay: 80 });
    },
  };
}

async function writeEach(
  folder: string,
  images: Uint8Array,
  { config, names, text }: { config: ModelConfig; names: string[]; text: (label: string, index: number) => Record<string, string> },
): Promise<string[]> {
  const { imageSize: size, channels } = config;
  const bytes = size * size * channels;
  const digits = String(names.length - 1).length;
  const paths: string[] = [];
  for (const [i, name] of names.entries()) {
    const path = join(folder, `${String(i).padStart(digits, "0")}-${name.replaceAll(/[^\w-]+/g, "-")}.png`);
    const image = images.subarray(i * bytes, (i + 1) * bytes);
    await writeFileAtomic(path, await imagePng(image, { size, channels, text: text(name, i) }));
    paths.push(path);
  }
  return paths;
}
