/** Finds the image and label columns of a Parquet file from its schema and Hugging Face's metadata. Reads no rows. */

import { type FileMetaData, parquetSchema } from "hyparquet";
import { z } from "zod";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { listed, shown } from "../core/text.ts";

export interface Columns {
  image: string;
  label?: string;
  /** Class names, if the file has them; a label is then an index into these. */
  names?: string[];
  /** Unused columns. */
  others: string[];
}

/** Hugging Face's description of a column; unknown kinds are ignored. */
const featureSchema = z
  .object({ ["_type"]: z.string().optional(), names: z.array(z.string()).max(limits.classes).optional() })
  .transform(({ ["_type"]: kind, names }) => ({ kind, names }))
  .catch({ kind: undefined, names: undefined });
const metadataSchema = z.object({ info: z.object({ features: z.record(z.string(), featureSchema) }) });

/** In order of preference: Hugging Face's names, common ones, WebDataset's. */
const usualImages = ["image", "img", "images", "picture", "photo", "jpg", "jpeg", "png", "webp", "pixels", "file"];
const usualLabels =
  "label labels fine_label coarse_label class class_label class_id class_name cls target targets category y".split(" ");

/** Throws a UserError that begins with `path` if there is no image column, or if several are possible. */
export function columnsOf(metadata: FileMetaData, path: string): Columns {
  const text = metadata.key_value_metadata?.find(({ key }) => key === "huggingface")?.value;
  const features = metadataSchema.safeParse(parsed(text)).data?.info.features ?? {};
  const columns = parquetSchema(metadata).children;
  const names = columns.map(({ element }) => element.name);
  // An image is a struct of bytes and path, or a byte array that is not declared as text.
  const pictures = columns
    .filter(({ children, element }) => {
      const struct = children.some((child) => child.element.name === "bytes");
      const bytes = element.type === "BYTE_ARRAY" && !element.converted_type && !element.logical_type;
      return struct || (bytes && (features[element.name]?.kind === "Image" || usual(usualImages, [element.name])));
    })
    .map(({ element }) => element.name);
  if (pictures.length === 0)
    throw new UserError({
      subject: path,
      problem: "it has no image column",
      expected: "a struct of bytes and path, as Hugging Face stores them",
      got: `the columns ${listed(names)}`,
    });
  const image = usual(usualImages, pictures) ?? pictures[0];
  if (pictures.length > 1 && !usual(usualImages, pictures))
    throw new UserError({
      subject: path,
      problem: `its columns ${listed(pictures)} could all be the images`,
      hint: 'keep only one of them, or rename one to "image"',
    });
  const rest = names.filter((name) => name !== image);
  const label = usual(usualLabels, rest) ?? rest.find((name) => features[name]?.kind === "ClassLabel");
  const others = rest.filter((name) => name !== label).map((name) => shown(name));
  return { image, label, others, names: label === undefined ? undefined : features[label]?.names };
}

/** The first of the usual names that exists, ignoring case. */
const usual = (known: readonly string[], names: readonly string[]): string | undefined => {
  const found = known.find((one) => names.some((name) => name.toLowerCase() === one));
  return found && names.find((name) => name.toLowerCase() === found);
};

function parsed(text: string | undefined): unknown {
  try {
    return text && JSON.parse(text);
  } catch {
    return undefined; // another program's metadata under that key is no reason to refuse the images
  }
}
