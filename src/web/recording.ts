/** A compact record of a drawing from which any moment can be shown again. Independent of page and model. */

import type { StepRecord } from "./protocol.ts";

export interface Recording {
  readonly count: number;
  /** Side of an image in pixels, and channels per pixel. */
  readonly size: number;
  readonly channels: number;
  /** Patch side at each level above the pixels. */
  readonly patches: readonly number[];
  readonly steps: StepRecord[];
  /** The latest state of all images [count, S, S, C]. */
  readonly images: Uint8Array;
  /** The number of steps after which each pixel [count, S, S] was drawn; 0 for given pixels. */
  readonly from: Uint32Array;
  /** Entropy of each value [count, S, S, C], in 32nds of a bit. */
  readonly entropy: Uint8Array;
  /** -log2 of the probability of each drawn value [count, S, S, C]. */
  readonly bits: Float32Array;
  /** The position of the last added step. Less than the number of steps while later images repeat the steps of earlier ones. */
  live: number;
}

export const notDrawn = 0xffffffff;
/** Entropies are stored in 32nds of a bit. The maximum of 8 bits is clipped to 255/32. */
export const entropyScale = 32;

export function newRecording({
  count,
  size,
  channels,
  patches,
  given,
}: {
  count: number;
  size: number;
  channels: number;
  patches: readonly number[];
  /** An image of which the pixels with mask 0 are given. */
  given?: { image: Uint8Array; mask: Uint8Array };
}): Recording {
  const pixels = size * size;
  const images = new Uint8Array(count * pixels * channels).fill(128);
  const from = new Uint32Array(count * pixels).fill(notDrawn);
  for (let i = 0; given && i < count * pixels; i++) {
    const at = i % pixels;
    if (given.mask[at]) continue;
    from[i] = 0;
    images.set(given.image.subarray(at * channels, (at + 1) * channels), i * channels);
  }
  const entropy = new Uint8Array(images.length);
  return {
    count,
    size,
    channels,
    patches,
    steps: [],
    images,
    from,
    entropy,
    bits: new Float32Array(images.length),
    live: 0,
  };
}

/** Adds a step. If later images repeat the step of earlier ones, the two are merged. */
export function addStep(recording: Recording, step: StepRecord): void {
  const { size, channels, steps, images, from, entropy, bits } = recording;
  const same = step.at === undefined ? undefined : steps[step.at];
  const joins = same?.level === step.level && same.step === step.step && same.steps === step.steps;
  if (joins) steps[step.at!] = joined(same, step);
  else steps.push(step);
  recording.live = joins ? step.at! + 1 : steps.length;
  const { bytes } = step;
  if (!bytes) return;
  step.image.forEach((image, i) => {
    const at = (image * size + step.y[i]) * size + step.x[i];
    if (from[at] !== notDrawn) return; // given, or drawn before
    from[at] = recording.live;
    for (let c = 0; c < channels; c++) {
      images[at * channels + c] = bytes[i * channels + c];
      if (step.entropy) entropy[at * channels + c] = step.entropy[i * channels + c];
      if (step.bits) bits[at * channels + c] = step.bits[i * channels + c];
    }
  });
}

/** Merges the finished squares of two steps. The drawn bytes are already in the recording's images. */
function joined(one: StepRecord, other: StepRecord): StepRecord {
  const both = (key: "image" | "x" | "y") => Uint16Array.from([...one[key], ...other[key]]);
  const { level, step, steps, at, side } = one;
  return { level, step, steps, at, side, image: both("image"), x: both("x"), y: both("y") };
}

/** Whether pixel `at` of [count, S, S] exists after `taken` steps. */
export const drawnAt = ({ from }: Recording, at: number, taken: number): boolean => from[at] <= taken;

/** A pixel's entropy in bits over all its values. */
export function entropyOf({ channels, entropy }: Recording, at: number): number {
  let sum = 0;
  for (let c = 0; c < channels; c++) sum += entropy[at * channels + c];
  return sum / entropyScale;
}

export interface Outline {
  level: number;
  side: number;
  squares: { x: number; y: number }[];
}

/**
 * The patches of image `image` in progress at the `taken`-th step, outermost level first: those that the step finished,
 * and the patches of each level above that contain them.
 */
export function outlinesAt({ steps, patches }: Recording, image: number, taken: number): Outline[] {
  const step = steps[taken - 1];
  if (!step) return [];
  return patches.slice(0, step.level + 1).map((side, level) => {
    const squares = new Map<string, { x: number; y: number }>();
    step.image.forEach((of, i) => {
      if (of !== image) return;
      const square = { x: step.x[i] - (step.x[i] % side), y: step.y[i] - (step.y[i] % side) };
      squares.set(`${square.x},${square.y}`, square);
    });
    return { level, side, squares: [...squares.values()] };
  });
}

/** The position of the `taken`-th step in the recursion: for each level, its current step and number of steps. */
export function placeOf({ steps }: Recording, taken: number): { step: number; steps: number }[] {
  const last = steps[taken - 1];
  if (!last) return [];
  const place: { step: number; steps: number }[] = [];
  place[last.level] = { step: last.step, steps: last.steps };
  // A level above is in the step after the last one it finished in this square, which precedes this step.
  for (let level = last.level - 1; level >= 0; level--) {
    let at = taken - 2;
    while (at >= 0 && steps[at].level > level) at--;
    const before = steps[at];
    const goesOn = before?.level === level && before.step < before.steps;
    const total = before?.level === level ? before.steps : stepsOf(steps, taken, level);
    place[level] = { step: goesOn ? before.step + 1 : 1, steps: total };
  }
  return place;
}

/** The number of steps of a level, taken from the next step it finishes; 0 if not known yet. */
const stepsOf = (steps: readonly StepRecord[], from: number, level: number): number =>
  steps.find((step, at) => at >= from && step.level === level)?.steps ?? 0;
