/** `fractalgen download`: fetches a checkpoint, or the network that images are measured with, and has it converted. */

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { publishedInception } from "../config/downloads.ts";
import { publishedNames } from "../config/published.ts";
import { UserError } from "../core/errors.ts";
import { recordedSha256 } from "../files/checksum.ts";
import { checksumOf, type Downloaded, type DownloadRecord, download, type FileKind } from "../files/download.ts";
import { oldStart, openTorchWeights } from "../files/inception-pth.ts";
import { openCheckpoint } from "../files/checkpoint.ts";
import { isSafetensorsStart } from "../files/safetensors-header.ts";
import { findSource } from "../files/sources.ts";
import type { WeightKind } from "../files/state-dict.ts";
import { type Goal, goalOf, onProgress, weightsOption } from "./convert.ts";
import { downloadTeller } from "./download-progress.ts";
import { helpOption } from "./engine.ts";
import { defaultCache, inceptionName } from "../files/cache.ts";
import { checkFolder } from "./outputs.ts";
import { type Progress } from "./progress.ts";
import { withProgress } from "./running.ts";
import { checkSpace } from "./space.ts";
import { filled } from "./values.ts";

interface DownloadFlags {
  file?: string;
  sha256?: string;
  cache: string;
  offline?: boolean;
  force?: boolean;
  json?: boolean;
  config?: string;
  weights?: WeightKind;
  convert: boolean;
}

const torchCheckpoint: FileKind = {
  name: "a PyTorch checkpoint or a safetensors file",
  begins: (head) => head.subarray(0, 4).toString("latin1") === "PK\u0003\u0004" || isSafetensorsStart(head),
  check: async (path) => (await openCheckpoint(path)).close(),
};

const inceptionFile: FileKind = {
  name: "FID's Inception-v3 as a PyTorch file",
  begins: (head) => head.subarray(0, oldStart.length).equals(oldStart),
  check: async (path) => (await openTorchWeights(path)).close(),
};

/** Empty counts as not set. */
const variable = (name: string): string | undefined => process.env[name] || undefined;
const isOn = (name: string): boolean => /^(1|on|yes|true)$/i.test(variable(name) ?? "");

export function addDownload(program: Command): void {
  program
    .command("download")
    .summary("fetch one of the paper's models, another checkpoint, or FID's network, and convert it")
    .description(
      "Download a checkpoint into the cache, going on where an earlier call was broken off, and convert it into a model folder. Its SHA-256 is recorded, and checked whenever it is used again.",
    )
    .argument(
      "<source>",
      `${publishedNames.join(", ")}; ${inceptionName}, which images are measured with; a Hugging Face model, org/name or org/name@revision; an address; or a file`,
      filled,
    )
    .argument(
      "[out]",
      "a new folder for the model (default: named after the source); of inception a file (default: in the cache, where evaluate looks for it)",
      filled,
    )
    .option("--config <name|file>", "the architecture, as for convert; what has a name has its own", filled)
    .addOption(weightsOption())
    .option("--no-convert", "leave the checkpoint as it is, and print where it is")
    .option("--file <name>", "which file of a Hugging Face model (default: its checkpoint, where there is one)", filled)
    .option("--sha256 <hex>", "what the checkpoint has to have, as sha256sum prints it", sha256)
    .option("--cache <dir>", "where downloads are kept", filled, defaultCache())
    .option("--offline", "ask no server; also by FRACTALGEN_OFFLINE=1 or HF_HUB_OFFLINE=1")
    .option("--force", "download again even where the checkpoint is in the cache")
    .option("--json", "print one line of JSON, no progress")
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nHF_ENDPOINT names a mirror of Hugging Face, HF_TOKEN gives access to private models. HTTPS_PROXY is heeded where\nNode.js supports it (24.5 and newer) and NODE_USE_ENV_PROXY=1 is set; elsewhere download by other means and give the\nfile.\n\nExamples:\n  fractalgen download fractalmar_in64\n  fractalgen sample --model fractalmar_in64\n  fractalgen download inception\n  fractalgen download org/name models/mine --file checkpoint-last.pth --config mine.json",
    )
    .action(runDownload);
}

const sha256 = (text: string): string => {
  if (!/^[0-9a-f]{64}$/i.test(text))
    throw new InvalidArgumentError(`expected 64 hexadecimal digits, got ${JSON.stringify(text)}`);
  return text.toLowerCase();
};

