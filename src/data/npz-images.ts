/** Images and labels in a NumPy archive, under the names that are in use. Knows nothing of zip or of what is done with them. */

import { parse } from "node:path";
import { product } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { fileAt } from "./files.ts";
import { classesOf } from "./labels.ts";
import type { NpyHeader } from "./npy.ts";
import { type Npz, openNpz } from "./npz.ts";
import { chosenPart, type Found, type Source } from "./source.ts";

/** Names of images and labels by part: ADM's samples, plain ones, Keras's, MedMNIST's. */
const layouts: Record<string, [images: string, labels: string]>[] = [
  { train: ["arr_0", "arr_1"] },
  { train: ["images", "labels"] },
  { train: ["x", "y"] },
  { train: ["X", "y"] },
  { train: ["data", "labels"] },
  { train: ["x_train", "y_train"], test: ["x_test", "y_test"], val: ["x_val", "y_val"] },
  { train: ["X_train", "y_train"], test: ["X_test", "y_test"], val: ["X_val", "y_val"] },
  { train: ["train_images", "train_labels"], test: ["test_images", "test_labels"], val: ["val_images", "val_labels"] },
];

interface Part {
  name: string;
  heldOut: boolean;
  images: string;
  shape: number[];
  labels?: string;
}

export async function findNpz(path: string): Promise<Found> {
  return { files: [await fileAt(path)], open: () => openNpzImages(path) };
}

async function openNpzImages(path: string): Promise<Source> {
  const npz = await openNpz(path);
  try {
    const { parts, notes } = await partsOf(npz);
    const raw = await Promise.all(parts.map((part) => part.labels && labelsOf(npz, part)));
    const labelled = raw.every(Boolean);
    if (!labelled && raw.some(Boolean))
      throw new UserError(
        `${path}: only one of its parts (${parts.map(({ images }) => images).join(", ")}) has labels; save them with both`,
      );
    const { name } = parse(path);
    const { classes, labels } = labelled
      ? classesOf(
          raw.map((values, i) => ({ values: values as ArrayLike<number>, where: `${path}: ${parts[i].labels}` })),
        )
      : { classes: [name], labels: parts.map(() => new Int32Array()) };
    const shapes = parts.map(({ shape: [, height, width, channels = 1] }) => ({ width, height, channels }));
    const count = (held: boolean) => parts.find(({ heldOut }) => heldOut === held)?.shape[0] ?? 0;
    return {
      name,
      classes,
      notes,
      count: { train: count(false), heldOut: count(true) },
      heldOutName: parts.find(({ heldOut }) => heldOut)?.images,
      shape: new Set(shapes.map((shape) => Object.values(shape).join())).size === 1 ? shapes[0] : undefined,
      async *images() {
        for (const [at, part] of parts.entries())
          for await (const { data, index } of imagesOf(path, part))
            yield {
              name: `${part.name}/${index}`,
              label: labels[at][index] ?? 0,
              heldOut: part.heldOut,
              picture: { pixels: { data, ...shapes[at] } },
            };
      },
    };
  } finally {
    npz.close();
  }
}

async function partsOf(npz: Npz): Promise<{ parts: Part[]; notes: string[] }> {
  const { path, names } = npz;
  const layout = layouts.find(({ train }) => names.includes(train[0]));
  if (names.length === 0)
    throw new UserError(
      `${path}: this is a zip without NumPy arrays; if it holds images or files of another kind, unpack it and give the folder`,
    );
  if (!layout)
    throw new UserError(
      `${path}: expected images as arr_0, images, x, x_train or train_images, but its arrays are ${names.join(", ")}; save them with numpy.savez(file, images=…, labels=…)`,
    );
  const there = Object.keys(layout).filter((name) => names.includes(layout[name][0]));
  const { part: heldOut, notes } = chosenPart(there);
  const parts: Part[] = [];
  for (const name of heldOut ? ["train", heldOut] : ["train"]) {
    const [images, labels] = layout[name];
    const { shape } = checkImages(await npz.header(images), `${path}: ${images}`);
    parts.push({ name, heldOut: name === heldOut, images, shape, labels: names.includes(labels) ? labels : undefined });
  }
  return { parts, notes };
}

function checkImages(header: NpyHeader, where: string): NpyHeader {
  const { type, shape, fortranOrder } = header;
  const sizes = `[${shape.join(", ")}]`;
  if (type !== "u1")
    throw new UserError(`${where}: its values are ${type}, expected uint8 (0 to 255); save it with .astype("uint8")`);
  const channels = shape[3] ?? 1;
  if ((shape.length === 3 || shape.length === 4) && channels >= 1 && channels <= 4) {
    if (!fortranOrder) return header;
    throw new UserError(
      `${where}: it is in Fortran order, which is not read for images; save it with numpy.ascontiguousarray`,
    );
  }
  const first = shape.length === 4 && shape[1] >= 1 && shape[1] <= 4;
  const hint = first ? "; its channels come first: save it with .transpose(0, 2, 3, 1)" : "";
  throw new UserError(
    `${where}: its shape is ${sizes}, expected [N, height, width] or [N, height, width, 1 to 4 channels]${hint}`,
  );
}

async function labelsOf(npz: Npz, { labels, images, shape: [count] }: Part): Promise<ArrayLike<number | bigint>> {
  const where = `${npz.path}: ${labels}`;
  const { type, shape, data } = await npz.read(labels!);
  if (!/^[iu]/.test(type))
    throw new UserError(`${where}: its values are ${type}, expected whole numbers (int64 or another int)`);
  if (shape[0] !== count)
    throw new UserError(
      `${where}: ${shape[0] ?? 0} labels, but ${images} has ${count} images; save one label for each`,
    );
  if (product(shape) !== count)
    throw new UserError(`${where}: its shape is [${shape.join(", ")}], expected [${count}], one number for each image`);
  return data;
}

async function* imagesOf(path: string, { images, shape: [count, ...each] }: Part) {
  const npz = await openNpz(path);
  try {
    const { bytes } = await npz.values(images);
    try {
      for (let index = 0; index < count; index++) {
        const data = await bytes.take(product(each));
        if (data.length < product(each))
          throw new UserError(`${path}: ${images} ends in image ${index} of ${count}; fetch the file again`);
        yield { data, index };
      }
    } finally {
      await bytes.close();
    }
  } finally {
    npz.close();
  }
}
