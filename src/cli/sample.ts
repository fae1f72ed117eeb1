/** `fractalgen sample`: images from a model as a labelled grid, one by one, and as an animation. */

import { join } from "node:path";
import type { Command } from "commander";
import type { ModelConfig } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import type { Provider } from "../engine/engine.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { gridLayout, gridPng, imagePng } from "../pictures/grid.ts";
import type { Frame } from "../sample/sampler.ts";
import { deviceOption, helpOption, openEngine, threadsOption } from "./engine.ts";
import { filming, type Picture } from "./film.ts";
import { interruptible } from "./interrupt.ts";
import { findModel, modelName, parseClasses, shippedModels } from "./models.ts";
import { checkFile, checkFolder } from "./outputs.ts";
import { preview } from "./preview.ts";
import { duration, progressOn, rateOf } from "./progress.ts";
import { bytes, collected, filled, whole } from "./values.ts";
import { addSamplingOptions, openSampler, type SamplingFlags, settingsOf } from "./sampling-options.ts";
import { version } from "./version.ts";

interface SampleFlags extends SamplingFlags {
  model: string;
  class?: string;
  count: number;
  seed: number;
  batch: number;
  memory?: number;
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
  const ships = shippedModels();
  const command = program
    .command("sample")
    .summary("generate images")
    .description("Generate images: a labelled grid, and where asked for each on its own and an animation.")
    .optionsGroup("Which images:")
    .option(
      "--model <dir|name>",
      ships.length > 0 ? `a model folder, or one that ships: ${ships.join(", ")}` : "a model folder",
      filled,
      "emoji",
    )
    .option(
      "--class <names>",
      "classes by name or number, comma-separated; images take them in turn (default: all)",
      collected,
    )
    .option("-n, --count <n>", "how many images", whole({ least: 1, most: 100_000 }), 16)
    .option(
      "--seed <n>",
      "the same seed, class and options give the same images",
      whole({ least: 0, most: Number.MAX_SAFE_INTEGER }),
      0,
    )
    .optionsGroup("How they are drawn (default: as the model says):");
  addSamplingOptions(command)
    .optionsGroup("What is written:")
    .option(
      "--out <file>",
      "the grid, a PNG with model, seed and options in its text chunks",
      filled,
      "out/samples.png",
    )
    .option("--columns <n>", "columns of the grid (default: about as many as rows)", whole({ least: 1, most: 1000 }))
    .option("--animate <file>", "an animation of how the fractal fills in, .webp or .gif", filled)
    .option("--each <dir>", "also every image on its own, as PNG", filled)
    .option("--json", "print one line of JSON, no progress")
    .optionsGroup("How it runs:")
    .option("--batch <n>", "images made side by side; they do not depend on it", whole({ least: 1, most: 4096 }), 16)
    .option("--memory <size>", "most memory to take, such as 3GB (default: what is free)", bytes)
    .option("--no-preview", "no preview on the terminal")
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen sample --model emoji --class heart,face -n 16 --seed 1 --guidance 4 --out grid.png\n  fractalgen sample --class flag -n 4 --animate flags.webp --each flags/",
    )
    .action(sample);
}

