/** Data sets that tests write, open, and expect to be refused: what the tests of IDX, npz and Parquet share. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import type * as Errors from "../core/errors.ts";
import { fromBuild } from "../test-program.ts";
import type { Dataset, Split } from "./dataset.ts";
import type * as Open from "./open.ts";
import { put } from "./test-files.ts";

const { openDataset } = await fromBuild<typeof Open>("data/open");
/** The errors that `openDataset` throws. */
export const { UserError } = await fromBuild<typeof Errors>("core/errors");

/** A temporary folder for the tests of one file, removed after them. */
export function temporaryData() {
  const root = mkdtempSync(join(tmpdir(), "fractalgen-arrays-"));
  afterAll(() => rmSync(root, { recursive: true }));
  let made = 0;
  const open = (path: string, options: Partial<Open.DataOptions> = {}): Promise<Dataset> =>
    openDataset(path, { cache: join(root, "cache"), ...options });
  return {
    root,
    open,
    /** Writes files to a new folder. */
    folderOf(files: Record<string, Uint8Array>): string {
      const folder = join(root, `set${made++}`);
      for (const [name, content] of Object.entries(files)) put(join(folder, name), content);
      return folder;
    },
    /** Expects a user error with this message. */
    async refused(path: string, message: RegExp, options?: Partial<Open.DataOptions>): Promise<void> {
      const error: unknown = await open(path, options).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(UserError);
      expect((error as Error).message).toMatch(message);
    },
  };
}

/** `count` images of the given sizes; image i begins with byte `from` + i. */
export function counting(count: number, [height, width, channels = 1]: number[], { from = 0 } = {}): Uint8Array {
  const each = height * width * channels;
  return Uint8Array.from({ length: count * each }, (_, i) => (i % each === 0 ? from + i / each : i % 251));
}

/** The first byte of each image. */
export const firsts = (split: Split): number[] => Array.from({ length: split.count }, (_, i) => split.image(i)[0]);

export const labelNames = ({ labels }: Split, classes: string[]): string[] =>
  [...labels].map((label) => classes[label]);
