/** Folders of images: finds the image files, their classes and their parts. Knows nothing of pixels. */

import { basename, resolve } from "node:path";
import { counted } from "../core/counted.ts";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { listed, shown } from "../core/text.ts";
import { pathText } from "../files/regular.ts";
import { listTree, type Listing } from "./files.ts";
import { byName, chosenPart, type Found, type LeftOut, leavingOut, partNamed, type SourceFile } from "./source.ts";

// The last six kinds are not decoded, but it is better to report each as a skipped image than to ignore it.
const imageName = /\.(png|jpe?g|jpe|jfif|webp|gif|avif|tiff?|bmp|heic|heif|jxl|jp2|ppm)$/i;

export const isImage = ({ name }: SourceFile): boolean => imageName.test(name);

/** The images below a folder or one of its parts. */
interface FolderPart {
  /** `""`, or the part's folder with a trailing slash. */
  prefix: string;
  images: SourceFile[];
  /** Sorted; undefined if there are no class folders. */
  classes?: string[];
  notes: string[];
}

/** An image file as a `Picture`. */
export const fileOf = ({ path, raw }: SourceFile) => ({ file: raw ?? path });

/**
 * Finds images in class folders or directly in the folder; or in `train/` and a held-out part, each organised like
 * that.
 */
export async function findImages(folder: string, { signal }: { signal?: AbortSignal } = {}): Promise<Found> {
  const tree = await listTree(folder, { signal });
  const images = tree.files.filter(isImage);
  const where = pathText(folder);
  if (images.length === 0) throw new UserError({ subject: where, problem: nothing(tree) });
  const { train: trainFolder, heldOut: heldOutFolder, notes } = partsOf(where, { ...tree, files: images });
  const inside = (prefix: string) => partAt(where, prefix, { ...tree, files: images });
  const train = inside(trainFolder);
  const heldOut = heldOutFolder === undefined ? undefined : inside(heldOutFolder);
  checkLinks(where, tree, train, heldOut);
  if (heldOut) checkClasses(where, train, heldOut);
  const name = basename(resolve(folder));
  const classes = train.classes ?? [name];
  const parts = heldOut ? [train, heldOut] : [train];
  const labels = new Map(classes.map((name, label) => [name, label]));
  const taken = parts.map(
    (part) => `${part.prefix || "the folder"}: images to ${part === heldOut ? "hold out" : "train on"}`,
  );
  return {
    files: parts.flatMap(({ images }) => images),
    open: async () => ({
      name,
      format: `a folder of images, ${train.classes ? "with a folder for each class" : "without class folders"}`,
      taken,
      leftOut: [...tree.leftOut, ...otherFiles(tree)],
      classes,
      notes: [...notes, ...parts.flatMap((part) => part.notes), ...latin1Notes(tree)],
      count: { train: train.images.length, heldOut: heldOut?.images.length ?? 0 },
      heldOutName: heldOutFolder,
      async *images() {
        for (const part of parts)
          for (const file of part.images) {
            const label = part.classes ? labels.get(classOf(file.name, part.prefix))! : 0;
            yield { name: file.name, label, heldOut: part === heldOut, picture: fileOf(file) };
          }
      },
    }),
  };
}

const classOf = (name: string, prefix: string) => name.slice(prefix.length, name.indexOf("/", prefix.length));

/** The files that are not images, judged by their extension. */
export function otherFiles({ files, dangling }: Pick<Listing, "files" | "dangling">): LeftOut[] {
  const leaveOut = leavingOut();
  const links = new Map(dangling.map(({ name, to }) => [name, to]));
  for (const file of files)
    if (!isImage(file)) leaveOut.add(file.name, links.has(file.name) ? "a dangling link" : "not an image");
  return leaveOut.list;
}

export const latin1Notes = ({ latin1 }: Pick<Listing, "latin1">): string[] =>
  latin1.length === 0
    ? []
    : [
        `${counted(latin1.length, "name")} ${latin1.length === 1 ? "is" : "are"} not valid UTF-8 and ${latin1.length === 1 ? "was" : "were"} read as Latin-1: ${listed(latin1)}`,
      ];

/** Finds the folders of the training and held-out images; `""` is the whole folder. */
function partsOf(
  where: string,
  { files, folders }: Listing,
): { train: string; heldOut: string | undefined; notes: string[] } {
  const whole = { train: "", heldOut: undefined, notes: [] };
  const tops = folders.map(({ name }) => name).filter((name) => !name.includes("/"));
  // Archives are often unpacked into a folder with the archive's name.
  const [only] = tops;
  const outside = files.some(({ name }) => !name.includes("/"));
  const inner = tops.length === 1 && !outside && partNamed(only) === undefined ? `${only}/` : "";
  const named = folders
    .filter(({ name }) => name.startsWith(inner) && !name.slice(inner.length).includes("/"))
    .map(({ name }) => ({ folder: `${name}/`, part: partNamed(name.slice(inner.length)) }));
  const twice = named.find(({ part, folder }) =>
    named.some((other) => part !== undefined && other.part === part && other.folder !== folder),
  );
  const foldersOf = new Map(named.map(({ part, folder }) => [part, folder]));
  const train = foldersOf.get("train");
  const { part, notes } = chosenPart([...foldersOf.keys()].filter((name) => name !== undefined));
  if (train === undefined || (part === undefined && named.length > 1)) return whole;
  if (twice)
    throw new UserError({
      subject: where,
      problem: `${listed(named.filter(({ part }) => part === twice.part).map(({ folder }) => folder))} all name the part ${twice.part}`,
      hint: "keep one of them",
    });
  const stray = files.find(({ name }) => partNamed(name.slice(inner.length).split("/")[0]) === undefined);
  if (stray)
    throw new UserError({
      subject: where,
      problem: `${shown(stray.name)} is next to ${train}${part ? ` and ${foldersOf.get(part)}` : ""}, so it belongs to no part`,
      hint: "move it into one of them or out of the folder",
    });
  return { train, heldOut: part && foldersOf.get(part), notes };
}

