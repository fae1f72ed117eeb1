/**
 * CIFAR-10, CIFAR-100 and ImageNet32 as published: batches of 32x32 images, binary or pickled, in a folder or in the
 * original archive. Knows nothing of how the images are used.
 * Formats: https://www.cs.toronto.edu/~kriz/cifar.html, https://patrykchrabaszcz.github.io/Imagenet32/
 */

import { UserError } from "../core/errors.ts";
import { listed } from "../core/text.ts";
import { pathText } from "../files/regular.ts";
import { filesOfFolder, filesOfTar, type NamedFiles } from "./archive.ts";
import { type ArrayLayout, layoutOf, pixelsOf } from "./array-images.ts";
import { fileAt, listFolder } from "./files.ts";
import { classesOf } from "./labels.ts";
import { arrayIn, numbersIn, readBatch, textsIn } from "./pickled-batch.ts";
import { type Found, leavingOut, type Source } from "./source.ts";

interface CifarBatch {
  layout: ArrayLayout;
  labels: ArrayLike<number>;
  /** The bytes of all images, concatenated. */
  data: Uint8Array;
}

interface Layout {
  name: string;
  train: RegExp;
  heldOut: RegExp;
  /** The file of class names, and how to read it. */
  names?: { file: string; read: (bytes: Uint8Array, where: string) => string[] | undefined };
  note?: string;
  read: (bytes: Uint8Array, where: string) => CifarBatch;
}

const lines = (bytes: Uint8Array): string[] =>
  Buffer.from(bytes)
    .toString("utf8")
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter(Boolean);
const pickledNames = (file: string, key: string): Layout["names"] => ({
  file,
  read: (bytes, where) => textsIn(readBatch(bytes, where), key),
});
const ofFine = "the fine labels are used, not the coarse ones";

/** One row for each published format. */
const layouts: readonly Layout[] = [
  {
    name: "CIFAR-10's binary batches",
    train: /^data_batch_\d+\.bin$/,
    heldOut: /^test_batch\.bin$/,
    names: { file: "batches.meta.txt", read: lines },
    read: (bytes, where) => binary(bytes, where, { labels: 1, label: 0 }),
  },
  {
    name: "CIFAR-100's binary batches",
    train: /^train\.bin$/,
    heldOut: /^test\.bin$/,
    names: { file: "fine_label_names.txt", read: lines },
    note: ofFine,
    read: (bytes, where) => binary(bytes, where, { labels: 2, label: 1 }),
  },
  {
    name: "CIFAR-10's pickled batches",
    train: /^data_batch_\d+$/,
    heldOut: /^test_batch$/,
    names: pickledNames("batches.meta", "label_names"),
    read: (bytes, where) => pickled(bytes, where, ["labels"]),
  },
  {
    name: "ImageNet32's pickled batches",
    train: /^train_data_batch_\d+$/,
    heldOut: /^val_data$/,
    read: (bytes, where) => pickled(bytes, where, ["labels"]),
  },
  {
    name: "CIFAR-100's pickled batches",
    train: /^train$/,
    heldOut: /^test$/,
    names: pickledNames("meta", "fine_label_names"),
    note: ofFine,
    read: (bytes, where) => pickled(bytes, where, ["fine_labels", "labels"]),
  },
];

const recordImage = 3072;

function binary(
  bytes: Uint8Array,
  where: string,
  { labels: count, label }: { labels: number; label: number },
): CifarBatch {
  const record = count + recordImage;
  if (bytes.length === 0 || bytes.length % record !== 0)
    throw new UserError({
      subject: where,
      problem: `it has ${bytes.length} bytes`,
      expected: `a multiple of ${record}`,
      hint: "download the file again",
    });
  const images = bytes.length / record;
  const data = new Uint8Array(images * recordImage);
  const labels = new Uint8Array(images);
  for (let i = 0; i < images; i++) {
    labels[i] = bytes[i * record + label];
    data.set(bytes.subarray(i * record + count, (i + 1) * record), i * recordImage);
  }
  return { layout: layoutOf({ shape: [images, recordImage], type: "u1" }, where), labels, data };
}

function pickled(bytes: Uint8Array, where: string, keys: readonly string[]): CifarBatch {
  const batch = readBatch(bytes, where);
  const { header, bytes: data } = arrayIn(batch, "data", where);
  if (header.type !== "u1" || header.fortranOrder)
    throw new UserError({
      subject: where,
      problem: `its data are ${header.type}${header.fortranOrder ? " in Fortran order" : ""}`,
      expected: "bytes (u1) in row-major order",
    });
  const layout = layoutOf(header, where);
  const labels = numbersIn(batch, keys, where);
  if (labels.length !== layout.count)
    throw new UserError({
      subject: where,
      problem: `${labels.length} labels, but ${layout.count} images`,
      hint: "download the file again",
    });
  return { layout, labels, data };
}