async function runDownload(text: string, out: string | undefined, flags: DownloadFlags): Promise<void> {
  const offline = flags.offline || isOn("FRACTALGEN_OFFLINE") || isOn("HF_HUB_OFFLINE");
  let reached = () => "";
  const left = () => `${reached()}; go on with the same command`;
  await withProgress({ quiet: flags.json, left }, async ({ progress, signal, closing }) => {
    const teller = downloadTeller(progress, { quiet: flags.json });
    ({ reached } = teller);
    checkFolder(flags.cache, { option: "--cache" });
    const isInception = text === inceptionName;
    const source = await findSource(isInception ? publishedInception.url : text, {
      cache: join(flags.cache, "downloads"),
      file: flags.file,
      endpoint: variable("HF_ENDPOINT"),
      token: variable("HF_TOKEN"),
      offline,
      signal,
    });
    const { force, config = isInception ? inceptionName : source.preset } = flags;
    const sha256 = flags.sha256 ?? (isInception ? publishedInception.sha256 : source.sha256);
    const kind = config === inceptionName ? inceptionFile : torchCheckpoint;
    const goal = flags.convert
      ? await roomFor(config, { out, name: source.name, cache: flags.cache, signal })
      : undefined;
    if (goal) closing(goal.owned, ({ release }) => release());
    const { url, path, ...details } = source;
    if (url !== undefined && !offline) noteProxy();
    const found = await told(
      url === undefined
        ? localCheckpoint(path, { kind, sha256, signal })
        : download(url, path, { ...details, kind, sha256, force, offline, signal }),
      teller.tell,
    );
    teller.done(found);
    if (goal) await convert(found.path, { goal, progress, signal, flags });
    progress.clear();
    const result = goal?.out ?? found.path;
    console.log(flags.json ? JSON.stringify({ source: text, ...found, out: goal?.out }) : result);
  });
}

/** Hands every record to `tell` and gives the result. */
async function told(
  records: AsyncGenerator<DownloadRecord, Downloaded>,
  tell: (record: DownloadRecord) => void,
): Promise<Downloaded> {
  for (;;) {
    const next = await records.next();
    if (next.done) return next.value;
    tell(next.value);
  }
}

/** What becomes of the checkpoint; what stands in its way is found out before hours go into a download. */
async function roomFor(config: string | undefined, place: Parameters<typeof goalOf>[1]): Promise<Goal> {
  if (config === undefined)
    throw new UserError(
      `--config: expected the model's architecture, ${publishedNames.join(", ")} or a file; or leave the checkpoint as it is by --no-convert`,
    );
  const goal = await goalOf(config, place);
  try {
    await checkSpace(goal.out, goal.bytes);
  } catch (error) {
    await goal.owned.release();
    throw error;
  }
  return goal;
}

async function convert(
  path: string,
  {
    goal: { out, open, owned },
    progress,
    signal,
    flags: { weights, json },
  }: { goal: Goal; progress: Progress; signal: AbortSignal; flags: DownloadFlags },
): Promise<void> {
  const conversion = await open(path, { weights });
  try {
    await checkSpace(out, conversion.bytes);
    if (!json) for (const note of conversion.notes) console.error(`note: ${note}`);
    await conversion.write(out, { signal, onProgress: onProgress(progress), owned });
  } finally {
    await conversion.close();
  }
}

/** A file that is there already, checked like a download. */
async function* localCheckpoint(
  path: string,
  { kind, sha256, signal }: { kind: FileKind; sha256?: string; signal: AbortSignal },
): AsyncGenerator<DownloadRecord, Downloaded> {
  await kind.check!(path);
  const bytes = (await stat(path)).size;
  const expected = sha256 ?? (await recordedSha256(path));
  const found = yield* checksumOf(path, { signal });
  if (expected !== undefined && found !== expected)
    throw new UserError(`${path}: its SHA-256 is ${found}, expected ${expected}; fetch the file again`);
  return { path, bytes, sha256: found, cached: true };
}

/** Node heeds these variables only where it is told to, and version 20 not at all. */
function noteProxy(): void {
  const name = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"].find((known) => variable(known));
  if (!name || (variable("NODE_USE_ENV_PROXY") === "1" && process.allowedNodeEnvironmentFlags.has("--use-env-proxy")))
    return;
  console.error(`note: ${name} is set, but not used; --help says how it can be`);
}
