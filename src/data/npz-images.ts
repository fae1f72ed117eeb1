/** Finds images and labels in a NumPy archive by their usual names. Knows nothing of zip or of how they are used. */

import { parse } from "node:path";
import { product } from "../core/arrays.ts";
import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import { listed, shown } from "../core/text.ts";
import { pathText } from "../files/regular.ts";
import { type ArrayLayout, layoutOf, pixelsOf, rangeOf, type Scale, scaleOf } from "./array-images.ts";
import { fileAt } from "./files.ts";
import { classesOf } from "./labels.ts";
import { itemBytes, type NpyHeader, valueBytes } from "./npy.ts";
import { type Npz, openNpz } from "./npz.ts";
import { chosenPart, type Found, leavingOut, type Source } from "./source.ts";

/** Names of image arrays by part: ADM's samples, common ones, CIFAR's and ImageNet32's, Keras's, MedMNIST's. */
const layouts: Record<string, string>[] = [
  ...["arr_0", "images", "image", "imgs", "x", "X", "data", "samples"].map((train) => ({ train })),
  { train: "x_train", test: "x_test", val: "x_val" },
  { train: "X_train", test: "X_test", val: "X_val" },
  { train: "train_images", test: "test_images", val: "val_images" },
];

/** Names of label arrays, for images of any name; those for one part have its name as a prefix or suffix. */
const labelNames = "arr_1 labels label y Y targets target classes class cls fine_labels".split(" ");
const labelsOfPart: Record<string, string[]> = Object.fromEntries(
  ["train", "test", "val"].map((part) => [
    part,
    ["y", "Y", "labels", "label", "targets", "target"].flatMap((name) => [`${name}_${part}`, `${part}_${name}`]),
  ]),
);

interface ArrayPart {
  name: string;
  heldOut: boolean;
  images: string;
  header: NpyHeader;
  layout: ArrayLayout;
  /** How values are converted to bytes, if they are not bytes. */
  scale?: Scale;
  labels?: string;
}

export async function findNpz(path: string): Promise<Found> {
  return { files: [await fileAt(path)], open: () => openNpzImages(path) };
}

/** The images of one archive. */
export async function openNpzImages(path: string): Promise<Source> {
  const npz = await openNpz(path);
  const where = pathText(path);
  try {
    const { parts, notes } = await partsOf(npz);
    const raw = await Promise.all(parts.map((part) => part.labels && readLabels(npz, part)));
    const labelled = raw.every(Boolean);
    if (!labelled && raw.some(Boolean))
      throw new UserError({
        subject: where,
        problem: `only one of its parts (${parts.map(({ images }) => images).join(", ")}) has labels`,
        hint: "save labels for both",
      });
    const { name } = parse(path);
    const { classes, labels } = labelled
      ? classesOf(
          raw.map((values, i) => ({ values: values as ArrayLike<number>, where: `${where}: ${parts[i].labels}` })),
        )
      : { classes: [name], labels: parts.map(() => new Int32Array()) };
    const shapes = parts.map(({ layout: { width, height, channels } }) => ({ width, height, channels }));
    const count = (held: boolean) => parts.find(({ heldOut }) => heldOut === held)?.layout.count ?? 0;
    return {
      name,
      format: "a NumPy archive",
      taken: parts.map(takenOf),
      leftOut: unused(npz, parts),
      classes,
      notes,
      count: { train: count(false), heldOut: count(true) },
      heldOutName: parts.find(({ heldOut }) => heldOut)?.images,
      shape: new Set(shapes.map((shape) => Object.values(shape).join())).size === 1 ? shapes[0] : undefined,
      async *images() {
        for (const [at, part] of parts.entries())
          for await (const { bytes, index } of imagesOf(path, part))
            yield {
              name: `${part.name}/${index}`,
              label: labels[at][index] ?? 0,
              heldOut: part.heldOut,
              picture: { pixels: pixelsOf(bytes, part.layout, part) },
            };
      },
    };
  } finally {
    npz.close();
  }
}

function takenOf({ images, heldOut, labels, layout, scale }: ArrayPart): string {
  const how = [layout.note, scale?.note].filter(Boolean).join("; ");
  const use = `${shown(images)}: images to ${heldOut ? "hold out" : "train on"}`;
  return `${use}${how && ` (${how})`}, ${labels ? `labels from ${shown(labels)}` : "without labels"}`;
}

function unused({ names }: Npz, parts: readonly ArrayPart[]) {
  const leaveOut = leavingOut();
  for (const name of names)
    if (!parts.some(({ images, labels }) => images === name || labels === name))
      leaveOut.add(shown(name), "an unused array");
  return leaveOut.list;
}

