/** Archives of many files. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { zip } from "./test-torch.ts";
import { openZip } from "./zip.ts";

const counted = process.platform === "linux";
/** The number of system calls that have read a file in this process so far. */
const reads = (): number => Number(/^syscr: (\d+)$/m.exec(readFileSync("/proc/self/io", "utf8"))![1]);

it("lists 20,000 files with few reads (Linux), and still reads each", async (context) => {
  context.skip(!counted, "it needs /proc");
  const folder = mkdtempSync(join(tmpdir(), "fractalgen-zip-"));
  try {
    const path = join(folder, "many.zip");
    const files = Array.from({ length: 20_000 }, (_, i) => [`${i}.txt`, Buffer.from(`file ${i}`)] as const);
    writeFileSync(path, zip(Object.fromEntries(files)));
    const before = reads();
    const archive = await openZip(path);
    expect(reads() - before).toBeLessThan(2000);
    expect(archive.entries.size).toBe(20_000);
    for (const name of ["0.txt", "9999.txt", "19999.txt"]) {
      const entry = archive.entries.get(name)!;
      // Reads and abandoned streams leave the file open for the next.
      for await (const _ of archive.stream(entry)) break;
      const bytes = await archive.read(entry, { start: 1, length: entry.uncompressedSize - 1 });
      expect(Buffer.from(bytes).toString()).toBe(`ile ${name.replace(".txt", "")}`);
    }
    archive.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
