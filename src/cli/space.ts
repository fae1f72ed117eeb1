/** Checks free disk space. */

import { existsSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { byteCount } from "../core/byte-count.ts";
import { UserError } from "../core/errors.ts";

/** Throws a UserError if the disk that will hold `path` has less than `bytes` free. */
export async function checkSpace(path: string, bytes: number): Promise<void> {
  let at = resolve(path);
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at);
  const { bavail, bsize } = await statfs(at);
  if (bavail * bsize < bytes)
    throw new UserError(
      `${path} needs ${byteCount(bytes)}, but its disk has ${byteCount(bavail * bsize)} free; free some space or choose another location`,
    );
}
