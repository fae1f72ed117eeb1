/**
 * IDX files, the format of MNIST and its relatives: one file of images and one of labels. Knows nothing of their use.
 */

import { basename, dirname, resolve } from "node:path";
import { product } from "../core/arrays.ts";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { reading } from "../files/regular.ts";
import { type ByteReader, fileAt, listFolder, openBytes } from "./files.ts";
import { classesOf } from "./labels.ts";
import { type Found, heldOutParts, type Source, type SourceFile } from "./source.ts";

/** `train-images-idx3-ubyte` or `.idx3-ubyte`, compressed or not, possibly with a name in front as in EMNIST. */
const imagesName = /^(?<set>.*?)(?<part>train|t10k|test)-images[-.]idx[34]-ubyte(\.gz)?$/;

/** The images of one part and its labels, if there are any. */
interface IdxPart {
  images: SourceFile;
  labels?: SourceFile;
  heldOut: boolean;
}

/** Finds `train-images…` and possibly `t10k-images…` in a folder; undefined if it contains no such file. */
export async function findIdxFolder(folder: string): Promise<Found | undefined> {
  const { files } = await listFolder(folder);
  const parts = new Map<string, IdxPart>();
  const sets = new Set<string>();
  for (const images of files) {
    const match = imagesName.exec(images.name)?.groups;
    // Sorted by name, the uncompressed file comes before the compressed one.
    if (!match || parts.has(match.set + match.part)) continue;
    sets.add(match.set);
    const heldOut = heldOutParts.some((name) => name === match.part);
    parts.set(match.set + match.part, { images, labels: labelsBeside(images, files), heldOut });
  }
  if (sets.size === 0) return undefined;
  const all = [...parts.values()];
  if (sets.size > 1 || all.filter(({ heldOut }) => heldOut).length > 1)
    throw new UserError({
      subject: folder,
      problem: `it contains several data sets (${all.map(({ images }) => images.name).join(", ")})`,
      hint: "give the path of one file of training images",
    });
  if (!all.some(({ heldOut }) => !heldOut))
    throw new UserError({
      subject: folder,
      problem: `it contains ${all[0].images.name} but no train-images-idx3-ubyte`,
      hint: "add it, or give the path of one file of images",
    });
  return found(basename(resolve(folder)), all);
}

/** Finds one file of images and the matching file of labels next to it. */
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
    format: "IDX files, like MNIST's",
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
        throw new UserError({
          subject: path,
          problem: `it ends in image ${index} of ${count}`,
          hint: "download it again",
        });
      yield { data, index, shape: each };
    }
    if ((await reading(path, () => bytes.take(1))).length)
      throw new UserError({
        subject: path,
        problem: `it has extra bytes after its ${count} images`,
        hint: "download it again",
      });
  } finally {
    await bytes.close();
  }
}

type OpenedPart = IdxPart & { shape: number[] };

async function readAllLabels(
  name: string,
  parts: readonly OpenedPart[],
): Promise<{ classes: string[]; labels: Int32Array[] }> {
  if (!parts.some(({ labels }) => labels)) return { classes: [name], labels: parts.map(() => new Int32Array()) };
  return classesOf(
    await Promise.all(parts.map(async (part) => ({ values: await readLabels(part), where: part.labels!.path }))),
  );
}

async function readLabels({ images, labels, shape: [count] }: OpenedPart): Promise<Uint8Array> {
  if (!labels)
    throw new UserError({
      subject: images.path,
      problem: "it has no file of labels next to it, but the other part has one",
      hint: "add it",
    });
  const { bytes, shape } = await openIdxFile(labels.path, { kind: "labels" });
  try {
    if (shape[0] !== count)
      throw new UserError({
        subject: labels.path,
        problem: `${shape[0]} labels, but ${images.name} has ${count} images`,
        hint: "download both again",
      });
    const values = await reading(labels.path, () => bytes.take(count));
    if (values.length < count)
      throw new UserError({
        subject: labels.path,
        problem: `it ends after ${values.length} of ${count} labels`,
        hint: "download it again",
      });
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

/** Reads the header: two zeros, the value type, the number of dimensions, the sizes (big-endian). The values follow. */
async function openIdxFile(path: string, { kind }: { kind: Kind }): Promise<{ bytes: ByteReader; shape: number[] }> {
  const bytes = await openBytes(path);
  try {
    const [zero, alsoZero, type, sizes] = await reading(path, () => bytes.take(4));
    if (zero !== 0 || alsoZero !== 0 || !(sizes > 0))
      throw new UserError({
        subject: path,
        problem: "not an IDX file, which begins with two zero bytes",
        hint: "check the path",
      });
    if (type !== 8)
      throw new UserError({
        subject: path,
        problem: `its values are ${types[type] ?? `of type ${type}`}`,
        expected: "unsigned bytes (8)",
      });
    const expected = kind === "images" ? [3, 4] : [1];
    if (!expected.includes(sizes))
      throw new UserError({
        subject: path,
        problem: `it has ${sizes} dimensions, but a file of ${kind} has ${expected.join(" or ")}`,
        hint: "check the path",
      });
    const header = await reading(path, () => bytes.take(4 * sizes));
    if (header.length < 4 * sizes)
      throw new UserError({ subject: path, problem: "it ends in its header", hint: "download it again" });
    const shape = Array.from({ length: sizes }, (_, i) => header.readUInt32BE(4 * i));
    if (sizes === 4 && !(shape[3] >= 1 && shape[3] <= 4))
      throw new UserError({
        subject: path,
        problem: `its images are [${shape.join(", ")}]`,
        expected: "[N, height, width, 1 to 4 channels]",
      });
    if (kind === "images" && shape[1] * shape[2] > limits.pixels)
      throw new UserError({
        subject: path,
        problem: `its images have ${shape[2]}x${shape[1]} pixels`,
        expected: `at most ${limits.pixels}`,
        hint: "check the path",
      });
    if (kind === "labels" && shape[0] > limits.arrayBytes)
      throw new UserError({
        subject: path,
        problem: `it claims ${shape[0]} labels`,
        expected: `at most ${limits.arrayBytes}`,
        hint: "download it again",
      });
    return { bytes, shape };
  } catch (error) {
    await bytes.close();
    throw error;
  }
}

const types: Record<number, string> = { 9: "signed bytes", 11: "int16", 12: "int32", 13: "float32", 14: "float64" };
