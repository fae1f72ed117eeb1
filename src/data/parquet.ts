/** Images in Parquet files as Hugging Face stores them, read one row group at a time. Knows nothing of their use. */

import { basename, resolve } from "node:path";
import type { FileMetaData } from "hyparquet";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { listed, shown } from "../core/text.ts";
import { pathText } from "../files/regular.ts";
import { fileAt, listFolder, listTree } from "./files.ts";
import { classesOf, unlabelled } from "./labels.ts";
import { type Columns, columnsOf } from "./parquet-columns.ts";
import { type ParquetFile, startParquetDecoder } from "./parquet-thread.ts";
import type { Picture } from "./picture.ts";
import { byName, chosenPart, type Found, leavingOut, type LeftOut, partNamed } from "./source.ts";
import type { Source, SourceFile } from "./source.ts";

const isParquet = ({ name }: SourceFile) => /\.parquet$/i.test(name);

/** Finds Parquet files in a folder or in Hugging Face's usual subfolders; undefined if there are none. */
export async function findParquetFolder(folder: string): Promise<Found | undefined> {
  if (!(await holdsParquet(folder, 2))) return undefined;
  const tree = await listTree(folder);
  const found = tree.files.filter(isParquet);
  const parts = found.map(({ name }) => partOf(name) ?? "");
  const filesOf = (part: string) => found.filter((_, i) => parts[i] === part);
  const { part, notes } = chosenPart(parts);
  const leaveOut = leavingOut();
  for (const file of tree.files) if (!isParquet(file)) leaveOut.add(file.name, "not a Parquet file");
  const leftOut = [...tree.leftOut, ...leaveOut.list];
  const main = parts.includes("train") ? "train" : "";
  const train = filesOf(main);
  if (train.length === 0)
    throw new UserError({
      subject: pathText(folder),
      problem: `it has Parquet files for ${listed([...new Set(parts)])}, but none for train`,
      hint: "add them, or give the path of one file",
    });
  if (main === "train" && parts.includes(""))
    notes.push(`files whose names contain no part, such as ${filesOf("")[0].name}, are not used`);
  const heldOut = part === undefined ? [] : filesOf(part);
  return {
    files: [...train, ...heldOut],
    open: () => openParquet({ name: basename(resolve(folder)), notes, leftOut, train, heldOut, heldOutName: part }),
  };
}

/** Looks only in the usual places, so that a folder of a million images is not searched. */
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
  return { files: [file], open: () => openParquet({ name, notes: [], leftOut: [], train: [file], heldOut: [] }) };
}

/**
 * The part named at the start of a file's name or of a parent's name: `test-00000-of-00001.parquet`,
 * `test/0000.parquet`.
 */
function partOf(name: string): string | undefined {
  const words = name
    .split("/")
    .reverse()
    .map((part) => partNamed(/^[a-z]+[0-9]*/i.exec(part)?.[0] ?? ""));
  return words.find((word) => word !== undefined);
}

interface Files {
  name: string;
  notes: string[];
  leftOut: LeftOut[];
  train: SourceFile[];
  heldOut: SourceFile[];
  heldOutName?: string;
}

async function openParquet({ name, notes, leftOut, train, heldOut, heldOutName }: Files): Promise<Source> {
  const files = [...train, ...heldOut];
  const { columns, rows, raw } = await labelsOf(files);
  const { classes, labels } = classesOfColumn(raw, { columns, files }) ?? {
    classes: [name],
    labels: rows.map((count) => new Int32Array(count)),
  };
  const sum = (counts: number[]) => counts.reduce((a, b) => a + b, 0);
  const named = columns.label === undefined ? "no labels" : `labels from column ${shown(columns.label)}`;
  const leaveOut = leavingOut();
  for (const column of columns.others) leaveOut.add(column, "an unused column");
  return {
    name,
    format: "Parquet",
    taken: [`images from column ${shown(columns.image)}, ${named}${columns.names ? " with names from the file" : ""}`],
    leftOut: [...leftOut, ...leaveOut.list],
    classes,
    notes,
    count: { train: sum(rows.slice(0, train.length)), heldOut: sum(rows.slice(train.length)) },
    heldOutName,
    async *images() {
      const seen = new Set<string>();
      for await (const { at, row, value } of imageRows(files, columns.image)) {
        const { path, ...found } = pictureOf(value);
        const place = `${files[at].name}/${row}`;
        // Some writers store the same path for all rows of a shard.
        const name = path === undefined ? place : seen.has(path) ? `${path} (${place})` : path;
        if (path !== undefined) seen.add(path);
        const label = labels[at][row];
        const unusable = label === unlabelled ? "has no label" : found.unusable;
        yield { name, label, heldOut: at >= train.length, picture: found.picture, unusable };
      }
    },
  };
}

