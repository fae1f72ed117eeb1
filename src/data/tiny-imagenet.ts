/**
 * Tiny ImageNet as published: `train/CLASS/images/`, and `val/images/` with the classes in `val_annotations.txt`. Class
 * names come from `words.txt`. Knows nothing of pixels.
 */

import { basename, join, resolve } from "node:path";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { pathText, readRegular } from "../files/regular.ts";
import { listFolder, listTree } from "./files.ts";
import { fileOf, isImage, otherFiles } from "./folder.ts";
import { byName, type Found, leavingOut, type SourceFile } from "./source.ts";

const annotations = "val/val_annotations.txt";

/** Finds the data set in a folder of that layout; undefined for any other folder. */
export async function findTinyImagenet(
  folder: string,
  { signal }: { signal?: AbortSignal } = {},
): Promise<Found | undefined> {
  const { files, folders } = await listFolder(folder);
  if (!files.some(({ name }) => name === "wnids.txt")) return undefined;
  if (!["train", "val"].every((part) => folders.some(({ name }) => name === part))) return undefined;
  const tree = await listTree(folder, { signal });
  const where = pathText(folder);
  const lists = tree.files.filter(({ name }) => name === annotations || name === "words.txt");
  const annotated = tree.files.find(({ name }) => name === annotations);
  if (!annotated)
    throw new UserError({
      subject: where,
      problem: `${annotations}, which lists the classes of val/, is missing`,
      hint: "add it",
    });
  const train = tree.files.filter((file) => isImage(file) && /^train\/[^/]+\/./.test(file.name));
  const val = tree.files.filter((file) => isImage(file) && file.name.startsWith("val/"));
  const ids = [...new Set(train.map(idOf))].sort(byName);
  if (ids.length === 0)
    throw new UserError({ subject: where, problem: "train/ contains no images", hint: "unpack the archive again" });
  const idOfVal = await tableOf(annotated);
  const leaveOut = leavingOut();
  const heldOut = val.filter(({ name }) => {
    const known = ids.includes(idOfVal.get(basename(name)) ?? "");
    if (!known) leaveOut.add(name, "no class in val_annotations.txt");
    return known;
  });
  const classes = await classNames(folder, ids);
  const test = tree.files.filter((file) => isImage(file) && file.name.startsWith("test/"));
  const texts = { dangling: [], files: tree.files.filter((file) => !isImage(file) && !known.test(file.name)) };
  const label = new Map(ids.map((id, i) => [id, i]));
  return {
    files: [...lists, ...train, ...heldOut],
    open: async () => ({
      name: basename(resolve(folder)),
      format: "Tiny ImageNet's folder",
      taken: [
        "train/: images to train on, a folder for each class",
        `val/: images to hold out, their classes from ${annotations}`,
        ...(lists.length > 1 ? ["words.txt: names of the classes"] : []),
      ],
      leftOut: [...tree.leftOut, ...leaveOut.list, ...otherFiles(texts)],
      classes,
      notes: test.length > 0 ? [`the part test is not used: its ${test.length} images have no labels`] : [],
      count: { train: train.length, heldOut: heldOut.length },
      heldOutName: heldOut.length > 0 ? "val/" : undefined,
      async *images() {
        for (const file of train)
          yield { name: file.name, label: label.get(idOf(file))!, heldOut: false, picture: fileOf(file) };
        for (const file of heldOut)
          yield {
            name: file.name,
            label: label.get(idOfVal.get(basename(file.name))!)!,
            heldOut: true,
            picture: fileOf(file),
          };
      },
    }),
  };
}

const idOf = ({ name }: SourceFile): string => name.split("/")[1];

/** Text files that belong to the layout. */
const known = /(^|\/)(wnids\.txt|words\.txt|val_annotations\.txt|n\d+_boxes\.txt)$/;

/** Reads the first two tab-separated columns of a text file. */
async function tableOf({ path, name }: { path: string; name: string }): Promise<Map<string, string>> {
  const text = await readRegular(path, { most: limits.textBytes, what: `a text file such as ${name}` });
  const rows = text
    .toString("utf8")
    .replace(/^\ufeff/, "")
    .split(/\r?\n/);
  return new Map(rows.filter((row) => row.includes("\t")).map((row) => row.split("\t", 2) as [string, string]));
}

/** Class names from `words.txt`; falls back to the ID if there is none, and appends the ID to duplicate names. */
async function classNames(folder: string, ids: readonly string[]): Promise<string[]> {
  const path = join(folder, "words.txt");
  const words = await tableOf({ path, name: "words.txt" }).catch(() => new Map<string, string>());
  const names = ids.map((id) => words.get(id)?.trim().slice(0, limits.className) || id);
  return names.map((name, i) => (names.indexOf(name) === names.lastIndexOf(name) ? name : `${name}, ${ids[i]}`));
}
