/** The kinds of files that are downloaded or read from disk, and a local file that is checked like a download. */

import { stat } from "node:fs/promises";
import { UserError } from "../core/errors.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { recordedSha256 } from "./checksum.ts";
import { checksumOf, type Downloaded, type DownloadRecord, type FileKind } from "./download.ts";
import { openTorchWeights } from "./inception-pth.ts";
import { isOldStart } from "./old-pth.ts";
import { isSafetensorsStart } from "./safetensors-header.ts";

export const torchCheckpoint: FileKind = {
  name: "a PyTorch checkpoint or a safetensors file",
  begins: (head) =>
    head.subarray(0, 4).toString("latin1") === "PK\u0003\u0004" || isOldStart(head) || isSafetensorsStart(head),
  check: async (path) => (await openCheckpoint(path)).close(),
};

export const inceptionFile: FileKind = {
  name: "FID's Inception-v3 as a PyTorch file",
  begins: isOldStart,
  check: async (path) => (await openTorchWeights(path)).close(),
};

/** Checks an existing file like a download. Throws a `UserError` if it is of another kind or its SHA-256 is wrong. */
export async function* localCheckpoint(
  path: string,
  { kind, sha256, signal }: { kind: FileKind; sha256?: string; signal?: AbortSignal },
): AsyncGenerator<DownloadRecord, Downloaded> {
  await kind.check!(path);
  const bytes = (await stat(path)).size;
  const expected = sha256 ?? (await recordedSha256(path));
  const found = yield* checksumOf(path, { signal });
  if (expected !== undefined && found !== expected)
    throw new UserError({
      subject: path,
      problem: `its SHA-256 is ${found}`,
      expected,
      hint: "download the file again",
    });
  return { path, bytes, sha256: found, cached: true };
}