/** The layout that matches these files: training batches and, if their name is ambiguous, other files of the layout. */
function layoutFor(names: readonly string[]): Layout | undefined {
  return layouts.find(
    ({ train, heldOut, names: known }) =>
      names.some((name) => train.test(name)) &&
      (train.source !== "^train$" || names.some((name) => heldOut.test(name) || name === known?.file)),
  );
}

/** Finds batches in a folder or, as archives unpack, in its only subfolder; undefined if there are none. */
export async function findBatchFolder(folder: string): Promise<Found | undefined> {
  const { files, folders } = await listFolder(folder);
  const layout = layoutFor(files.map(({ name }) => name));
  if (layout) {
    const found = await filesOfFolder(folder);
    const own = found.files.filter(
      ({ name }) => layout.train.test(name) || layout.heldOut.test(name) || name === layout.names?.file,
    );
    return { files: own, open: () => openBatches(found, layout) };
  }
  return files.length === 0 && folders.length === 1 ? findBatchFolder(folders[0].path) : undefined;
}

/** Opens the published archive. */
export async function findTar(path: string): Promise<Found> {
  return {
    files: [await fileAt(path)],
    async open() {
      const found = await filesOfTar(path);
      const layout = layoutFor(found.names);
      if (!layout)
        throw new UserError({
          subject: pathText(path),
          problem: `this archive of ${found.names.length} files (${listed(found.names)}) is not CIFAR-10 or CIFAR-100, the only data sets read from an archive`,
          hint: "unpack it and give the folder",
        });
      return openBatches(found, layout);
    },
  };
}

/** Opens a single batch file; undefined if it does not have the name of a batch. */
export async function findBatchFile(path: string): Promise<Found | undefined> {
  const file = await fileAt(path);
  const layout = layouts.find(({ train, heldOut }) => train.test(file.name) || heldOut.test(file.name));
  if (!layout) return undefined;
  return {
    files: [file],
    async open() {
      const found = await filesOfFolder(path.slice(0, path.length - file.name.length) || ".");
      const only = { ...layout, train: exactly(file.name), heldOut: exactly("") };
      return openBatches({ ...found, name: file.name, names: found.names.filter(isOneOf(file.name, layout)) }, only);
    },
  };
}

const exactly = (name: string): RegExp => new RegExp(`^${name.replace(/[.$^]/g, "\\$&")}$`);
const isOneOf =
  (name: string, { names }: Layout) =>
  (one: string) =>
    one === name || one === names?.file;

const byNumber = (a: string, b: string): number => a.localeCompare(b, "en", { numeric: true });

async function openBatches(found: NamedFiles, layout: Layout): Promise<Source> {
  const { names, where } = found;
  const train = names.filter((name) => layout.train.test(name)).sort(byNumber);
  const heldOut = names.filter((name) => layout.heldOut.test(name)).sort(byNumber);
  const all = [...train, ...heldOut];
  const parts: { labels: ArrayLike<number>; layout: ArrayLayout }[] = [];
  for (const name of all) {
    const { labels, layout: arranged } = layout.read(await found.read(name), where(name));
    parts.push({ labels, layout: arranged });
  }
  const file = layout.names?.file;
  const named =
    file !== undefined && names.includes(file) ? layout.names!.read(await found.read(file), where(file)) : undefined;
  const { classes, labels } = classesOf(
    parts.map(({ labels: values }, i) => ({ values, where: where(all[i]) })),
    named,
  );
  const leaveOut = leavingOut();
  for (const name of names) if (!all.includes(name) && name !== file) leaveOut.add(name, "not a batch of images");
  const count = (from: number, to: number) => parts.slice(from, to).reduce((sum, part) => sum + part.layout.count, 0);
  const shapes = new Set(parts.map(({ layout: { width, height, channels } }) => [width, height, channels].join()));
  const { width, height, channels } = parts[0].layout;
  return {
    name: found.name,
    format: layout.name,
    taken: [
      `${listed(train)}: images to train on`,
      ...(heldOut.length > 0 ? [`${listed(heldOut)}: images to hold out`] : []),
      ...(named ? [`${file}: names of the classes`] : []),
    ],
    leftOut: [...found.leftOut, ...leaveOut.list],
    classes,
    notes: layout.note ? [layout.note] : [],
    count: { train: count(0, train.length), heldOut: count(train.length, all.length) },
    heldOutName: heldOut.length > 0 ? heldOut.join(", ") : undefined,
    shape: shapes.size === 1 ? { width, height, channels } : undefined,
    async *images() {
      for (const [at, name] of all.entries()) {
        const { layout: arranged, data } = layout.read(await found.read(name), where(name));
        for (let index = 0; index < arranged.count; index++) {
          const bytes = data.subarray(index * arranged.values, (index + 1) * arranged.values);
          yield {
            name: `${name}/${index}`,
            label: labels[at][index],
            heldOut: at >= train.length,
            picture: { pixels: pixelsOf(bytes, arranged, { header: { type: "u1", bigEndian: false } }) },
          };
        }
      }
    },
  };
}