interface LabelColumns {
  columns: Columns;
  /** The number of rows in each file. */
  rows: number[];
  raw: unknown[][];
}

async function labelsOf(files: readonly SourceFile[]): Promise<LabelColumns> {
  const decoder = startParquetDecoder();
  try {
    let columns: Columns | undefined;
    const rows: number[] = [];
    const raw: unknown[][] = [];
    for (const { path } of files) {
      const file = await decoder.open(path);
      const own = columnsOf(file.metadata, pathText(path));
      columns ??= own;
      if (own.image !== columns.image || own.label !== columns.label)
        throw new UserError({
          subject: pathText(path),
          problem: `its columns of images and labels are ${shown(own.image)}, ${shown(own.label)}, but those of ${files[0].name} are ${shown(columns.image)}, ${shown(columns.label)}`,
          hint: "give all files of the data set the same columns",
        });
      rows.push(Number(file.metadata.num_rows));
      if (columns.label !== undefined) raw.push(await column(file, columns.label));
      await file.close();
    }
    return { columns: columns!, rows, raw };
  } finally {
    await decoder.end();
  }
}

/** Reads all values of a small column. */
async function column(file: ParquetFile, name: string): Promise<unknown[]> {
  const bytes = bytesOf(file.metadata.row_groups, name);
  return (await file.rows({ columns: [name] }, bytes)).map((row) => row[name]);
}

/** The compressed size of a column in the file. */
const bytesOf = (groups: FileMetaData["row_groups"], name: string): number =>
  groups
    .flatMap(({ columns }) => columns)
    .filter(({ meta_data: meta }) => meta?.path_in_schema[0] === name)
    .reduce((sum, { meta_data: meta }) => sum + Number(meta!.total_compressed_size), 0);

function classesOfColumn(
  raw: readonly unknown[][],
  { columns, files }: { columns: Columns; files: readonly SourceFile[] },
) {
  if (columns.label === undefined) return undefined;
  const where = (file: number) => `${pathText(files[file].path)}: column ${shown(columns.label)}`;
  const given = raw.flatMap((values) =>
    values.filter((value) => value !== null && value !== undefined && value !== ""),
  );
  if (given.length === 0)
    throw new UserError({
      subject: where(0),
      problem: "every label is null or empty",
      hint: "remove the column, or add labels",
    });
  if (!given.every((value) => typeof value === "string"))
    return classesOf(
      raw.map((values, i) => ({ values: values as number[], where: where(i) })),
      columns.names,
    );
  const classes = [...new Set(given as string[])].sort(byName);
  if (classes.length > limits.classes)
    throw new UserError({
      subject: where(0),
      problem: `it has ${classes.length} different labels`,
      expected: `at most ${limits.classes}`,
      hint: "check that these are class labels",
    });
  const index = new Map(classes.map((name, i) => [name, i]));
  return {
    classes,
    labels: raw.map((values) => Int32Array.from(values as string[], (name) => index.get(name) ?? unlabelled)),
  };
}

/** Keeps one row group in memory at a time, so that the size of the files does not matter. */
async function* imageRows(
  files: readonly SourceFile[],
  image: string,
): AsyncGenerator<{ at: number; row: number; value: unknown }> {
  const decoder = startParquetDecoder();
  try {
    for (const [at, { path }] of files.entries()) {
      const file = await decoder.open(path);
      let rowStart = 0;
      for (const group of file.metadata.row_groups) {
        const rowEnd = rowStart + Number(group.num_rows);
        const wanted = { columns: [image], rowStart, rowEnd, utf8: false };
        const rows = await file.rows(wanted, bytesOf([group], image));
        for (const [i, row] of rows.entries()) yield { at, row: rowStart + i, value: row[image] };
        rowStart = rowEnd;
      }
      await file.close();
    }
  } finally {
    await decoder.end();
  }
}

function pictureOf(value: unknown): { path?: string; picture: Picture; unusable?: string } {
  if (value instanceof Uint8Array) return { picture: { bytes: value } };
  const { bytes, path } = (value ?? {}) as { bytes?: unknown; path?: unknown };
  const name = typeof path === "string" && path !== "" ? shown(path, 200) : undefined;
  if (bytes instanceof Uint8Array) return { path: name, picture: { bytes } };
  const why = name === undefined ? "is null" : "is a path without bytes: the image is not in the file";
  return { path: name, picture: { bytes: new Uint8Array() }, unusable: why };
}
