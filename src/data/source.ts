/** The common interface of all sources: a stream of images with names and labels. Knows nothing of any one kind. */

import { UserError } from "../core/errors.ts";
import { listed } from "../core/text.ts";
import type { Picture, PictureShape } from "./picture.ts";

/** A recognised source; its files have been listed but not read. */
export interface Found {
  /** All its files: as long as none of them changes, neither do the images. */
  files: SourceFile[];
  open: () => Promise<Source>;
}

export interface SourceFile {
  /** Relative to the source, with `/` on every system. */
  name: string;
  path: string;
  /** The path's bytes, if its name is not valid UTF-8 and cannot be written as text. */
  raw?: Buffer;
  bytes: number;
  /** Milliseconds. */
  modified: number;
}

/** Unused items of a source and the reason; `names` are the first few. */
export interface LeftOut {
  why: string;
  count: number;
  names: string[];
}

const namedAtMost = 3;

/** Collects unused items by reason. */
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
  /** A name that a user would recognise, used as the data set's name. */
  name: string;
  /** The recognised format, such as "a folder of images". */
  format: string;
  /** Which folders, files, columns or arrays are used for what, a few words each. */
  taken: string[];
  leftOut: LeftOut[];
  classes: string[];
  notes: string[];
  /** The number of images it claims to have in each part; `heldOut` is 0 if it has no held-out part of its own. */
  count: { train: number; heldOut: number };
  /** The source's name for its held-out part, such as `test/`. */
  heldOutName?: string;
  /** The shape of all images, if it is known without examining each. */
  shape?: PictureShape;
  /** Streams the images in an order that is the same on every machine. May be called several times. */
  images: () => AsyncIterable<SourceImage>;
}

export interface SourceImage {
  /** Unique in most sources; it alone decides in which split an image falls. */
  name: string;
  label: number;
  heldOut: boolean;
  picture: Picture;
  /** Why it cannot be used, phrased to follow its name; the label is then meaningless. */
  unusable?: string;
}

/** Compares by code units: unlike a locale's order, it is the same on every machine. */
export const byName = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

/** Combines the training images of `train` with all of `heldOut` as the held-out set; classes are matched by name. */
export function withHeldOut(train: Source, heldOut: Source, where: string): Source {
  if (heldOut.count.heldOut)
    throw new UserError({
      subject: where,
      problem: `it has a held-out part of its own (${heldOut.heldOutName})`,
      hint: "give the path of the part to hold out instead",
    });
  // A folder without classes is a single class named after the folder, so its name differs between the parts.
  const unlabelled = train.classes.length === 1 && heldOut.classes.length === 1;
  const labels = heldOut.classes.map((name) => (unlabelled ? 0 : train.classes.indexOf(name)));
  const unknown = heldOut.classes.filter((_, label) => labels[label] < 0);
  if (unknown.length)
    throw new UserError({
      subject: where,
      problem: `the training images have no class "${unknown[0]}" (they have ${listed(train.classes)})`,
      hint: "give both parts the same classes",
    });
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

/** The source without its own held-out part. */
export const trainOnly = ({ heldOutName, ...source }: Source): Source => ({
  ...source,
  notes: heldOutName === undefined ? source.notes : [...source.notes, `the part ${heldOutName} is not used`],
  count: { train: source.count.train, heldOut: 0 },
  async *images() {
    for await (const image of source.images()) if (!image.heldOut) yield image;
  },
});

const sameShape = (a: PictureShape | undefined, b: PictureShape | undefined) =>
  a?.width === b?.width && a?.height === b?.height && a?.channels === b?.channels;

/** The usual held-out parts of published data sets. `validation` comes first, so that a test set stays untouched. */
export const heldOutParts = ["validation", "valid", "val", "dev", "test", "t10k", "testing"] as const;

const partPattern = new RegExp(
  `^(train|training|${heldOutParts.join("|")})([-_ ]?(set|data|images?|imgs?|split|batch))?$`,
  "i",
);

/** The part that a folder's or file's name refers to: `training_set` is "train". */
export function partNamed(name: string): string | undefined {
  const part = partPattern.exec(name)?.[1].toLowerCase();
  return part === "training" ? "train" : part;
}

/** Chooses the part to hold out from the names of the existing parts, with a note on each unused one. */
export function chosenPart(there: readonly string[]): { part: string | undefined; notes: string[] } {
  const [part, ...unused] = heldOutParts.filter((name) => there.includes(name));
  const notes = unused.map((name) => `the part ${name} is not used`);
  return { part, notes };
}
