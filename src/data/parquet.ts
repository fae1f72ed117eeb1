/** Images in Parquet files as Hugging Face stores them, a row group at a time. Knows nothing of what is done with them. */

import { basename, resolve } from "node:path";
import { asyncBufferFromFile, type FileMetaData, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { UserError } from "../core/errors.ts";
import { fileAt, listFolder, listTree, reading } from "./files.ts";
import { classesOf } from "./labels.ts";
import { type Columns, columnsOf } from "./parquet-columns.ts";
import type { Picture } from "./picture.ts";
import { byName, chosenPart, type Found, heldOutParts, listed, type Source, type SourceFile } from "./source.ts";

const isParquet = ({ name }: SourceFile) => /\.parquet$/i.test(name);

/** A folder with Parquet files in it, or in the folders that Hugging Face puts them in; undefined when there is none. */
export async function findParquetFolder(folder: string): Promise<Found | undefined> {
  if (!(await holdsParquet(folder, 2))) return undefined;
  const found = (await listTree(folder)).files.filter(isParquet);
  const parts = found.map(({ name }) => partOf(name) ?? "");
  const filesOf = (part: string) => found.filter((_, i) => parts[i] === part);
  const { part, notes } = chosenPart(parts);
  const main = parts.includes("train") ? "train" : "";
  const train = filesOf(main);
  if (train.length === 0)
    throw new UserError(
      `${folder}: it has Parquet files of ${listed([...new Set(parts)])}, but none of train; add them, or name one file itself`,
    );
  if (main === "train" && parts.includes(""))
    notes.push(`${filesOf("")[0].name} names no part and so is not used, nor are others like it`);
  const heldOut = part === undefined ? [] : filesOf(part);
  return {
    files: [...train, ...heldOut],
    open: () => openParquet({ name: basename(resolve(folder)), notes, train, heldOut, heldOutName: part }),
  };
}

/** Looks only where such files usually are: a folder of a million images should not be walked for them. */
async function holdsParquet(folder: string, depth: number): Promise<boolean> {
  const { files, folders } = await listFolder(folder);
  if (files.some(isParquet)) return true;
  const usual = folders.filter(({ name }) => ["data", "default", "plain_text", "train"].includes(name));
  for (const { path } of depth > 0 ? usual : []) if (await holdsParquet(path, depth - 1)) return true;
  return false;
}

export async function findParquetFile(path: string): Promise<Found> {
  const file = await fileAt(path);
  const name = basename(path).replace(/\.parquet$/i, "");
  return { files: [file], open: () => openParquet({ name, notes: [], train: [file], heldOut: [] }) };
}

/** The part that a file's name or the folders around it begin with: `test-00000-of-00001.parquet`, `test/0000.parquet`. */
function partOf(name: string): string | undefined {
  const words = name
    .split("/")
    .reverse()
    .map((part) => /^[a-z]+[0-9]*/i.exec(part)?.[0].toLowerCase());
  return words.find((word) => word === "train" || heldOutParts.some((part) => part === word));
}

interface Files {
  name: string;
  notes: string[];
  train: SourceFile[];
  heldOut: SourceFile[];
  heldOutName?: string;
}

async function openParquet({ name, notes, train, heldOut, heldOutName }: Files): Promise<Source> {
  const files = [...train, ...heldOut];
  const columns = columnsOf(await metadataOf(files[0].path), files[0].path);
  const rows: number[] = [];
  const raw: unknown[][] = [];
  for (const { path } of files) {
    const metadata = await metadataOf(path);
    const own = columnsOf(metadata, path);
    if (own.image !== columns.image || own.label !== columns.label)
      throw new UserError(
        `${path}: its columns of images and labels are ${own.image}, ${own.label}, but those of ${files[0].name} are ${columns.image}, ${columns.label}; the files of a data set must agree`,
      );
    rows.push(Number(metadata.num_rows));
    if (columns.label !== undefined) raw.push(await labelColumn(path, metadata, columns.label));
  }
  const { classes, labels } = classesOfColumn(raw, { columns, files }) ?? {
    classes: [name],
    labels: rows.map((count) => new Int32Array(count)),
  };
  const sum = (counts: number[]) => counts.reduce((a, b) => a + b, 0);
  return {
    name,
    classes,
    notes,
    count: { train: sum(rows.slice(0, train.length)), heldOut: sum(rows.slice(train.length)) },
    heldOutName,
    async *images() {
      for (const [at, file] of files.entries())
        for await (const { row, value } of imageColumn(file.path, columns.image)) {
          const { path, picture } = pictureOf(value);
          const name = path ?? `${file.name}/${row}`;
          yield { name, label: labels[at][row], heldOut: at >= train.length, picture };
        }
    },
  };
}

function classesOfColumn(
  raw: readonly unknown[][],
  { columns, files }: { columns: Columns; files: readonly SourceFile[] },
) {
  if (columns.label === undefined) return undefined;
  const where = (file: number) => `${files[file].path}: column ${columns.label}`;
  const strings = raw.every((values) => values.every((value) => typeof value === "string"));
  if (!strings)
    return classesOf(
      raw.map((values, i) => ({ values: values as number[], where: where(i) })),
      columns.names,
    );
  const classes = [...new Set(raw.flat() as string[])].sort(byName);
  const index = new Map(classes.map((name, i) => [name, i]));
  return { classes, labels: raw.map((values) => Int32Array.from(values as string[], (name) => index.get(name)!)) };
}

const metadataOf = (path: string): Promise<FileMetaData> =>
  explained(path, async () => parquetMetadataAsync(await asyncBufferFromFile(path)));

async function labelColumn(path: string, metadata: FileMetaData, label: string): Promise<unknown[]> {
  const rows = await explained(path, async () =>
    parquetReadObjects({ file: await asyncBufferFromFile(path), metadata, columns: [label], compressors }),
  );
  return rows.map((row) => row[label]);
}

/** One row group in memory at a time, so that the file's size does not matter. */
async function* imageColumn(path: string, image: string): AsyncGenerator<{ row: number; value: unknown }> {
  const metadata = await metadataOf(path);
  let rowStart = 0;
  for (const { num_rows } of metadata.row_groups) {
    const rowEnd = rowStart + Number(num_rows);
    const options = { metadata, columns: [image], rowStart, rowEnd, compressors, utf8: false };
    const rows = await explained(path, async () =>
      parquetReadObjects({ file: await asyncBufferFromFile(path), ...options }),
    );
    for (const [i, row] of rows.entries()) yield { row: rowStart + i, value: row[image] };
    rowStart = rowEnd;
  }
}

function pictureOf(value: unknown): { path?: string; picture: Picture } {
  if (value instanceof Uint8Array) return { picture: { bytes: value } };
  const { bytes, path } = (value ?? {}) as { bytes?: Uint8Array; path?: string };
  // A row without bytes is met as an image that does not decode.
  return { path: path || undefined, picture: { bytes: bytes ?? new Uint8Array() } };
}

function explained<T>(path: string, read: () => Promise<T>): Promise<T> {
  return reading(path, async () => {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof Error) || "code" in error) throw error;
      throw new UserError(`${path}: the Parquet file is cut short or damaged (${error.message}); fetch it again`, {
        cause: error,
      });
    }
  });
}
