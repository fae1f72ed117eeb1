/** The work of `fractalgen download`: finds the source, downloads or checks its file, and converts it. */

import { join } from "node:path";
import { publishedInception } from "../config/downloads.ts";
import { inceptionName } from "../files/cache.ts";
import { type Downloaded, type DownloadRecord, download } from "../files/download.ts";
import { inceptionFile, localCheckpoint, torchCheckpoint } from "../files/local-checkpoint.ts";
import { findCheckpointSource } from "../files/sources.ts";
import type { WeightKind } from "../files/state-dict.ts";
import { type Goal, onProgress, roomFor } from "./conversion.ts";
import { downloadTeller } from "./download-progress.ts";
import { checkFolder } from "./outputs.ts";
import type { Progress } from "./progress.ts";
import { withProgress } from "./running.ts";
import { checkSpace } from "./space.ts";

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

/** An empty variable counts as not set. */
const variable = (name: string): string | undefined => process.env[name] || undefined;
const isOn = (name: string): boolean => /^(1|on|yes|true)$/i.test(variable(name) ?? "");

export async function runDownload(text: string, out: string | undefined, flags: DownloadFlags): Promise<void> {
  const offline = flags.offline || isOn("FRACTALGEN_OFFLINE") || isOn("HF_HUB_OFFLINE");
  let reached = () => "";
  const left = () => `${reached()}; run the same command again to resume`;
  await withProgress({ quiet: flags.json, left }, async ({ progress, signal, closing }) => {
    const teller = downloadTeller(progress, { quiet: flags.json });
    ({ reached } = teller);
    checkFolder(flags.cache, { option: "--cache" });
    const isInception = text === inceptionName;
    const source = await findCheckpointSource(isInception ? publishedInception.url : text, {
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

/** Passes every record to `tell` and returns the result. */
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

/** Node.js uses these variables only if NODE_USE_ENV_PROXY is set, and version 20 never does. */
function noteProxy(): void {
  const name = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"].find((known) => variable(known));
  if (!name || (variable("NODE_USE_ENV_PROXY") === "1" && process.allowedNodeEnvironmentFlags.has("--use-env-proxy")))
    return;
  console.error(`note: ${name} is set but not used; see --help for how to enable it`);
}