function partAt(folder: string, from: string, { files, folders }: Listing): FolderPart {
  const notes: string[] = [];
  let prefix = from;
  let images = files.filter(({ name }) => name.startsWith(prefix));
  const isDirect = (name: string) => name.startsWith(prefix) && !name.slice(prefix.length).includes("/");
  const inside = () => [
    ...new Set(
      folders
        .map(({ name }) => name)
        .filter(isDirect)
        .map((name) => name.slice(prefix.length)),
    ),
  ];
  // Some archives nest a part in another folder of the same name.
  for (let [only, ...others] = inside(); only && others.length === 0; [only, ...others] = inside()) {
    const same = prefix !== "" && partNamed(only) === partNamed(prefix.split("/").at(-2)!);
    if (!same || files.some(({ name }) => isDirect(name))) break;
    prefix += `${only}/`;
    images = files.filter(({ name }) => name.startsWith(prefix));
  }
  const where = `${folder}${prefix && `/${shown(prefix.slice(0, -1))}`}`;
  if (images.length === 0)
    throw new UserError({ subject: where, problem: "it contains no images", hint: "add some, or remove the folder" });
  const classes = inside();
  const same = folders.filter(({ name }) => isDirect(name)).map(({ name }) => name.slice(prefix.length));
  const merged = classes.filter((name) => same.indexOf(name) !== same.lastIndexOf(name));
  if (merged.length > 0)
    notes.push(
      `${listed(merged)}: several folders have this name in different encodings (composed, decomposed or not UTF-8); they are treated as one class`,
    );
  const outside = images.filter(({ name }) => isDirect(name));
  const used = new Set(images.map(({ name }) => classOf(name, prefix)));
  if (outside.length === images.length) return { prefix, images, notes };
  if (outside.length)
    throw new UserError({
      subject: where,
      problem: `${counted(outside.length, "image")} (${listed(outside.map(({ name }) => name))}) next to the class folders ${listed(classes)}`,
      hint: "move every image into the folder of its class",
    });
  const empty = classes.find((name) => !used.has(name));
  if (empty !== undefined)
    throw new UserError({
      subject: where,
      problem: `the class folder ${shown(empty)} contains no images`,
      hint: "add some, or remove the folder",
    });
  if (classes.length > limits.classes)
    throw new UserError({
      subject: where,
      problem: `it has ${classes.length} class folders`,
      expected: `at most ${limits.classes}`,
      hint: "check that this is the right folder",
    });
  return { prefix, images, notes, classes: classes.sort(byName) };
}

/** Throws if a class folder is a dangling link; otherwise a class on an unmounted disk would be missing silently. */
function checkLinks(where: string, { dangling }: Listing, ...parts: (FolderPart | undefined)[]): void {
  for (const part of parts)
    for (const { name, to } of part?.classes ? dangling : []) {
      const own = name.slice(part!.prefix.length);
      if (name.startsWith(part!.prefix) && !/[/.]/.test(own))
        throw new UserError({
          subject: where,
          problem: `${shown(name)} is a link to ${shown(to)}, which does not exist`,
          hint: "mount its disk, or remove the link",
        });
    }
}

function checkClasses(folder: string, train: FolderPart, heldOut: FolderPart): void {
  const [of, other] = [train.prefix, heldOut.prefix];
  if (!train.classes !== !heldOut.classes)
    throw new UserError({
      subject: folder,
      problem: `${train.classes ? of : other} has class folders and ${train.classes ? other : of} has none`,
      hint: ["give both the same classes", `give only ${folder}/${of.slice(0, -1)}`],
    });
  const unknown = heldOut.classes?.find((name) => !train.classes!.includes(name));
  if (unknown !== undefined)
    throw new UserError({
      subject: folder,
      problem: `${shown(other + unknown)} is a class that ${of} does not have (it has ${listed(train.classes!)})`,
      hint: "give both the same classes",
    });
}

function nothing({ files, leftOut }: Listing): string {
  const kinds = [...new Set(files.map(({ name }) => /\.[^./]+$/.exec(name)?.[0] ?? "files without an extension"))];
  const instead = files.length ? `, only ${counted(files.length, "other file")} (${listed(kinds)})` : "";
  const links =
    leftOut.length > 0 ? `; left out: ${leftOut.map(({ count, why }) => `${count} ${why}`).join(", ")}` : "";
  return `it contains no images (PNG, JPEG, WebP, GIF, AVIF or TIFF)${instead}${links}; check the path`;
}
