/** A folder of images: which files count, what their classes are, which part they belong to. Knows nothing of pixels. */

import { basename, resolve } from "node:path";
import { UserError } from "../core/errors.ts";
import { listTree, type Listing } from "./files.ts";
import { byName, chosenPart, counted, type Found, heldOutParts, listed, type SourceFile } from "./source.ts";

// The last six kinds are not decoded: better to name each among the skipped images than to pass over them.
const imageName = /\.(png|jpe?g|jpe|jfif|webp|gif|avif|tiff?|bmp|heic|heif|jxl|jp2|ppm)$/i;

/** The images below a folder or below one of its parts, each with its class by name. */
interface Part {
  /** `""` or the part's folder with a slash. */
  prefix: string;
  images: SourceFile[];
  /** In order; undefined where there are no class folders. */
  classes?: string[];
}

/** One folder for each class, or none; or `train/` and a held-out part, each like that. */
export async function findImages(folder: string, { signal }: { signal?: AbortSignal } = {}): Promise<Found> {
  const tree = await listTree(folder, { signal });
  const images = tree.files.filter(({ name }) => imageName.test(name));
  if (images.length === 0) throw new UserError(`${folder}: ${nothing(tree)}`);
  const { train: trainFolder, heldOut: heldOutFolder, notes } = partsOf(folder, { ...tree, files: images });
  const inside = (prefix: string) => partAt(folder, prefix, { ...tree, files: images });
  const train = inside(trainFolder);
  const heldOut = heldOutFolder === undefined ? undefined : inside(heldOutFolder);
  if (heldOut) checkClasses(folder, train, heldOut);
  const name = basename(resolve(folder));
  const classes = train.classes ?? [name];
  const parts = heldOut ? [train, heldOut] : [train];
  const labels = new Map(classes.map((name, label) => [name, label]));
  return {
    files: parts.flatMap(({ images }) => images),
    open: async () => ({
      name,
      classes,
      notes,
      count: { train: train.images.length, heldOut: heldOut?.images.length ?? 0 },
      heldOutName: heldOutFolder,
      async *images() {
        for (const part of parts)
          for (const { name, path } of part.images) {
            const label = part.classes ? labels.get(classOf(name, part.prefix))! : 0;
            yield { name, label, heldOut: part === heldOut, picture: { file: path } };
          }
      },
    }),
  };
}

const classOf = (name: string, prefix: string) => name.slice(prefix.length, name.indexOf("/", prefix.length));

/** The folders of the training images and of those to hold out; `""` is the whole folder. */
function partsOf(
  folder: string,
  { files, folders }: Listing,
): { train: string; heldOut: string | undefined; notes: string[] } {
  const top = new Map(
    folders.filter(({ name }) => !name.includes("/")).map(({ name }) => [name.toLowerCase(), `${name}/`]),
  );
  const train = top.get("train") ?? top.get("training");
  const { part, notes } = chosenPart([...top.keys()]);
  if (train === undefined || (part === undefined && top.size > 1)) return { train: "", heldOut: undefined, notes: [] };
  const known = new Set<string>(["train", "training", ...heldOutParts]);
  const stray = files.find(({ name }) => !known.has(name.split("/")[0].toLowerCase()));
  if (stray)
    throw new UserError(
      `${folder}: ${stray.name} lies beside ${train}${part ? ` and ${top.get(part)}` : ""}, and so belongs to no part; move it into one or away`,
    );
  return { train, heldOut: part && top.get(part), notes };
}

function partAt(folder: string, prefix: string, { files, folders }: Listing): Part {
  const images = files.filter(({ name }) => name.startsWith(prefix));
  const where = `${folder}${prefix && `/${prefix.slice(0, -1)}`}`;
  if (images.length === 0) throw new UserError(`${where}: it holds no images; add some, or remove the folder`);
  const isDirect = (name: string) => name.startsWith(prefix) && !name.slice(prefix.length).includes("/");
  const classes = folders
    .map(({ name }) => name)
    .filter(isDirect)
    .map((name) => name.slice(prefix.length));
  const beside = images.filter(({ name }) => isDirect(name));
  const used = new Set(images.map(({ name }) => classOf(name, prefix)));
  if (beside.length === images.length) return { prefix, images };
  if (beside.length)
    throw new UserError(
      `${where}: ${counted(beside.length, "image")} (${listed(beside.map(({ name }) => name))}) beside the class folders ${listed(classes)}; move every image into the folder of its class`,
    );
  const empty = classes.find((name) => !used.has(name));
  if (empty !== undefined)
    throw new UserError(`${where}: the class folder ${empty} holds no images; add some, or remove the folder`);
  return { prefix, images, classes: classes.sort(byName) };
}

function checkClasses(folder: string, train: Part, heldOut: Part): void {
  const [of, other] = [train.prefix, heldOut.prefix];
  if (!train.classes !== !heldOut.classes)
    throw new UserError(
      `${folder}: ${train.classes ? of : other} has class folders and ${train.classes ? other : of} has none; both need the same, or name ${folder}/${of.slice(0, -1)} alone`,
    );
  const unknown = heldOut.classes?.find((name) => !train.classes!.includes(name));
  if (unknown !== undefined)
    throw new UserError(
      `${folder}: ${other}${unknown} is a class that ${of} does not have (it has ${listed(train.classes!)}); both need the same classes`,
    );
}

function nothing({ files }: Listing): string {
  const kinds = [...new Set(files.map(({ name }) => /\.[^./]+$/.exec(name)?.[0] ?? "files without an ending"))];
  const instead = files.length ? `, only ${counted(files.length, "other file")} (${listed(kinds)})` : "";
  return `it holds no images (PNG, JPEG, WebP, GIF, AVIF or TIFF)${instead}; check the path`;
}
