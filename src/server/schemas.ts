/** What requests and answers look like: the schemas that check requests and that the OpenAPI document is made from. */

import { z } from "zod";
import { explain, problemOf } from "../config/model.ts";
import { type SamplingFlags, samplingNames, samplingSetting } from "../config/sampling.ts";
import { schemaOf } from "../config/setting.ts";
import { UserError } from "../core/errors.ts";
import { snakeCase } from "../core/names.ts";
import type { BodyLimits } from "./bodies.ts";
import { imageFormats } from "./encoding.ts";

/** How much requests may ask for. */
export interface Limits extends BodyLimits {
  /** Images of one request. */
  images: number;
  /** Images that wait, of all requests together. */
  queue: number;
  /** Bytes of a form with files, and of JSON, which has no pictures in it. */
  body: number;
  json: number;
  /** Finished jobs that are kept, and for how many milliseconds. */
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

/** Pictures of one edit, as many as OpenAI takes. */
export const picturesMost = 16;

const ignored = (name: string) => z.string().nullish().describe(`taken, for OpenAI's clients send it, but ${name}`);

/** The declared settings of sampling, filter_threshold for filterThreshold. */
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

/** Those that a request gives. */
export const samplingIn = (body: object): SamplingFlags =>
  Object.fromEntries(
    samplingNames.flatMap((name) => {
      const value = (body as Record<string, unknown>)[snakeCase(name)];
      return value === undefined || value === null ? [] : [[name, value]];
    }),
  );

const settings = {
  model: z.string().nullish().describe("a name of GET /v1/models; the first of them by default"),
  prompt: z
    .string({ error: 'expected names of classes, such as "heart" or "heart,face"' })
    .max(10_000, { error: "expected at most 10000 characters" })
    .describe("names of classes or groups, or numbers, comma-separated; images take them in turn"),
  size: z
    .string()
    .max(100)
    .nullish()
    .describe(
      '"auto" or the model\'s own, such as 32x32; or a whole multiple of it, such as 1024x1024, in which every pixel is repeated (nearest neighbour)',
    ),
  response_format: z
    .enum(["b64_json", "url"])
    .nullish()
    .describe("b64_json, or url for data: URLs: no files are kept; streams always have b64_json"),
  output_format: z.enum(imageFormats).nullish().describe("png and webp are lossless, jpeg is not; png by default"),
  output_compression: z
    .int()
    .min(0)
    .max(100)
    .nullish()
    .describe("the quality of webp and jpeg; 100 by default, at which webp is lossless; png is lossless at any"),
  input_fidelity: ignored("what an edit keeps is kept to the byte"),
  user: ignored("nobody is told apart"),
  quality: ignored("iterations is what decides"),
  style: ignored("there is one only"),
  background: ignored("models decide it"),
  moderation: ignored("classes are all there is"),
  seed: z
    .int()
    .min(0)
    .nullish()
    .describe("image i of a seed is always the same; a random one by default, which the answer tells"),
  ...samplingFields,
};

const pictureExpected = "expected a file";

/** The bytes of a file in a form. */
const file = z
  .any()
  .refine((value) => value instanceof Uint8Array, { error: pictureExpected })
  .meta({ type: "string", format: "binary" }) as z.ZodType<Uint8Array>;

/** The schemas of requests, whose bounds are the server's own. */
export function requestSchemas({ images }: Pick<Limits, "images">) {
  const n = z
    .int()
    .min(1)
    .max(images)
    .nullish()
    .describe("how many images; one of each class by default, and of each picture of an edit");
  const stream = z.boolean().nullish().describe("answers with server-sent events, as OpenAI's clients read them");
  const partial_images = z.int().min(0).max(3).nullish().describe("how often a stream shows unfinished images");
  return {
    GenerationRequest: z.strictObject({ ...settings, n, stream, partial_images }),
    EditRequest: z.strictObject({
      image: z
        .union([file, z.array(file).min(1).max(picturesMost)], { error: pictureExpected })
        .describe(
          "PNG, JPEG or WebP of the model's size; what is not masked stays to the byte. Of several (image[]), each is edited: images take them in turn, as they do classes",
        ),
      mask: file
        .describe(
          "of the same size: transparent pixels are drawn anew or, where all are opaque, white ones; without a mask the image's own transparent pixels",
        )
        .optional(),
      ring: z.int().min(0).max(4096).optional().describe("as many more patches around the mask, which hides seams"),
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
    .describe("a PNG with model, class, seed and options in its text chunks; WebP and JPEG have them in EXIF"),
  url: z.string().optional().describe("the same as a data: URL, where response_format is url"),
  class: z.string(),
  seed: z.int(),
  index: z.int().describe("image number `index` of the seed"),
});

const images = z.strictObject({
  created: z.int().describe("seconds since 1970"),
  model: z.string(),
  size: z.string(),
  output_format: z.enum(imageFormats),
  mask_rule: z.enum(["transparent", "white"]).optional().describe("which pixels of the mask were drawn anew"),
  data: z.array(image),
});

const failed = z.strictObject({
  message: z.string().describe("one sentence"),
  type: z.string(),
  param: z.string().nullable().describe("the field that is wrong"),
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
  result: images.optional().describe("when it is done"),
  error: failed.optional().describe("when it failed or was cancelled"),
});

const model = z.strictObject({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
  image_size: z.int(),
  channels: z.int(),
  classes: z.array(z.string()),
  groups: z.record(z.string(), z.array(z.string())).optional().describe("broader names that a prompt may use"),
  sampling: z.record(z.string(), z.unknown()).describe("what is taken where a request leaves an option out"),
});

export const answerSchemas = {
  Images: images,
  ImageEvents: z
    .string()
    .describe(
      "server-sent events: image_generation (or image_edit).partial_image {b64_json, partial_image_index, index}, then .completed {b64_json, class, seed, index} for each image, or error {error}",
    ),
  Job: job,
  JobEvents: z
    .string()
    .describe(
      "server-sent events: progress {progress}, preview {images: base64 PNGs}, then one of done (a job), error {error}",
    ),
  Model: model,
  ModelList: z.strictObject({ object: z.literal("list"), data: z.array(model) }),
  Health: z.strictObject({ status: z.enum(["ok", "stopping"]), waiting: z.int(), running: z.int() }),
  Error: z.strictObject({ error: failed }),
};

export type ImagesAnswer = z.infer<typeof images>;
export type JobAnswer = z.infer<typeof job>;
export type ModelAnswer = z.infer<typeof model>;

/** A body as its schema says, without what is null; else a UserError about the field. */
export function parsed<S extends z.ZodObject>(schema: S, value: unknown): z.infer<S> {
  const found = schema.safeParse(value);
  if (!found.success) throw wrongField(found.error.issues[0], Object.keys(schema.shape));
  return found.data;
}

function wrongField(issue: z.core.$ZodIssue, known: readonly string[]): UserError {
  const [field, ...rest] = issue.path;
  if (field === undefined) return new UserError(explain(issue, known));
  const at = rest.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("");
  return new UserError({ subject: { setting: String(field), at }, problem: problemOf(issue, known) });
}
