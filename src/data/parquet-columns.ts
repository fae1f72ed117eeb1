/** Which columns of a Parquet file are images and labels, from its schema and Hugging Face's metadata. Reads no rows. */

import { type FileMetaData, parquetSchema } from "hyparquet";
import { z } from "zod";
import { UserError } from "../core/errors.ts";
import { listed } from "./source.ts";

export interface Columns {
  image: string;
  label?: string;
  /** Class names, where the file has them: a label is an index into these. */
  names?: string[];
}

/** What Hugging Face's library says of a column; of most kinds nothing is needed. */
const featureSchema = z
  .object({ ["_type"]: z.string().optional(), names: z.array(z.string()).optional() })
  .transform(({ ["_type"]: kind, names }) => ({ kind, names }))
  .catch({ kind: undefined, names: undefined });
const metadataSchema = z.object({ info: z.object({ features: z.record(z.string(), featureSchema) }) });

const usualImages = ["image", "img"];
const usualLabels = ["label", "labels", "fine_label", "coarse_label", "class", "target"];

/** `path` is for the error where there is no column of images. */
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
      return struct || (bytes && (features[element.name]?.kind === "Image" || usualImages.includes(element.name)));
    })
    .map(({ element }) => element.name);
  const image = usualImages.find((name) => pictures.includes(name)) ?? pictures[0];
  if (image === undefined)
    throw new UserError(
      `${path}: it has no column of images, a struct of bytes and path as Hugging Face stores them; its columns are ${listed(names)}`,
    );
  const label =
    usualLabels.find((name) => names.includes(name)) ?? names.find((name) => features[name]?.kind === "ClassLabel");
  return { image, label, names: label === undefined ? undefined : features[label]?.names };
}

function parsed(text: string | undefined): unknown {
  try {
    return text && JSON.parse(text);
  } catch {
    return undefined; // another program's metadata under that key is no reason to refuse the images
  }
}
