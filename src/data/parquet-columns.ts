/** Which columns of a Parquet file are images and labels, from its schema and Hugging Face's metadata. Reads no rows. */

import { type FileMetaData, parquetSchema } from "hyparquet";
import { z } from "zod";
import { UserError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import { shown } from "../core/text.ts";
import { listed } from "./source.ts";

export interface Columns {
  image: string;
  label?: string;
  /** Class names, where the file has them: a label is an index into these. */
  names?: string[];
  /** Columns that are not read. */
  others: string[];
}

/** What Hugging Face's library says of a column; of most kinds nothing is needed. */
const featureSchema = z
  .object({ ["_type"]: z.string().optional(), names: z.array(z.string()).max(limits.classes).optional() })
  .transform(({ ["_type"]: kind, names }) => ({ kind, names }))
  .catch({ kind: undefined, names: undefined });
const metadataSchema = z.object({ info: z.object({ features: z.record(z.string(), featureSchema) }) });

/** In the order in which they are looked for: Hugging Face's, plain ones, WebDataset's. */
const usualImages = ["image", "img", "images", "picture", "photo", "jpg", "jpeg", "png", "webp", "pixels", "file"];
const usualLabels =
  "label labels fine_label coarse_label class class_label class_id class_name cls target targets category y".split(" ");

/** `path` is for the error where there is no column of images, or several. */
export function columnsOf(metadata: FileMetaData, path: string): Columns {
  const text = metadata.key_value_metadata?.find(({ key }) => key === "huggingface")?.value;
  const features = metadataSchema.safeParse(parsed(text)).data?.info.features ?? {};
  const columns = parquetSchema(metadata).children;
  const names = columns.map(({ element }) => element.name);
  // A picture is a struct of bytes and path, or bytes alone that are not said to be a text.
  const pictures = columns
    .filter(({ children, element }) => {
      const struct = children.some((child) => child.element.name === "bytes");
      const bytes = element.type === "BYTE_ARRAY" && !element.converted_type && !element.logical_type;
      return struct || (bytes && (features[element.name]?.kind === "Image" || usual(usualImages, [element.name])));
    })
    .map(({ element }) => element.name);
  if (pictures.length === 0)
    throw new UserError(
      `${path}: it has no column of images, a struct of bytes and path as Hugging Face stores them; its columns are ${listed(names)}`,
    );
  const image = usual(usualImages, pictures) ?? pictures[0];
  if (pictures.length > 1 && !usual(usualImages, pictures))
    throw new UserError(
      `${path}: its columns ${listed(pictures)} may all be the images; keep one of them, or call it image`,
    );
  const rest = names.filter((name) => name !== image);
  const label = usual(usualLabels, rest) ?? rest.find((name) => features[name]?.kind === "ClassLabel");
  const others = rest.filter((name) => name !== label).map((name) => shown(name));
  return { image, label, others, names: label === undefined ? undefined : features[label]?.names };
}

/** The first of the usual names that is there, in whatever letters. */
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
