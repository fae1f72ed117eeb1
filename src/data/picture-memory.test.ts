/** The memory that decoding a picture is expected to take. */

import { expect, it } from "vitest";
import { bytesPerPixel, type Header } from "./picture-memory.ts";

it("is expected to be larger with alpha, in floats, and where decoders need the whole picture", () => {
  const header: Header = {
    format: "png",
    channels: 3,
    depth: "uchar",
    space: "srgb",
    hasAlpha: false,
    isProgressive: false,
  };
  const cost = (other: Partial<Header>) => bytesPerPixel({ ...header, ...other });
  const plain = cost({});
  for (const other of [
    { hasAlpha: true, channels: 4 },
    { depth: "float" },
    { isProgressive: true },
    { format: "webp" },
    { format: "heif" },
    { format: "jpeg", isProgressive: true, chromaSubsampling: "4:4:4" },
    { format: "jpeg", space: "cmyk", channels: 4 },
  ] as Partial<Header>[])
    expect(cost(other), JSON.stringify(other)).toBeGreaterThan(plain);
});
