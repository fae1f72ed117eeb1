/** The steps of the guided tour through a drawing, level by level: text and what to show. Independent of the page. */

import { drawingLevels, type ModelConfig, placedLevels } from "../config/model.ts";
import { channelLetters } from "../core/normalize.ts";
import { kindOf } from "../levels/table.ts";
import { type Recording } from "./recording.ts";
import { chanceInWords, pathTo } from "./recursion.ts";
import { plural } from "./words.ts";

export interface TourStep {
  title: string;
  text: string;
  /** Show the drawing after this many steps; without it, the display stays as it is. */
  taken?: number;
  pixel?: { x: number; y: number };
  /** Play the drawing from its beginning. */
  plays?: boolean;
}

const ordinals = ["first", "second", "third", "fourth", "fifth", "sixth"];
const ordinal = (level: number) => ordinals[level] ?? `${level + 1}th`;
const numbers = ["no", "one", "two", "three", "four", "five", "six"];
const colourNames: Record<string, string> = { r: "red", g: "green", b: "blue", l: "grey", a: "opacity" };

/** Returns the tour of an image that has been drawn. */
export function tourSteps(config: ModelConfig, recording: Recording, image: number): TourStep[] {
  const { size, steps, channels } = recording;
  const levels = placedLevels(config);
  const generators = levels.length + Math.min(1, drawingLevels(config).length);
  const what = (level: number, many: boolean) => squareName(levels[level].patch, many);
  const opening: TourStep = {
    title: "Generators inside generators",
    text: `This image of ${size}×${size} pixels was drawn by ${numbers[generators] ?? generators} generators, one inside the other. This tour shows how they drew it, step by step. It takes a minute.`,
  };
  const placing = levels.flatMap((generator, level): TourStep[] => {
    const taken = momentOf(recording, { image, level });
    if (taken === undefined) return [];
    const count = steps[taken - 1].image.filter((of) => of === image).length;
    const where = level === 0 ? "The whole image" : `Inside each ${what(level - 1, false)}`;
    const order = kindOf(generator).order.hides ? "in a random order" : "in raster order";
    const goesOn =
      levels[level].patch === 1
        ? "It does not choose their colours; it describes what each should look like."
        : "It does not paint them; it describes what each should look like and leaves the rest to the next generator.";
    return [
      {
        title:
          level === 0
            ? `The ${ordinal(level)} generator places ${what(level, true)}`
            : `Inside each, a ${ordinal(level)} one places ${what(level, true)}`,
        text: `${where} is the work of the ${ordinal(level)} generator. It places ${what(level, true)} ${order}, a few in each step, and sees those already placed. This step ${level === 0 ? "finished" : "placed"} ${plural(count, what(level, false), what(level, true))} (outlined). ${goesOn}`,
        taken,
      },
    ];
  });
  return [
    opening,
    ...placing,
    ...choosing(recording, { image, order: ordinal(levels.length) }),
    ...together(recording, image, channels),
    last,
  ];
}

const squareName = (side: number, many: boolean): string =>
  side === 1 ? (many ? "pixels" : "pixel") : `${many ? "patches" : "patch"} of ${side}×${side}`;

/** A step in which a level finished squares of the image: the first one for the first level, a later one for the others. */
function momentOf({ steps }: Recording, { image, level }: { image: number; level: number }): number | undefined {
  const found = steps.flatMap((step, i) => (step.level === level && step.image.includes(image) ? [i + 1] : []));
  return level === 0 ? found[0] : found[Math.floor(found.length / 3)];
}

/** The least probable pixel of the image among those drawn in one step. */
function choosing(recording: Recording, { image, order }: { image: number; order: string }): TourStep[] {
  const { steps, size, channels, images, bits, from, patches } = recording;
  const taken = momentOf(recording, { image, level: patches.length - 1 });
  if (taken === undefined) return [];
  const step = steps[taken - 1];
  const bitsOf = (at: number) => bits.subarray(at * channels, (at + 1) * channels).reduce((a, b) => a + b, 0);
  const drawn = [...step.image.keys()]
    .filter((i) => step.image[i] === image)
    .map((i) => ({ x: step.x[i], y: step.y[i], at: (image * size + step.y[i]) * size + step.x[i] }))
    .filter(({ at }) => from[at] === taken)
    .sort((a, b) => bitsOf(b.at) - bitsOf(a.at));
  if (drawn.length === 0) return [];
  const [{ x, y, at }] = drawn;
  const names = channelLetters(channels).map((letter) => colourNames[letter]);
  const values = names.map(
    (name, c) => `${name} ${images[at * channels + c]} (${chanceInWords(bits[at * channels + c])})`,
  );
  const each = channels === 1 ? "a shade of grey" : names.join(", then ");
  return [
    {
      title: `Inside each, a ${order} one chooses ${channels === 1 ? "its grey" : names.join(", ")}`,
      text: `The ${order} generator assigns a probability to each of 256 values and samples one of them: ${each}${channels === 1 ? "" : ", each depending on those before it"}. This pixel became ${values.join(", ")}. The curves show all the possible values.`,
      taken,
      pixel: { x, y },
    },
  ];
}

/** The probability of the whole image, as the product of all choices. */
function together(recording: Recording, image: number, channels: number): TourStep[] {
  const taken = recording.steps.length;
  const [whole] = pathTo(recording, { image, x: 0, y: 0, taken });
  if (whole.drawn === 0) return [];
  const bytes = (whole.drawn * channels).toLocaleString("en");
  return [
    {
      title: "Again and again, until the image is complete",
      text: `${plural(whole.drawn, "pixel")} mean ${bytes} choices like that. Their probabilities multiply, so the chance of exactly this image was ${chanceInWords(whole.bits)}: ${(whole.bits / whole.drawn / channels).toFixed(2)} bits per byte. Watch the drawing once more.`,
      plays: true,
    },
  ];
}

const last: TourStep = {
  title: "Your turn",
  text: "Point at any pixel to see what the model expected there. Paint over a part and redraw it. Try other classes or another seed. “Copy link” shares exactly what you see.",
};
