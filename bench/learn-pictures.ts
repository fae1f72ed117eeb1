/**
 * Makes the pictures that the studio's training page learns from: `node --import tsx bench/learn-pictures.ts CACHE`. Each
 * class is a PNG of 16x16 emoji, one below the other, the held-out ones last.
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { joined } from "../src/core/arrays.ts";
import type { Split } from "../src/data/dataset.ts";
import { emojiDataset } from "../src/data/emoji.ts";
import { writeFileAtomic } from "../src/files/atomic.ts";

const size = 16;
const names = ["heart", "smiling face", "clock", "moon or star"];
const folder = fileURLToPath(new URL("../src/web/learn/pictures/", import.meta.url));

const { classes, train, heldOut } = await emojiDataset({ size, cache: process.argv[2] ?? "cache" });
for (const name of names) {
  const label = classes.indexOf(name);
  const of = ({ labels, image }: Split) => [...labels.keys()].filter((i) => labels[i] === label).map(image);
  const [shown, kept] = [of(train), of(heldOut)];
  const height = size * (shown.length + kept.length);
  const png = await sharp(joined([...shown, ...kept]), { raw: { width: size, height, channels: 3 } })
    .png({ compressionLevel: 9, adaptiveFiltering: true })
    .toBuffer();
  await writeFileAtomic(join(folder, `${name.replaceAll(" ", "-")}.png`), png);
  console.log(`${name}: ${shown.length} pictures and ${kept.length} held-out ones, ${png.length} bytes`);
}
