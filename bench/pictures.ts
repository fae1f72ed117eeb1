/** `npm run pictures`: makes the pictures of the documents again, from the shipped models. */

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { shippedModels } from "../src/cli/models.ts";
import { filled } from "../src/cli/values.ts";
import { UserError } from "../src/core/errors.ts";
import { defaultCache } from "../src/files/cache.ts";
import { Ended } from "./pictures-sheets.ts";
import { chosen, modelOf, otherPictures, pictureRows, usualData } from "./pictures-table.ts";

interface PictureFlags {
  out: string;
  model: string[];
  data: Record<string, string>;
  cache: string;
  list?: boolean;
}

/** Makes pictures, and prints a line for each. Those that cannot be made here are left as they are, with the reason. */
async function makePictures(names: readonly string[], flags: PictureFlags): Promise<void> {
  const rows = chosen(pictureRows(flags.model), names);
  if (flags.list) {
    for (const { file, shows } of rows) console.log(`${file.padEnd(24)} ${shows}`);
    for (const [folder, how] of Object.entries(otherPictures)) console.log(`${folder.padEnd(24)} (from ${how})`);
    return;
  }
  await mkdir(flags.out, { recursive: true });
  for (const [at, row] of rows.entries()) {
    const out = join(flags.out, row.file);
    console.error(`${at + 1} of ${rows.length}: ${row.file}, ${row.shows}`);
    const scratch = await mkdtemp(join(tmpdir(), "fractalgen-pictures-"));
    try {
      const data = flags.data[modelOf(row)] ?? usualData(row.model);
      const reason = await row.make({ out, scratch, data, cache: flags.cache });
      console.log(reason === undefined ? `${out}: made` : `${out}: skipped, because ${reason}`);
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }
}

const pairs = (text: string, before: Record<string, string> = {}): Record<string, string> => {
  const at = text.indexOf("=");
  if (at < 1 || at === text.length - 1) throw new UserError(`--data: expected MODEL=PATH, got "${text}"`);
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
};

const program = new Command("npm run pictures --")
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
  .description("Makes the pictures of README.md, docs/ and the model cards again, from the shipped models.")
  .argument("[names...]", "pictures such as samples or emoji-grid, or models (default: all)")
  .option("--out <dir>", "the folder to write to", filled, "docs")
  .option(
    "--model <dirs>",
    "models, comma-separated (default: all shipped models)",
    (text) => text.split(","),
    shippedModels(),
  )
  .option("--data <model=path>", "the data of a model other than emoji; can be repeated", pairs, {})
  .option("--cache <dir>", "folder for decoded data sets", filled, defaultCache())
  .option("--list", "list the pictures instead of making them")
  .addHelpText("after", "\nExamples:\n  npm run pictures -- samples\n  npm run pictures -- digits --data digits=mnist/")
  .action(makePictures);

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof Ended)) {
    if (!(error instanceof UserError)) throw error;
    console.error(`error: ${error.message}`);
    process.exitCode = 2;
  }
}
