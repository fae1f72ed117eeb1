/** Pictures as bytes in memory, and their enlargement. */

/** Bytes [height, width, channels]; three channels (RGB) unless a comment says otherwise. */
export interface Bitmap {
  data: Uint8Array;
  width: number;
  height: number;
}

/** Repeats each pixel `scale` times in both directions (nearest neighbour), for any number of channels. */
export function enlarged(picture: Bitmap, scale: number): Bitmap {
  if (scale === 1) return picture;
  const { data, width, height } = picture;
  const channels = data.length / (width * height);
  const rowBytes = width * scale * channels;
  const out = new Uint8Array(rowBytes * height * scale);
  for (let y = 0; y < height; y++) {
    const start = y * scale * rowBytes;
    for (let x = 0; x < width; x++) {
      const pixel = data.subarray((y * width + x) * channels, (y * width + x + 1) * channels);
      for (let i = 0; i < scale; i++) out.set(pixel, start + (x * scale + i) * channels);
    }
    for (let i = 1; i < scale; i++) out.copyWithin(start + i * rowBytes, start, start + rowBytes);
  }
  return { data: out, width: width * scale, height: height * scale };
}