async function partsOf(npz: Npz): Promise<{ parts: ArrayPart[]; notes: string[] }> {
  const { path, names } = npz;
  const where = pathText(path);
  if (names.length === 0)
    throw new UserError({
      subject: where,
      problem: "this zip contains no NumPy arrays",
      hint: "if it contains images or other files, unpack it and give the folder",
    });
  const headers = new Map<string, NpyHeader>();
  for (const name of names.slice(0, 64)) headers.set(name, await npz.header(name));
  const layout = layouts.find(({ train }) => names.includes(train)) ?? onlyImages(headers);
  if (!layout)
    throw new UserError({
      subject: where,
      expected: "images as arr_0, images, x, x_train or train_images",
      got: `the arrays ${listed(names)}`,
      hint: "save them with numpy.savez(file, images=…, labels=…)",
    });
  const there = Object.keys(layout).filter((name) => names.includes(layout[name]));
  const { part: heldOut, notes } = chosenPart(there);
  const parts: ArrayPart[] = [];
  for (const name of heldOut ? ["train", heldOut] : ["train"]) {
    const images = layout[name];
    const header = headers.get(images) ?? (await npz.header(images));
    const at = `${where}: ${shown(images)}`;
    if (header.fortranOrder)
      throw new UserError({
        subject: at,
        problem: "it is in Fortran order, which is not supported for images",
        hint: "save it with numpy.ascontiguousarray",
      });
    const arranged = layoutOf(header, at);
    const scale = header.type === "u1" ? undefined : await scaled(npz, images, header);
    const labels = labelsFor({ name, several: Object.keys(layout).length > 1, count: arranged.count }, headers, images);
    parts.push({ name, heldOut: name === heldOut, images, header, layout: arranged, scale, labels });
  }
  return { parts, notes };
}

/** The only array that could be images, whatever its name. */
function onlyImages(headers: ReadonlyMap<string, NpyHeader>): Record<string, string> | undefined {
  const shaped = [...headers].filter(
    ([, { shape, type }]) => (shape.length === 4 || (shape.length === 3 && type === "u1")) && shape[0] > 0,
  );
  return shaped.length === 1 ? { train: shaped[0][0] } : undefined;
}

/** Labels by a usual name, otherwise the only integer array with one value per image. */
function labelsFor(
  { name, several, count }: { name: string; several: boolean; count: number },
  headers: ReadonlyMap<string, NpyHeader>,
  images: string,
): string | undefined {
  const usual = several ? labelsOfPart[name] : labelNames;
  const named = usual.find((one) => headers.has(one) && one !== images);
  if (named !== undefined || several) return named;
  const fitting = [...headers].filter(
    ([, { shape, type }]) => shape[0] === count && product(shape) === count && /^[iu]/.test(type),
  );
  return fitting.length === 1 ? fitting[0][0] : undefined;
}

/** Reads all values once to find their range, if they are not bytes. */
async function scaled(npz: Npz, name: string, header: NpyHeader): Promise<Scale> {
  if (header.type === "b1") return { note: "false is black, true is white", toByte: (value) => 255 * value };
  const where = `${pathText(npz.path)}: ${shown(name)}`;
  const { bytes } = await npz.values(name);
  const total = valueBytes(header);
  if (total === 0) return { toByte: (value) => value };
  async function* pieces() {
    const step = itemBytes(header.type) << 16;
    for (let at = 0; at < total; at += step) yield await bytes.take(Math.min(step, total - at));
  }
  try {
    return scaleOf(await rangeOf(pieces(), header, where), where);
  } finally {
    await bytes.close();
  }
}

async function readLabels(
  npz: Npz,
  { labels, images, layout: { count } }: ArrayPart,
): Promise<ArrayLike<number | bigint>> {
  const where = `${pathText(npz.path)}: ${shown(labels)}`;
  const { type, shape } = await npz.header(labels!);
  if (!/^[iu]/.test(type))
    throw new UserError({
      subject: where,
      problem: `its values are ${type}`,
      expected: "whole numbers (int64 or another int)",
    });
  if (shape[0] !== count)
    throw new UserError({
      subject: where,
      problem: `${counted(shape[0] ?? 0, "label")}, but ${images} has ${counted(count, "image")}`,
      hint: "save one label for each image",
    });
  if (product(shape) !== count)
    throw new UserError({
      subject: where,
      problem: `its shape is [${shape.join(", ")}]`,
      expected: `[${count}], one number for each image`,
    });
  return (await npz.read(labels!)).data;
}

async function* imagesOf(path: string, { images, layout: { count, values }, header }: ArrayPart) {
  const npz = await openNpz(path);
  try {
    const { bytes } = await npz.values(images);
    const each = values * itemBytes(header.type);
    try {
      for (let index = 0; index < count; index++) {
        const image = await bytes.take(each);
        if (image.length < each)
          throw new UserError({
            subject: pathText(path),
            problem: `${shown(images)} ends in image ${index} of ${count}`,
            hint: "save or download the file again",
          });
        yield { bytes: image, index };
      }
      // The checksum is verified at the end.
      if ((await bytes.take(1)).length > 0)
        throw new UserError({
          subject: pathText(path),
          problem: `${shown(images)} has extra bytes after its ${count} images`,
          hint: "save or download the file again",
        });
    } finally {
      await bytes.close();
    }
  } finally {
    npz.close();
  }
}
