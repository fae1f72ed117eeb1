/** `fractalgen edit`: variants of an image, a part of which is drawn anew. */

import { type Command, Option } from "commander";
import { editingTasks, sides } from "../sample/masks.ts";
import { addDrawingOptions } from "./drawing-options.ts";
import { classGuidance, edit } from "./edit-command.ts";
import { modelOption } from "./models.ts";
import { addSamplingOptions } from "./sampling-options.ts";
import { collected, filled, oneOf, seeds, whole } from "./values.ts";

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
