/** Where a checkpoint comes from: a published model, an address, a Hugging Face model, or a local file. Works out which
 *  file is meant and where the cache keeps it; download.ts downloads it. */

import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { publishedCheckpoints } from "../config/downloads.ts";
import { isPublished, publishedNames, type PublishedName } from "../config/published.ts";
import { didYouMean, UserError } from "../core/errors.ts";
import type { DownloadOptions } from "./download.ts";
import { noSuchFile } from "./regular.ts";

export interface CheckpointSource extends Pick<DownloadOptions, "sha256" | "subject" | "hint" | "headers"> {
  /** A suitable name for a folder made from it. */
  name: string;
  /** Where the file is, or will be downloaded to. */
  path: string;
  /** The address to download from; undefined for a local file. */
  url?: string;
  preset?: PublishedName;
}

export interface SourceOptions {
  /** The folder for downloads. */
  cache: string;
  /** Which file of a Hugging Face model. */
  file?: string;
  /** The address of Hugging Face or of a mirror. */
  endpoint?: string;
  /** For private and gated models on Hugging Face. */
  token?: string;
  offline?: boolean;
  signal?: AbortSignal;
}

const endings = /\.(pth|pt|ckpt|bin|safetensors)$/i;
const usualName = "checkpoint-last.pth";
const webAddress = "an address that begins with https:// or http://";

/**
 * Finds what `text` names. An existing file takes precedence over a published model. Throws a UserError if nothing
 * fits.
 */
export async function findCheckpointSource(text: string, options: SourceOptions): Promise<CheckpointSource> {
  if (text.startsWith("file:")) return localFile(pathOf(text));
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
  const isModel = /^[\w-][\w.-]*\/[\w-][\w.-]*(@[\w./-]+)?$/.test(text);
  const isThere = !isUrl && (await stat(text).catch(() => undefined)) !== undefined;
  if (options.file !== undefined && (isUrl || isThere || !isModel))
    throw new UserError({
      subject: { setting: "file" },
      problem: `it picks a file of a Hugging Face model, but ${text} is not one`,
      hint: "leave it out",
    });
  if (isThere) return localFile(text);
  if (isUrl) return address(text, options);
  if (isPublished(text)) {
    const { url, file, sha256 } = publishedCheckpoints[text];
    const hint = "the published file may have moved: give its new address, or a local copy, instead of the name";
    return { name: text, preset: text, url, sha256, subject: text, hint, path: join(options.cache, text, file) };
  }
  if (isModel && !endings.test(text)) return huggingFace(text, options);
  const near = didYouMean(text, publishedNames);
  throw new UserError({
    problem: `there is no model or file "${text}"${near}`,
    expected: near
      ? undefined
      : `one of ${publishedNames.join(", ")}, a Hugging Face model (org/name), an address (https://...) or a file`,
  });
}

async function localFile(path: string): Promise<CheckpointSource> {
  const entry = await stat(path).catch(() => undefined);
  if (!entry) throw new UserError({ subject: path, problem: noSuchFile, hint: "check the path" });
  if (!entry.isFile())
    throw new UserError({
      problem: `${path} is a folder`,
      expected: `a checkpoint file such as ${join(path, usualName)}`,
    });
  return { name: nameOf(path), path };
}

function pathOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch {
    throw new UserError({
      subject: url,
      expected: `the address of a file on this machine, as in file:///folder/${usualName}`,
    });
  }
}

function address(text: string, { cache }: SourceOptions): CheckpointSource {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !["http:", "https:"].includes(url.protocol)) throw new UserError({ subject: text, expected: webAddress });
  if (url.username || url.password)
    throw new UserError({
      subject: url.host,
      problem: "an address that contains a user name or password is not supported",
      hint: "download the file yourself",
    });
  url.hash = "";
  const id = createHash("sha256").update(url.href).digest("hex").slice(0, 16);
  const file = safeName(url.pathname.split("/").at(-1)!) || "checkpoint";
  // Without the query, which may contain access keys.
  const subject = `${url.origin}${url.pathname}`;
  return { name: nameOf(file), url: url.href, path: join(cache, "addresses", id, file), subject };
}

const nameOf = (path: string): string => path.split(/[/\\]/).at(-1)!.replace(endings, "");

/** A file name without path separators that is valid on every file system. */
function safeName(text: string): string {
  let name = text;
  try {
    name = decodeURIComponent(text);
  } catch {
    // Not every percent sign begins an escape.
  }
  return name
    .replaceAll(/[^\w.-]/g, "_")
    .replace(/^\.+/, "")
    .slice(-100);
}

/** The part of the Hub's model API response that is used here. */
const repositorySchema = z.object({
  siblings: z.array(
    z.object({
      rfilename: z.string(),
      lfs: z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/i) }).nullish(),
    }),
  ),
});

