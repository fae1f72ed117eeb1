/** `fractalgen edit`: generates variants of an image with a part redrawn. */

import { type Command, Option } from "commander";
import { editingTasks, sides } from "../sample/masks.ts";
import { addDrawingOptions } from "./drawing-options.ts";
import { classGuidance, edit } from "./edit-command.ts";
import { modelOption } from "./models.ts";
import { addSamplingOptions } from "./sampling-options.ts";
import { choice, collected, filled, seeds, whole } from "./values.ts";

export function addEdit(program: Command): void {
  const command = program
    .command("edit")
    .summary("redraw a part of an image")
    .description(
      "Redraw a part of an image: fill a hole (inpaint), extend one half (outpaint) or the centre (uncrop), or redraw a region as another class (class). All other pixels stay identical, byte for byte. Models whose first level is AR can only extend an upper part.",
    )
    .optionsGroup("Region to redraw:")
    .requiredOption("--image <file>", "the image; its central square is scaled down to the model's size", filled)
    .addOption(
      choice(
        "--task <name>",
        "selects the default mask; class redraws the region as another --class",
        editingTasks,
      ).default("inpaint"),
    )
    .option(
      "--mask <file|x,y,w,h>",
      "region to redraw: the white pixels of an image, or a rectangle in model pixels",
      filled,
    )
    .option(
      "--extent <n>",
      "side of the central square that is redrawn or, for uncrop, kept (default: half the image)",
      whole({ least: 1 }),
    )
    .addOption(
      choice("--given <side>", "for outpaint: the half to keep (default: left; top if the first level is AR)", sides),
    )
    .addOption(
      new Option("--ring [n]", "also redraw a ring of n first-level patches around the region, which softens the seam")
        .preset("1")
        .default(0, "none")
        .argParser(whole({ least: 0, most: 4096 })),
    )
    .optionsGroup("Model and variants:")
    .addOption(modelOption())
    .option(
      "--class <names>",
      "classes by name or number, or groups of classes, comma-separated; variants cycle through them (default: none; only the kept pixels guide the result)",
      collected,
    )
    .option("-n, --count <n>", "how many variants", whole({ least: 1, most: 100_000 }), 4)
    .option("--seed <n>", "the same seed, image, mask and options give the same variants", seeds, 0)
    .optionsGroup(
      `Sampling (default: the model's own settings; guidance of at least ${classGuidance} for --task class):`,
    );
  addDrawingOptions(addSamplingOptions(command), {
    out: "out/edited.png",
    columns: "one row, or a roughly square grid",
  })
    .addHelpText(
      "after",
      "\nExamples:\n  fractalgen edit --image photo.png --mask mask.png --class animal -n 4 --out edited.png\n  fractalgen edit --image photo.png --mask 8,8,16,12 --ring --each variants/\n  fractalgen edit --image photo.png --task outpaint --given top --model runs/photos\n  fractalgen edit --image face.png --task class --class heart --guidance 6",
    )
    .action(edit);
}