async function sample(flags: SampleFlags): Promise<void> {
  const model = await findModel(flags.model);
  const { config } = model;
  const classes =
    flags.class === undefined ? config.classes.map((_, i) => i) : parseClasses(flags.class, config.classes);
  const labels = Array.from({ length: flags.count }, (_, i) => classes[i % classes.length]);
  const names = labels.map((label) => config.classes[label]);
  const settings = settingsOf(flags, config);
  const picture: Picture = {
    count: flags.count,
    size: config.imageSize,
    channels: config.channels,
    columns: flags.columns,
  };
  checkOutputs(flags, picture, names);
  const film = flags.animate === undefined ? undefined : filming(flags.animate, picture);

  const engine = await openEngine(flags);
  const { sampler, batch } = openSampler(engine, model, { ...flags, ...settings });
  const progress = progressOn(process.stderr, { quiet: flags.json, preview: flags.preview });
  progress.update("loading the model");
  const { signal, met, done } = interruptible();
  const line = progressLine({ count: flags.count, batch });
  const started = performance.now();
  const frames = sampler.sample({ labels, seed: flags.seed, ...settings, batch, signal });
  let images: Uint8Array;
  try {
    for (;;) {
      const next = await frames.next();
      if (next.done) {
        images = next.value;
        break;
      }
      film?.add(next.value);
      progress.update(line(next.value), (room) => preview(next.value, picture, { ...room, batch }));
    }
  } catch (error) {
    progress.clear();
    return met(error);
  } finally {
    done();
    await sampler.dispose();
  }
  const seconds = (performance.now() - started) / 1000;
  progress.clear();

  const text = (label: string, index?: number) => ({
    Software: `fractalgen ${version}`,
    Model: modelName(model),
    Class: label,
    Seed: String(flags.seed),
    ...(index === undefined ? { Count: String(flags.count) } : { Index: String(index) }),
    Options: JSON.stringify({ ...settings, device: engine.provider }),
  });
  const inTurn = names.slice(0, classes.length).join(",");
  await writeFileAtomic(flags.out, await gridPng(images, { ...picture, labels: names, text: text(inTurn) }));
  const each = flags.each === undefined ? undefined : await writeEach(flags.each, images, { config, names, text });
  await film?.write(images);
  if (flags.json)
    console.log(
      JSON.stringify({
        out: flags.out,
        animation: flags.animate,
        each,
        classes: names,
        seed: flags.seed,
        ...settings,
        device: engine.provider,
        seconds,
        imagesPerSecond: flags.count / seconds,
      }),
    );
  else {
    const images = flags.count === 1 ? "1 image" : `${flags.count} images`;
    console.error(
      `${images} in ${seconds < 10 ? `${seconds.toFixed(1)} s` : duration(seconds)} (${rateOf(flags.count / seconds)})`,
    );
    for (const path of [flags.out, flags.animate, flags.each]) if (path !== undefined) console.log(path);
  }
}

/** An image reader's usual limit (sharp's, 16383 squared). */
const gridMost = 268e6;

/** Finds what would keep the outputs from being written before an hour of work goes into them. */
function checkOutputs({ out, animate, each }: SampleFlags, picture: Picture, labels: string[]): void {
  checkFile(out, { option: "--out", endings: [".png"] });
  if (animate !== undefined) checkFile(animate, { option: "--animate", endings: [".webp", ".gif"] });
  if (each !== undefined) checkFolder(each, { option: "--each" });
  const { width, height } = gridLayout({ ...picture, labels });
  if (width * height > gridMost)
    throw new UserError(
      `--count: a grid of ${picture.count} images would have ${width}x${height} pixels, at most ${gridMost / 1e6} million can be written; ask for fewer images, several times with other seeds`,
    );
}

/** Share done, rate and time left, counted from the first frame on: before it the model is loaded. */
function progressLine({ count, batch }: { count: number; batch: number }): (frame: Frame) => string {
  let first: { at: number; done: number } | undefined;
  return ({ done, finished }) => {
    first ??= { at: performance.now(), done };
    const seconds = (performance.now() - first.at) / 1000;
    const rate = (done - first.done) / seconds;
    const from = Math.floor(finished.image[0] / batch) * batch;
    const which = batch < count ? `  images ${from + 1} to ${Math.min(count, from + batch)} of ${count}` : "";
    const speed = rate > 0 ? `  ${rateOf(rate * count)}  ${duration((1 - done) / rate)} left` : "";
    return `${(100 * done).toFixed(0).padStart(3)}%${speed}${which}`;
  };
}

async function writeEach(
  folder: string,
  images: Uint8Array,
  {
    config,
    names,
    text,
  }: { config: ModelConfig; names: string[]; text: (label: string, index: number) => Record<string, string> },
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
