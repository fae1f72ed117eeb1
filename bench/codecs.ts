/**
 * `npm run bench -- codecs`: bits per dimension of lossless image formats on held-out images; JPEG XL if cjxl is
 * installed.
 */

import { execFile } from "node:child_process";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { evenly, type Dataset } from "../src/data/dataset.ts";
import { inOrder } from "../src/data/in-order.ts";
import { openDataset } from "../src/data/open.ts";
import { referencePoints } from "../src/data/references.ts";
import { imagePng } from "../src/pictures/grid.ts";

export interface CodecsBench {
  data: string;
  cache: string;
  images: number;
  json?: boolean;
}

const execute = promisify(execFile);

export async function benchCodecs({ data, cache, images, json }: CodecsBench): Promise<void> {
  const dataset = await openDataset(data, { cache });
  const some = { ...dataset, heldOut: evenly(dataset.heldOut, images) };
  const points = await referencePoints(some, { limit: images });
  const version = await execute("cjxl", ["--version"]).then(
    ({ stdout }) => stdout.split("\n")[0],
    () => undefined,
  );
  if (version) points.push({ name: "JPEG XL", bits: await jpegXlBits(some) });
  if (json) return console.log(JSON.stringify({ data, images: some.heldOut.count, jpegXl: version, points }));
  console.log(`${some.heldOut.count} held-out images of ${dataset.name}, one file each: bits per dimension`);
  for (const { name, bits } of points) console.log(`  ${name.padEnd(16)} ${bits.toFixed(4)}`);
  console.log(version ? `  (${version}, lossless, effort 9)` : "  JPEG XL: skipped, because cjxl is not installed (apt-get install libjxl-tools)"); // prettier-ignore
}

/** Bits per dimension with one file for each held-out image, including headers. */
async function jpegXlBits({ heldOut, size, channels }: Dataset): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "fractalgen-codecs-"));
  try {
    const lengthOf = async (index: number) => {
      const [png, jxl] = ["png", "jxl"].map((ending) => join(folder, `${index}.${ending}`));
      await writeFile(png, await imagePng(heldOut.image(index), { size, channels }));
      await execute("cjxl", [png, jxl, "-d", "0", "-e", "9", "--quiet"]);
      return (await stat(jxl)).size;
    };
    let bytes = 0;
    for await (const length of inOrder(Array.from({ length: heldOut.count }, (_, i) => i), lengthOf)) bytes += length; // prettier-ignore
    return (8 * bytes) / (heldOut.count * size * size * channels);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
