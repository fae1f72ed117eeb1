/** Schemas of requests and answers. They validate requests, and the OpenAPI document is built from them. */

import { z } from "zod";
import { explain, problemOf } from "../config/model.ts";
import { type SamplingFlags, samplingNames, samplingSetting } from "../config/sampling.ts";
import { schemaOf } from "../config/setting.ts";
import { UserError } from "../core/errors.ts";
import { snakeCase } from "../core/names.ts";
import type { BodyLimits } from "./bodies.ts";
import { imageFormats } from "./encoding.ts";

/** Limits on requests. */
export interface Limits extends BodyLimits {
  /** Images per request. */
  images: number;
  /** Waiting images of all requests together. */
  queue: number;
  /** Bytes of a form with files, and of a JSON body, which holds no pictures. */
  body: number;
  json: number;
  /** How many finished jobs are kept, and for how many milliseconds. */
  jobs: number;
  jobsMs: number;
}

export const defaultLimits: Limits = {
  images: 64,
  queue: 128,
  body: 8e6,
  json: 100_000,
  bodies: 64e6,
  silenceMs: 15_000,
  bodyMs: 120_000,
  roomMs: 30_000,
  jobs: 100,
  jobsMs: 600_000,
};

/** Pictures per edit, the same limit as OpenAI's. */
export const picturesMost = 16;

const ignored = (reason: string) =>
  z.string().nullish().describe(`Accepted because OpenAI's clients send it, but ignored: ${reason}.`);

/** The declared sampling settings in snake case, such as filter_threshold for filterThreshold. */
const samplingFields = Object.fromEntries(
  samplingNames.map((name) => {
    const { help, note } = samplingSetting(name);
    return [
      snakeCase(name),
      schemaOf(samplingSetting(name))
        .nullish()
        .describe(note ? `${help}. ${note}` : help),
    ];
  }),
) as Record<never, never>;

/** The sampling settings given in a request. */
export const samplingIn = (body: object): SamplingFlags =>
  Object.fromEntries(
    samplingNames.flatMap((name) => {
      const value = (body as Record<string, unknown>)[snakeCase(name)];
      return value === undefined || value === null ? [] : [[name, value]];
    }),
  );

const settings = {
  model: z.string().nullish().describe("A name from GET /v1/models. The first model by default."),
  prompt: z
    .string({ error: 'expected names of classes, such as "heart" or "heart,face"' })
    .max(10_000, { error: "expected at most 10000 characters" })
    .describe("Comma-separated names of classes or groups, or class numbers. The images use them in turn."),
  size: z
    .string()
    .max(100)
    .nullish()
    .describe(
      '"auto" or the model\'s own size, such as 32x32, or an integer multiple of it, such as 1024x1024, which repeats every pixel (nearest neighbour).',
    ),
  response_format: z
    .enum(["b64_json", "url"])
    .nullish()
    .describe("b64_json, or url for data: URLs (the server keeps no files). Streams always use b64_json."),
  output_format: z
    .enum(imageFormats)
    .nullish()
    .describe("png by default. png is always lossless, webp at output_compression 100, jpeg never."),
  output_compression: z
    .int()
    .min(0)
    .max(100)
    .nullish()
    .describe("Quality of webp and jpeg, 100 by default. At 100, webp is lossless. Has no effect on png."),
  input_fidelity: ignored("the kept pixels of an edit are always kept to the byte"),
  user: ignored("the server does not distinguish users"),
  quality: ignored("use iterations to choose the quality"),
  style: ignored("there is only one style"),
  background: ignored("the model determines the background"),
  moderation: ignored("models draw only their own classes"),
  seed: z
    .int()
    .min(0)
    .nullish()
    .describe("Image i of a seed is always the same. Random by default; the answer contains the seed."),
  ...samplingFields,
};

const pictureExpected = "expected a file";

/** The bytes of an uploaded file. */
const file = z
  .any()
  .refine((value) => value instanceof Uint8Array, { error: pictureExpected })
  .meta({ type: "string", format: "binary" }) as z.ZodType<Uint8Array>;

