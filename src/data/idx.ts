/** IDX files, as MNIST and its relatives come: images and labels in a file each. Knows nothing of what is done with them. */

import { basename, dirname, resolve } from "node:path";
import { product } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { reading } from "../files/regular.ts";
import { type ByteReader, fileAt, listFolder, openBytes } from "./files.ts";
import { classesOf } from "./labels.ts";
import { type Found, heldOutParts, type Source, type SourceFile } from "./source.ts";

/** `train-images-idx3-ubyte`, `.idx3-ubyte`, packed or not, perhaps with a name before it as in EMNIST. */
const imagesName = /^(?<set>.*?)(?<part>train|t10k|test)-images[-.]idx[34]-ubyte(\.gz)?$/;

/** The images of one part and its labels, where there are any. */
interface IdxPart {
  images: SourceFile;
  labels?: SourceFile;
  heldOut: boolean;
}

/** A folder with `train-images…` and perhaps `t10k-images…`; undefined when it holds no such file. */
export async function findIdxFolder(folder: string): Promise<Found | undefined> {
  const { files } = await listFolder(folder);
  const parts = new Map<string, IdxPart>();
  const sets = new Set<string>();
  for (const images of files) {
    const match = imagesName.exec(images.name)?.groups;
    // Sorted by name, the unpacked file comes before the packed one.
    if (!match || parts.has(match.set + match.part)) continue;
    sets.add(match.set);
    const heldOut = heldOutParts.some((name) => name === match.part);
    parts.set(match.set + match.part, { images, labels: labelsBeside(images, files), heldOut });
  }
  if (sets.size === 0) return undefined;
  const all = [...parts.values()];
  if (sets.size > 1 || all.filter(({ heldOut }) => heldOut).length > 1)
    throw new UserError(
      `${folder}: it holds several data sets (${all.map(({ images }) => images.name).join(", ")}); name the file of training images itself`,
    );
  if (!all.some(({ heldOut }) => !heldOut))
    throw new UserError(
      `${folder}: it holds ${all[0].images.name} but no train-images-idx3-ubyte; add it, or name a file of images itself`,
    );
  return found(basename(resolve(folder)), all);
}

/** One file of images, with the labels file of the same name beside it. */
export async function findIdxFile(path: string): Promise<Found> {
  const images = await fileAt(path);
  const { files } = await listFolder(dirname(path));
  return found(images.name, [{ images, labels: labelsBeside(images, files), heldOut: false }]);
}

function labelsBeside({ name }: SourceFile, files: readonly SourceFile[]): SourceFile | undefined {
  const [start, rest] = name.split("images", 2);
  if (rest === undefined) return undefined;
  const isLabels = (other: string) => other.startsWith(`${start}labels`) && /labels[-.]idx1-ubyte(\.gz)?$/.test(other);
  return files.find((file) => isLabels(file.name));
}

function found(name: string, parts: IdxPart[]): Found {
  const ordered = parts.sort((a, b) => Number(a.heldOut) - Number(b.heldOut));
  return {
    files: ordered.flatMap(({ images, labels }) => (labels ? [images, labels] : [images])),
    open: () => openIdx(name, ordered),
  };
}

async function openIdx(name: string, parts: readonly IdxPart[]): Promise<Source> {
  const opened = await Promise.all(parts.map(async (part) => ({ ...part, shape: await readShape(part.images.path) })));
  const { classes, labels } = await readAllLabels(name, opened);
  const [first, ...others] = opened.map(({ shape: [, height, width, channels = 1] }) => ({ width, height, channels }));
  const same = others.every((shape) => Object.entries(first).join() === Object.entries(shape).join());
  const count = (part: boolean) => opened.find(({ heldOut }) => heldOut === part)?.shape[0] ?? 0;
  return {
    name,
    classes,
    format: "IDX files, as MNIST's",
    taken: opened.map(
      ({ images, labels, heldOut }) =>
        `${images.name}: images to ${heldOut ? "hold out" : "train on"}${labels ? `, labels from ${labels.name}` : ", without labels"}`,
    ),
    leftOut: [],
    notes: [],
    count: { train: count(false), heldOut: count(true) },
    heldOutName: opened.find(({ heldOut }) => heldOut)?.images.name,
    shape: same ? first : undefined,
    async *images() {
      for (const [at, { images, heldOut }] of opened.entries())
        for await (const { data, index, shape } of imagesOf(images.path)) {
          const [height, width, channels = 1] = shape;
          const name = `${images.name}/${index}`;
          yield {
            name,
            label: labels[at][index] ?? 0,
            heldOut,
            picture: { pixels: { data, width, height, channels } },
          };
        }
    },
  };
}