async function huggingFace(text: string, options: SourceOptions): Promise<CheckpointSource> {
  const { cache, token } = options;
  const endpoint = (options.endpoint ?? "https://huggingface.co").replace(/\/+$/, "");
  if (!/^https?:$/.test(URL.canParse(endpoint) ? new URL(endpoint).protocol : ""))
    throw new UserError({ subject: "HF_ENDPOINT", expected: webAddress, got: `"${endpoint}"` });
  const [id, revision = "main"] = text.split("@");
  const folder = join(cache, "huggingface", ...id.split("/"), encodeURIComponent(revision).replace(/^\.+/, "_"));
  const headers = token ? { authorization: `Bearer ${token}` } : undefined;
  const api = `${endpoint}/api/models/${id}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const files = options.offline
    ? await downloadedIn(folder)
    : await filesOf(api, { ...options, headers, subject: `${text} on ${new URL(endpoint).host}` });
  const file = pick(
    files.map(({ name }) => name),
    { text, ...options },
  );
  const { sha256 } = files.find(({ name }) => name === file) ?? {};
  const segments = file.split("/");
  return {
    name: id.split("/")[1],
    url: `${endpoint}/${id}/resolve/${encodeURIComponent(revision)}/${segments.map(encodeURIComponent).join("/")}`,
    path: join(folder, ...segments),
    subject: `${file} of ${text}`,
    hint: "check the model's name and the file's; private and gated models need an access token in HF_TOKEN",
    sha256,
    headers,
  };
}

interface RemoteFile {
  name: string;
  /** Known for files in the Hub's large-file storage, which holds the checkpoints. */
  sha256?: string;
}

async function filesOf(
  api: string,
  {
    file,
    headers,
    subject,
    signal,
  }: Pick<SourceOptions, "file" | "signal"> & { headers?: Record<string, string>; subject: string },
): Promise<RemoteFile[]> {
  const limit = AbortSignal.timeout(30_000);
  try {
    const response = await fetch(api, { headers, signal: signal ? AbortSignal.any([signal, limit]) : limit });
    if (response.ok) {
      const { siblings } = repositorySchema.parse(await response.json());
      return siblings.map(({ rfilename, lfs }) => ({ name: rfilename, sha256: lfs?.sha256 }));
    }
    // The Hub also answers 401 for models that do not exist, so as not to reveal private ones.
    if (file === undefined && [401, 403, 404].includes(response.status))
      throw new UserError({
        subject,
        problem: `there is no such model or revision, or it is private (${response.status})`,
        hint: "check the name, or set an access token in HF_TOKEN for a private or gated model",
      });
    throw new Error(`the server answered ${response.status}`);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof UserError) throw error;
    // A mirror without this API still has the files.
    if (file !== undefined) return [];
    const { message, cause } = error as Error;
    const unexpected = error instanceof z.ZodError || error instanceof SyntaxError;
    const detail = cause instanceof Error ? cause.message || (cause as NodeJS.ErrnoException).code : message;
    throw new UserError(
      {
        subject,
        problem: `cannot list the model's files (${unexpected ? "the server sent an unexpected answer" : detail})`,
        hint: ["try again", { do: "name one of them", setting: "file" }],
      },
      { cause: error },
    );
  }
}

/** Files whose download is complete; these have a recorded checksum. */
async function downloadedIn(folder: string): Promise<RemoteFile[]> {
  const names = await readdir(folder, { recursive: true }).catch((): string[] => []);
  return names.filter((name) => names.includes(`${name}.sha256`)).map((name) => ({ name: name.replaceAll("\\", "/") }));
}

/** Names come from a server, are used as paths and are printed in a terminal. */
const isHarmless = (name: string): boolean =>
  /^[\x20-\x7e]+$/.test(name) && name.split(/[/\\]/).every((part) => part !== "" && !part.startsWith("."));

/** The requested file, otherwise the one with the usual name, otherwise the only candidate. */
function pick(names: string[], { text, file, offline }: { text: string; file?: string; offline?: boolean }): string {
  const usable = names.filter(isHarmless);
  if (file !== undefined) {
    const subject = { setting: "file" };
    if (!isHarmless(file))
      throw new UserError({ subject, expected: `the name of a file of ${text}`, got: `"${file}"` });
    if (usable.length === 0 || offline || usable.includes(file)) return file;
    throw new UserError({ subject, problem: `${text} has no file "${file}"${didYouMean(file, usable)}` });
  }
  const candidates = usable.filter((name) => endings.test(name));
  const usual = candidates.filter((name) => name.split("/").at(-1) === usualName);
  // The same weights are often published as .safetensors, too.
  const torch = candidates.filter((name) => !/\.safetensors$/i.test(name));
  const only = [usual, candidates, torch].find((names) => names.length === 1);
  if (only && (usual.length < 2 || only === usual)) return only[0];
  if (candidates.length === 0) {
    const where = offline ? "is in the cache, and downloading is switched off" : "was found";
    throw new UserError({
      subject: text,
      problem: `no checkpoint (.pth, .pt, .ckpt, .bin or .safetensors) ${where}`,
    });
  }
  const some = `${candidates.slice(0, 10).join(", ")}${candidates.length > 10 ? ", …" : ""}`;
  throw new UserError({
    problem: `${text} has several checkpoints: ${some}`,
    hint: { do: "pick one of them", setting: "file" },
  });
}
