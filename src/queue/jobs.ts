/**
 * Jobs: pure functions of the inputs they name. Models, data and other inputs are named by their SHA-256, so a job's
 * result does not depend on the worker that runs it or on the number of retries.
 */

import { createHash } from "node:crypto";
import { z } from "zod";
import { samplingSchema } from "../config/sampling.ts";

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const index = z.int().min(0);
const seed = z.int().min(0);

/** A model: the hashes of its config.json and its weights. */
const model = z.strictObject({ config: hash, weights: hash });
export type ModelName = z.infer<typeof model>;

/** A data set: the hash of its file and its fingerprint. */
const data = z.strictObject({ file: hash, fingerprint: z.string().max(64) });
export type DataName = z.infer<typeof data>;

/** A feature network: Inception-v3's weights, or a network of own features. */
const network = z.strictObject({ kind: z.enum(["inception", "own"]), config: hash.optional(), weights: hash });
export type NetworkName = z.infer<typeof network>;

/** The precision of matrix products, if it is not float32. A worker that cannot compute in it fails the job. */
const precision = z.literal("float16").optional();
export type JobPrecision = z.infer<typeof precision>;

/** Draws images. Result: their bytes [n, S, S, C]. */
const sample = z.strictObject({
  kind: z.literal("sample"),
  model,
  labels: z.array(index).min(1),
  indices: z.array(index),
  seed: z.union([seed, z.array(seed)]),
  settings: samplingSchema,
  precision,
  /** Known pixels of edits: bytes [n, S, S, C] and [n, S, S]. */
  known: z.strictObject({ images: hash, mask: hash }).optional(),
});

/** Scores images `from` to `to - 1` of a part of a data set. Result: their likelihoods. */
const likelihood = z.strictObject({
  kind: z.literal("likelihood"),
  model,
  data,
  part: z.enum(["held-out", "train"]),
  /** The number of images taken from the part, evenly spaced. */
  images: z.int().min(2),
  from: index,
  to: z.int().min(1),
  inOrder: z.boolean(),
  passes: z.int().min(1),
  conditional: z.boolean(),
  seed,
  batch: z.int().min(1),
  breakdown: z.boolean(),
  precision,
});

/** Features of opaque RGB images [n, S, S, 3] in the job's area. Result: features [n, D], then logits [n, classes]. */
const features = z.strictObject({
  kind: z.literal("features"),
  network,
  images: hash,
  count: z.int().min(1),
  size: z.int().min(1).max(4096),
});

/** A replica's steps of a training round, from weights in the job's area. Result: its difference and its new state. */
const replica = z.strictObject({
  kind: z.literal("replica"),
  config: hash,
  /** Parsed by `parseTrainingConfig`. */
  training: z.record(z.string(), z.unknown()),
  data,
  values: hash,
  /** The optimiser's state after the replica's last round. */
  state: hash.optional(),
  replica: index,
  /** The first step of the round, and the number of steps. */
  step: index,
  count: z.int().min(1),
});

const payload = z.discriminatedUnion("kind", [sample, likelihood, features, replica]);
/** The inputs of a job, by kind. */
export type Job = z.infer<typeof payload>;
export type JobOf<K extends Job["kind"]> = Extract<Job, { kind: K }>;

/** A job as sent to a worker. */
export const sentJob = z.strictObject({
  version: z.string(),
  /** The command that sent it. A job whose command has ended is dropped. */
  run: z.string().regex(/^[\w-]+$/),
  /** The folder of its inputs and results in the shared folder. */
  area: z.string().regex(/^[\w-]+(\/[\w-]+)?$/),
  job: payload,
});
export type SentJob = z.infer<typeof sentJob>;

/** The likelihood of one image, as numbers that JSON keeps exactly. */
export interface ScoredImage {
  index: number;
  bits: number;
  channels: number[];
  guiding: number;
  breakdown?: { likeliest: number[][]; levels: number[][] };
}

/** A training step of one replica. */
export interface ReplicaStep {
  loss: number;
  bits: number;
  gradientNorm: number;
}

/** The results of jobs by kind. Hashes name files in the job's area. */
export interface Results {
  sample: { images: string };
  likelihood: { scored: ScoredImage[] };
  features: { values: string; width: number; classes: number };
  replica: { difference: string; state: string; steps: ReplicaStep[] };
}
export type Result = Results[Job["kind"]];

/** A worker's answer to a job. */
export interface Answer {
  result?: Result;
  /** Its command had ended, so it was not run. */
  dropped?: true;
  /** Bytes that the worker read and wrote in the shared folder. */
  traffic: { read: number; written: number };
  seconds: number;
}

/** A hash of what a job computes: equal for equal jobs. */
export const keyOf = (job: Job): string => createHash("sha256").update(JSON.stringify(job)).digest("hex");
