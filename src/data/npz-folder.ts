/** Folders of NumPy archives, one per batch, as ImageNet32 is published. Knows nothing of the archives' contents. */

import { basename, resolve } from "node:path";
import { UserError } from "../core/errors.ts";
import { listed } from "../core/text.ts";
import { pathText } from "../files/regular.ts";
import { listFolder } from "./files.ts";
import { openNpzImages } from "./npz-images.ts";
import { byName, chosenPart, type Found, leavingOut, partNamed, type Source } from "./source.ts";

const numeric = (a: string, b: string): number => a.localeCompare(b, "en", { numeric: true }) || byName(a, b);

/** Finds a folder of archives; undefined if it contains no archive, or if it has subfolders. */
export async function findNpzFolder(folder: string): Promise<Found | undefined> {
  const { files, folders, leftOut } = await listFolder(folder);
  const archives = files.filter(({ name }) => /\.npz$/i.test(name)).sort((a, b) => numeric(a.name, b.name));
  if (archives.length === 0 || folders.length > 0) return undefined;
  const partOf = (name: string) => partNamed(/^[a-z]+/i.exec(name)?.[0] ?? "") ?? "train";
  const { part, notes } = chosenPart(archives.map(({ name }) => partOf(name)));
  const used = archives.filter(({ name }) => partOf(name) === "train" || partOf(name) === part);
  if (used.every(({ name }) => partOf(name) !== "train"))
    throw new UserError({
      subject: pathText(folder),
      problem: `it has archives to hold out (${listed(used.map(({ name }) => name))}), but none to train on`,
      hint: "add them, or give the path of one file",
    });
  const leaveOut = leavingOut();
  for (const file of files) if (!archives.includes(file)) leaveOut.add(file.name, "not a NumPy archive");
  return {
    files: used,
    async open() {
      const sources: Source[] = [];
      for (const { path } of used) sources.push(await openNpzImages(path));
      const unlabelled = sources.every(({ taken }) => taken.every((one) => one.endsWith("without labels")));
      const name = basename(resolve(folder));
      const classes = unlabelled ? [name] : [...new Set(sources.flatMap((source) => source.classes))].sort(numeric);
      const isHeldOut = (at: number) => partOf(used[at].name) === part && part !== "train";
      const count = (held: boolean) =>
        sources.reduce(
          (sum, { count: { train, heldOut } }, at) => sum + (isHeldOut(at) === held ? train + heldOut : 0),
          0,
        );
      const shapes = new Set(sources.map(({ shape }) => JSON.stringify(shape)));
      return {
        name,
        format: "a folder of NumPy archives",
        taken: used
          .map(({ name: file }, at) => `${file}: ${isHeldOut(at) ? "to hold out" : "to train on"}`)
          .concat(sources[0].taken),
        leftOut: [...leftOut, ...leaveOut.list, ...sources[0].leftOut],
        classes,
        notes: [...notes, ...sources.flatMap((source) => source.notes)],
        count: { train: count(false), heldOut: count(true) },
        heldOutName: count(true) > 0 ? part : undefined,
        shape: shapes.size === 1 ? sources[0].shape : undefined,
        async *images() {
          for (const [at, source] of sources.entries())
            for await (const image of source.images())
              yield {
                ...image,
                name: `${used[at].name}/${image.name.replace(/^train\//, "")}`,
                label: unlabelled ? 0 : classes.indexOf(source.classes[image.label]),
                heldOut: isHeldOut(at),
              };
        },
      };
    },
  };
}