async function* imagesOf(path: string) {
  const { bytes, shape } = await openIdxFile(path, { kind: "images" });
  try {
    const [count, ...each] = shape;
    for (let index = 0; index < count; index++) {
      const data = await reading(path, () => bytes.take(product(each)));
      if (data.length < product(each))
        throw new UserError(`${path}: it ends in image ${index} of ${count}; fetch it again`);
      yield { data, index, shape: each };
    }
    if ((await reading(path, () => bytes.take(1))).length)
      throw new UserError(`${path}: bytes follow after its ${count} images; fetch it again`);
  } finally {
    await bytes.close();
  }
}

type Opened = IdxPart & { shape: number[] };

async function readAllLabels(
  name: string,
  parts: readonly Opened[],
): Promise<{ classes: string[]; labels: Int32Array[] }> {
  if (!parts.some(({ labels }) => labels)) return { classes: [name], labels: parts.map(() => new Int32Array()) };
  return classesOf(
    await Promise.all(parts.map(async (part) => ({ values: await readLabels(part), where: part.labels!.path }))),
  );
}

async function readLabels({ images, labels, shape: [count] }: Opened): Promise<Uint8Array> {
  if (!labels)
    throw new UserError(`${images.path}: there is no file of labels beside it, as the other part has; add it`);
  const { bytes, shape } = await openIdxFile(labels.path, { kind: "labels" });
  try {
    if (shape[0] !== count)
      throw new UserError(
        `${labels.path}: ${shape[0]} labels, but ${images.name} has ${count} images; fetch both again`,
      );
    const values = await reading(labels.path, () => bytes.take(count));
    if (values.length < count)
      throw new UserError(`${labels.path}: it ends after ${values.length} of ${count} labels; fetch it again`);
    return values;
  } finally {
    await bytes.close();
  }
}

type Kind = "images" | "labels";

async function readShape(path: string): Promise<number[]> {
  const { bytes, shape } = await openIdxFile(path, { kind: "images" });
  await bytes.close();
  return shape;
}

/** The header: two zeros, the type of the values, the number of sizes, the sizes (big-endian). Then come the values. */
async function openIdxFile(path: string, { kind }: { kind: Kind }): Promise<{ bytes: ByteReader; shape: number[] }> {
  const bytes = await openBytes(path);
  try {
    const [zero, alsoZero, type, sizes] = await reading(path, () => bytes.take(4));
    if (zero !== 0 || alsoZero !== 0 || !(sizes > 0))
      throw new UserError(`${path}: this is no IDX file, which begins with two zero bytes; fetch it again`);
    if (type !== 8)
      throw new UserError(`${path}: its values are ${types[type] ?? `of type ${type}`}, expected unsigned bytes (8)`);
    const expected = kind === "images" ? [3, 4] : [1];
    if (!expected.includes(sizes))
      throw new UserError(
        `${path}: it has ${sizes} sizes, but a file of ${kind} has ${expected.join(" or ")}; is it another file?`,
      );
    const header = await reading(path, () => bytes.take(4 * sizes));
    if (header.length < 4 * sizes) throw new UserError(`${path}: it ends in its header; fetch it again`);
    const shape = Array.from({ length: sizes }, (_, i) => header.readUInt32BE(4 * i));
    if (sizes === 4 && !(shape[3] >= 1 && shape[3] <= 4))
      throw new UserError(
        `${path}: its images are [${shape.join(", ")}], expected [N, height, width, 1 to 4 channels]`,
      );
    if (kind === "images" && shape[1] * shape[2] > limits.pixels)
      throw new UserError(
        `${path}: its images have ${shape[2]}x${shape[1]} pixels, at most ${limits.pixels} are read; is it another file?`,
      );
    if (kind === "labels" && shape[0] > limits.arrayBytes)
      throw new UserError(
        `${path}: it claims ${shape[0]} labels, at most ${limits.arrayBytes} are read; fetch it again`,
      );
    return { bytes, shape };
  } catch (error) {
    await bytes.close();
    throw error;
  }
}

const types: Record<number, string> = { 9: "signed bytes", 11: "int16", 12: "int32", 13: "float32", 14: "float64" };
