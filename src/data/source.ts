/** What every kind of source gives: images one after another, with names and labels. Knows nothing of any one kind. */

import { UserError } from "../core/errors.ts";
import { shown } from "../core/text.ts";
import type { Picture, Shape } from "./picture.ts";

/** A recognised source; its files are listed, but none is read yet. */
export interface Found {
  /** Everything it is made of: when none of these changes, nor do the images. */
  files: SourceFile[];
  open: () => Promise<Source>;
}

export interface SourceFile {
  /** Relative to the source, with `/` on every system. */
  name: string;
  path: string;
  /** The path's bytes, where its name is no UTF-8 and no text can name it. */
  raw?: Buffer;
  bytes: number;
  /** Milliseconds. */
  modified: number;
}

/** Something of a source that is not used, and why; `names` are the first few. */
export interface LeftOut {
  why: string;
  count: number;
  names: string[];
}

const namedAtMost = 3;

/** Collects what is left out, by the reason. */
export function leavingOut(): { list: LeftOut[]; add(name: string, why: string): void } {
  const byReason = new Map<string, LeftOut>();
  const list: LeftOut[] = [];
  return {
    list,
    add(name, why) {
      const known = byReason.get(why) ?? { why, count: 0, names: [] };
      if (known.count === 0) list.push(known);
      byReason.set(why, known);
      if (++known.count <= namedAtMost) known.names.push(name);
    },
  };
}

export interface Source {
  /** What a user would call it, for a data set's name. */
  name: string;
  /** What it was taken for, such as "a folder of images". */
  format: string;
  /** Which folders, files, columns or arrays are read for what, a few words each. */
  taken: string[];
  leftOut: LeftOut[];
  classes: string[];
  notes: string[];
  /** How many images it says it has in each part; without a part of its own to hold out, that is 0. */
  count: { train: number; heldOut: number };
  /** What its held-out images are called there, such as `test/`. */
  heldOutName?: string;
  /** The shape of all images, where one is known without looking at each. */
  shape?: Shape;
  /** In an order that is the same on every machine. May be called several times. */
  images: () => AsyncIterable<SourceImage>;
}

export interface SourceImage {
  /** Unique in most sources; decides, with nothing else, on which side of the split an image falls. */
  name: string;
  label: number;
  heldOut: boolean;
  picture: Picture;
  /** Why it cannot be used, to go after its name; then the label means nothing. */
  unusable?: string;
}

/** Sorting by code units: unlike the order of a locale it is the same on every machine. */
export const byName = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

/** `train` without what it holds out itself, and with all of `heldOut` as the part held out; classes go by name. */
export function withHeldOut(train: Source, heldOut: Source, where: string): Source {
  if (heldOut.count.heldOut)
    throw new UserError(
      `${where}: it has a held-out part of its own (${heldOut.heldOutName}); name the part to hold out itself`,
    );
  // A folder without classes is one class by the folder's name, which is another one for each part.
  const unlabelled = train.classes.length === 1 && heldOut.classes.length === 1;
  const labels = heldOut.classes.map((name) => (unlabelled ? 0 : train.classes.indexOf(name)));
  const unknown = heldOut.classes.filter((_, label) => labels[label] < 0);
  if (unknown.length)
    throw new UserError(
      `${where}: the training images have no class "${unknown[0]}" (they have ${listed(train.classes)}); the classes of both parts must agree`,
    );
  const first = trainOnly(train);
  return {
    ...first,
    taken: [...first.taken, ...heldOut.taken.map((one) => `${one} (${where})`)],
    leftOut: [...first.leftOut, ...heldOut.leftOut],
    notes: [...first.notes, ...heldOut.notes],
    count: { train: first.count.train, heldOut: heldOut.count.train },
    heldOutName: where,
    shape: sameShape(train.shape, heldOut.shape) ? train.shape : undefined,
    async *images() {
      yield* first.images();
      for await (const image of heldOut.images()) yield { ...image, label: labels[image.label], heldOut: true };
    },
  };
}

/** The source without what it holds out itself. */
export const trainOnly = ({ heldOutName, ...source }: Source): Source => ({
  ...source,
  notes: heldOutName === undefined ? source.notes : [...source.notes, `the part ${heldOutName} is left aside`],
  count: { train: source.count.train, heldOut: 0 },
  async *images() {
    for await (const image of source.images()) if (!image.heldOut) yield image;
  },
});

const sameShape = (a: Shape | undefined, b: Shape | undefined) =>
  a?.width === b?.width && a?.height === b?.height && a?.channels === b?.channels;

/** The parts that published data sets are cut into. `validation` comes first, so that a test set stays untouched. */
export const heldOutParts = ["validation", "valid", "val", "dev", "test", "t10k", "testing"] as const;

const partPattern = new RegExp(
  `^(train|training|${heldOutParts.join("|")})([-_ ]?(set|data|images?|imgs?|split|batch))?$`,
  "i",
);

/** The part that a folder's or a file's name stands for: `training_set` is "train". */
export function partNamed(name: string): string | undefined {
  const part = partPattern.exec(name)?.[1].toLowerCase();
  return part === "training" ? "train" : part;
}

/** Of the names of parts that are there, the one to hold out, and a note on those that are then not used. */
export function chosenPart(there: readonly string[]): { part: string | undefined; notes: string[] } {
  const [part, ...unused] = heldOutParts.filter((name) => there.includes(name));
  const notes = unused.map((name) => `the part ${name} is left aside`);
  return { part, notes };
}

/** Names in a sentence; a long list is cut. */
export const listed = (names: readonly string[]): string => {
  const some = (names.length > 8 ? names.slice(0, 6) : names).map((name) => shown(name, 60)).join(", ");
  return names.length > 8 ? `${some} and ${names.length - 6} more` : some;
};