/** Returns the request schemas with this server's limits. */
export function requestSchemas({ images }: Pick<Limits, "images">) {
  const n = z
    .int()
    .min(1)
    .max(images)
    .nullish()
    .describe(
      "Number of images. By default one per class, or one per picture in an edit with more pictures than classes.",
    );
  const stream = z.boolean().nullish().describe("Answer with server-sent events in OpenAI's format.");
  const partial_images = z.int().min(0).max(3).nullish().describe("How many times a stream sends partial images.");
  return {
    GenerationRequest: z.strictObject({ ...settings, n, stream, partial_images }),
    EditRequest: z.strictObject({
      image: z
        .union([file, z.array(file).min(1).max(picturesMost)], { error: pictureExpected })
        .describe(
          "A PNG, JPEG or WebP of the model's size. Unmasked pixels are kept to the byte. Several pictures (image[]) are each edited: the results use them in turn, as they do classes.",
        ),
      mask: file
        .describe(
          "A picture of the same size. Its transparent pixels are redrawn, or its white pixels if it is fully opaque. Without a mask, the image's own transparent pixels are redrawn.",
        )
        .optional(),
      ring: z.int().min(0).max(4096).optional().describe("Extra patches to redraw around the mask, which hides seams."),
      ...settings,
      n,
      stream,
      partial_images,
    }),
  };
}

export type Requests = ReturnType<typeof requestSchemas>;
export type GenerationRequest = z.infer<Requests["GenerationRequest"]>;

const image = z.strictObject({
  b64_json: z
    .string()
    .optional()
    .describe(
      "A file with the model, class, seed and options in its metadata: PNG text chunks, or EXIF in WebP and JPEG.",
    ),
  url: z.string().optional().describe("The same file as a data: URL, if response_format is url."),
  class: z.string(),
  seed: z.int(),
  index: z.int().describe("The index of the image among those of the seed."),
});

const images = z.strictObject({
  created: z.int().describe("Seconds since 1970."),
  model: z.string(),
  size: z.string(),
  output_format: z.enum(imageFormats),
  mask_rule: z.enum(["transparent", "white"]).optional().describe("Which pixels of the mask were redrawn."),
  data: z.array(image),
});

const failed = z.strictObject({
  message: z.string().describe("What is wrong and what to do."),
  type: z.string(),
  param: z.string().nullable().describe("The field that caused the error."),
  code: z.string().nullable(),
});

const job = z.strictObject({
  id: z.string(),
  object: z.literal("job"),
  kind: z.enum(["generation", "edit"]),
  status: z.enum(["queued", "running", "done", "failed", "cancelled"]),
  created: z.int(),
  model: z.string(),
  n: z.int(),
  progress: z.number().min(0).max(1),
  result: images.optional().describe("Present when the job is done."),
  error: failed.optional().describe("Present if the job failed or was cancelled."),
});

const model = z.strictObject({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
  image_size: z.int(),
  channels: z.int(),
  classes: z.array(z.string()),
  groups: z
    .record(z.string(), z.array(z.string()))
    .optional()
    .describe("Names for groups of classes, which a prompt may use."),
  sampling: z.record(z.string(), z.unknown()).describe("The model's default sampling settings."),
});

export const answerSchemas = {
  Images: images,
  ImageEvents: z
    .string()
    .describe(
      "Server-sent events: image_generation (or image_edit).partial_image {b64_json, partial_image_index, index}, then .completed {b64_json, class, seed, index} for each image, or error {error}.",
    ),
  Job: job,
  JobEvents: z
    .string()
    .describe(
      "Server-sent events: progress {progress}, preview {images: base64 PNGs}, then either done (the job) or error {error}.",
    ),
  Model: model,
  ModelList: z.strictObject({ object: z.literal("list"), data: z.array(model) }),
  Health: z.strictObject({ status: z.enum(["ok", "stopping"]), waiting: z.int(), running: z.int() }),
  Error: z.strictObject({ error: failed }),
};

export type ImagesAnswer = z.infer<typeof images>;
export type JobAnswer = z.infer<typeof job>;
export type ModelAnswer = z.infer<typeof model>;

/** Validates a body against its schema. Throws a `UserError` that names the first invalid field. */
export function parsed<S extends z.ZodObject>(schema: S, value: unknown): z.infer<S> {
  const found = schema.safeParse(value);
  if (!found.success) throw wrongField(found.error.issues[0], Object.keys(schema.shape));
  return found.data;
}

function wrongField(issue: z.core.$ZodIssue, known: readonly string[]): UserError {
  const [field, ...rest] = issue.path;
  if (field === undefined) return new UserError({ problem: explain(issue, known) });
  const at = rest.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("");
  return new UserError({ subject: { setting: String(field), at }, problem: problemOf(issue, known) });
}
