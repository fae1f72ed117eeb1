/** `fractalgen edit`: variants of an image, a part of which is drawn anew. */

import { basename } from "node:path";
import { type Command, Option } from "commander";
import type { ModelConfig } from "../config/model.ts";
import { UserError } from "../core/errors.ts";
import { toChannels } from "../data/picture.ts";
import { drawnMask, edit as editImage } from "../sample/edit.ts";
import { editingTasks, sides } from "../sample/masks.ts";
import { addDrawingOptions, checkOutputs, drawImages, type DrawingFlags, owningEach, writeDrawn } from "./drawing.ts";
import { type MaskFlags, readMask, readOriginal } from "./edit-inputs.ts";
import { findModel, labelsInTurn, modelOption, parseClasses } from "./models.ts";
import { addSamplingOptions, type SamplingFlags, type SamplingSettings, settingsOf } from "./sampling-options.ts";
import { collected, filled, oneOf, seeds, whole } from "./values.ts";

interface EditFlags extends SamplingFlags, DrawingFlags, MaskFlags {
  model: string;
  image: string;
  class?: string;
  ring: number;
}

/** A class that is to show against all that is kept has to count for more than the models' own guidance makes it. */
const classGuidance = 4;

export function addEdit(program: Command): void {
  const command = program
    .command("edit")
    .summary("redraw a part of an image")
    .description(
      "Redraw a part of an image: fill a hole (inpaint), go on from a half (outpaint) or from the centre (uncrop), or redraw a region as another class. All other pixels stay to the byte. Models with AR levels only go on from an upper part.",
    )
    .optionsGroup("What is drawn anew:")
    .requiredOption("--image <file>", "the image; of another size, its centre is brought to the model's", filled)
    .addOption(
      new Option("--task <name>", "the usual mask of a task, and for class the class that is asked for")
        .choices(editingTasks)
        .default("inpaint")
        .argParser(oneOf(editingTasks)),
    )
    .option("--mask <file|x,y,w,h>", "an image, white is drawn anew, or a rectangle in pixels of the model", filled)
    .option(
      "--extent <n>",
      "side of the square in the middle that is drawn or, to uncrop, kept (default: half the image)",
      whole({ least: 1 }),
    )
    .addOption(
      new Option("--given <side>", "the half that is given, to outpaint (default: left; top where there are AR levels)")
        .choices(sides)
        .argParser(oneOf(sides)),
    )
    .addOption(
      new Option("--ring [n]", "redraw so many of the first level's patches around it as well, which softens the seam")
        .preset("1")
        .default(0, "none")
        .argParser(whole({ least: 0, most: 4096 })),
    )
    .optionsGroup("With what:")
    .addOption(modelOption())
    .option(
      "--class <names>",
      "classes by name or number, or groups of them, comma-separated; variants take them in turn (default: none, what is kept decides)",
      collected,
    )
    .option("-n, --count <n>", "how many variants", whole({ least: 1, most: 100_000 }), 4)
    .option("--seed <n>", "the same seed, image, mask and options give the same variants", seeds, 0)
    .optionsGroup(
      `How they are drawn (default: as the model says; guidance of at least ${classGuidance} for a class change):`,
    );
  addDrawingOptions(addSamplingOptions(command), {
    out: "out/edited.png",
    columns: "one row, or about as many as rows",
  })
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen edit --image photo.png --mask mask.png --class animal -n 4 --out edited.png\n  fractalgen edit --image photo.png --mask 8,8,16,12 --ring --each variants/\n  fractalgen edit --image photo.png --task outpaint --given top --model runs/photos\n  fractalgen edit --image face.png --task class --class heart --guidance 6",
    )
    .action(edit);
}

async function edit(flags: EditFlags): Promise<void> {
  const model = await findModel(flags.model);
  const { config } = model;
  const { imageSize: size, channels } = config;
  const { labels, names } = labelsOf(flags, config);
  const settings = settingsFor(flags, config);
  const original = await readOriginal(flags.image, config);
  const mask = drawnMask(config, await readMask(flags, config, original), { ring: flags.ring });
  const shown = flags.count + 2;
  const grid = { count: shown, size, channels, columns: flags.columns ?? (shown <= 8 ? shown : undefined) };
  const captions = ["original", "given", ...names];
  checkOutputs(flags, { ...grid, labels: captions });
  if (original.note !== undefined && !flags.json) console.error(original.note);
  const { seed } = flags;
  await owningEach(flags, async () => {
    const drawn = await drawImages(model, { ...flags, ...settings }, (sampler, running) =>
      editImage(sampler, original.image, mask, { labels, seed, ...settings, ...running }),
    );
    if (!drawn) return;
    const images = Buffer.concat([original.image, hatched(original.image, mask, config), drawn.images]);
    const options = maskOptions(flags);
    const share = mask.reduce((a, b) => a + b, 0) / mask.length;
    const details = { Image: basename(flags.image), Task: flags.task };
    const inTurn = [...new Set(names)];
    const written = {
      model,
      names,
      inTurn,
      settings,
      options,
      details,
      grid: { images, picture: grid, labels: captions },
    };
    await writeDrawn(flags, drawn, written, { image: flags.image, task: flags.task, drawn: share });
  });
}

const noClass = "no class";

/** The variants' labels; without a class the null class, which training has dropped labels for. */
function labelsOf({ class: text, count, task }: EditFlags, config: ModelConfig) {
  const { classes } = config;
  if (text === undefined && task === "class")
    throw new UserError(
      `--class: say as which class to redraw the region, for example ${classes.slice(0, 3).join(", ")}`,
    );
  const labels = labelsInTurn(text === undefined ? [[classes.length]] : parseClasses(text, config), count);
  return { labels, names: labels.map((label) => classes[label] ?? noClass) };
}

function settingsFor(flags: EditFlags, config: ModelConfig): SamplingSettings {
  const settings = settingsOf(flags, config);
  if (flags.guidance !== undefined && flags.class === undefined && flags.guidance !== 1)
    throw new UserError("--guidance: it makes a class count for more, so it needs --class");
  if (flags.class === undefined) return { ...settings, guidance: 1 };
  if (flags.task !== "class" || flags.guidance !== undefined) return settings;
  return { ...settings, guidance: Math.max(settings.guidance, classGuidance) };
}

const maskOptions = ({ mask, given, extent, ring }: EditFlags) => ({ mask, given, extent, ring });

/** What was given: in place of what is drawn anew, stripes of two colours that no image hides. */
function hatched(image: Uint8Array, mask: Uint8Array, { imageSize: size, channels }: ModelConfig): Uint8Array {
  const rgb = Uint8Array.of(224, 64, 160, 255, 200, 232);
  const stripes = toChannels({ data: rgb, width: 2, height: 1, channels: 3 }, channels).data;
  const width = Math.max(2, Math.round(size / 16));
  return image.map((byte, at) => {
    const pixel = Math.floor(at / channels);
    if (mask[pixel] === 0) return byte;
    const stripe = Math.floor(((pixel % size) + Math.floor(pixel / size)) / width) % 2;
    return stripes[stripe * channels + (at % channels)];
  });
}
