/** `fractalgen download`: fetches a checkpoint, goes on after breaks, and hands it on to be converted. */

import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import type { ModelConfig } from "../config/model.ts";
import { publishedNames } from "../config/published.ts";
import { product } from "../core/arrays.ts";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";
import { recoverFolder } from "../files/atomic.ts";
import { recordedSha256 } from "../files/checksum.ts";
import { openConversion } from "../files/convert.ts";
import { checksumOf, type Downloaded, type DownloadRecord, download, type FileKind } from "../files/download.ts";
import { openCheckpoint } from "../files/pth.ts";
import { findSource, type Source } from "../files/sources.ts";
import { modelParameters } from "../model/parameters.ts";
import { configFrom } from "./convert.ts";
import { downloadTeller } from "./download-progress.ts";
import { helpOption } from "./engine.ts";
import { interruptible } from "./interrupt.ts";
import { checkFolder } from "./outputs.ts";
import { type Progress, progressOn } from "./progress.ts";
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
  convert: boolean;
}

const torchCheckpoint: FileKind = {
  name: "a PyTorch checkpoint",
  begins: new TextEncoder().encode("PK\u0003\u0004"),
  check: async (path) => (await openCheckpoint(path)).close(),
};

/** Empty counts as not set. */
const variable = (name: string): string | undefined => process.env[name] || undefined;
const isOn = (name: string): boolean => /^(1|on|yes|true)$/i.test(variable(name) ?? "");

export function addDownload(program: Command): void {
  program
    .command("download")
    .summary("fetch one of the paper's models, or another checkpoint, and convert it")
    .description(
      "Download a checkpoint into the cache, going on where an earlier call was broken off, and convert it into a model folder. Its SHA-256 is recorded, and checked whenever it is used again.",
    )
    .argument(
      "<source>",
      `${publishedNames.join(", ")}; a Hugging Face model, org/name or org/name@revision; an address; or a file`,
      filled,
    )
    .argument("[out]", "a new folder for the model (default: named after the source)", filled)
    .option("--config <name|file>", "the architecture, as for convert; one of the paper's models has its own", filled)
    .option("--no-convert", "leave the checkpoint as it is, and print where it is")
    .option("--file <name>", "which file of a Hugging Face model (default: its checkpoint, where there is one)", filled)
    .option("--sha256 <hex>", "what the checkpoint has to have, as sha256sum prints it", sha256)
    .option("--cache <dir>", "where downloads are kept", filled, join(cacheHome(), "fractalgen"))
    .option("--offline", "ask no server; also by FRACTALGEN_OFFLINE=1 or HF_HUB_OFFLINE=1")
    .option("--force", "download again even where the checkpoint is in the cache")
    .option("--json", "print one line of JSON, no progress")
    .addHelpOption(helpOption())
    .addHelpText(
      "after",
      "\nHF_ENDPOINT names a mirror of Hugging Face, HF_TOKEN gives access to private models. HTTPS_PROXY is heeded where\nNode.js supports it (24.5 and newer) and NODE_USE_ENV_PROXY=1 is set; elsewhere download by other means and give the\nfile.\n\nExamples:\n  fractalgen download fractalmar_in64\n  fractalgen sample --model fractalmar_in64\n  fractalgen download org/name models/mine --file checkpoint-last.pth --config mine.json",
    )
    .action(runDownload);
}

const cacheHome = () => variable("XDG_CACHE_HOME") ?? join(homedir(), ".cache");

const sha256 = (text: string): string => {
  if (!/^[0-9a-f]{64}$/i.test(text))
    throw new InvalidArgumentError(`expected 64 hexadecimal digits, got ${JSON.stringify(text)}`);
  return text.toLowerCase();
};

async function runDownload(text: string, out: string | undefined, flags: DownloadFlags): Promise<void> {
  const offline = flags.offline || isOn("FRACTALGEN_OFFLINE") || isOn("HF_HUB_OFFLINE");
  const progress = progressOn(process.stderr, { quiet: flags.json });
  const teller = downloadTeller(progress, { quiet: flags.json });
  const { signal, exitCode, done } = interruptible();
  try {
    checkFolder(flags.cache, { option: "--cache" });
    const source = await findSource(text, {
      cache: join(flags.cache, "downloads"),
      file: flags.file,
      endpoint: variable("HF_ENDPOINT"),
      token: variable("HF_TOKEN"),
      offline,
      signal,
    });
    const goal = flags.convert ? await goalOf(source, { ...flags, out }) : undefined;
    const { force, sha256 = source.sha256 } = flags;
    const { url, path, ...details } = source;
    if (url !== undefined && !offline) noteProxy();
    const found = await told(
      url === undefined
        ? localCheckpoint(path, { sha256, signal })
        : download(url, path, { ...details, kind: torchCheckpoint, sha256, force, offline, signal }),
      teller.tell,
    );
    teller.done(found);
    if (goal) await convert(found.path, { ...goal, progress, signal });
    progress.clear();
    const result = goal?.out ?? found.path;
    console.log(flags.json ? JSON.stringify({ source: text, ...found, out: goal?.out }) : result);
  } catch (error) {
    progress.clear();
    if (!signal.aborted) throw error;
    console.error(`stopped${teller.reached()}; go on with the same command`);
    process.exitCode = exitCode();
  } finally {
    done();
    progress.clear();
  }
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

interface Goal {
  out: string;
  config: ModelConfig;
}

/** What becomes of the checkpoint; what stands in its way is found out before hours go into a download. */
async function goalOf(
  { name, preset }: Source,
  { out = name, config: named = preset }: { out?: string; config?: string },
): Promise<Goal> {
  if (named === undefined)
    throw new UserError(
      `--config: expected the model's architecture, ${publishedNames.join(", ")} or a file; or leave the checkpoint as it is by --no-convert`,
    );
  const config = configFrom(named);
  checkFolder(out, { option: "[out]" });
  await recoverFolder(out);
  if (existsSync(out)) throw new UserError(`${out} is there already; give the name of a new folder`);
  await checkSpace(out, 4 * modelParameters(config).reduce((sum, { shape }) => sum + product(shape), 0));
  return { out, config };
}

async function convert(
  path: string,
  { out, config, progress, signal }: Goal & { progress: Progress; signal: AbortSignal },
): Promise<void> {
  const conversion = await openConversion(path, config);
  try {
    await checkSpace(out, conversion.bytes);
    await conversion.write(out, {
      signal,
      onProgress: (at, total) =>
        progress.update(`converting: ${Math.floor((100 * at) / total)}%, ${byteCount(at)} of ${byteCount(total)}`),
    });
  } finally {
    await conversion.close();
  }
}

/** A file that is there already, checked like a download. */
async function* localCheckpoint(
  path: string,
  { sha256, signal }: { sha256?: string; signal: AbortSignal },
): AsyncGenerator<DownloadRecord, Downloaded> {
  await torchCheckpoint.check!(path);
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
