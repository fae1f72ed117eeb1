/** The picture of docs/tutorial.md that shows the recursion. Knows no model. */

const cell = 12;

/**
 * An image [16, 16, 3] in the middle of being drawn, the patch that is being drawn in it, and in that the pixel, as an SVG
 * of three panels. `patch` and `pixel` count from 0 in raster order; what comes after them is left blank.
 */
export function recursionSvg(image: Uint8Array, { patch, pixel }: { patch: number; pixel: number }): string {
  const colour = (x: number, y: number) => `rgb(${image.subarray((y * 16 + x) * 3, (y * 16 + x) * 3 + 3).join()})`;
  const corner = { x: (patch % 4) * 4, y: Math.floor(patch / 4) * 4 };
  const inPatch = (n: number): [number, number] => [corner.x + (n % 4), corner.y + Math.floor(n / 4)];
  const parts: string[] = [];
  const square = (x: number, y: number, side: number, fill: string, stroke = "none") =>
    parts.push(`<rect x="${x}" y="${y}" width="${side}" height="${side}" fill="${fill}" stroke="${stroke}"/>`);
  const text = (x: number, y: number, words: string) => parts.push(`<text x="${x}" y="${y}">${words}</text>`);

  text(0, 14, "the image, 16 patches");
  for (let y = 0; y < 16; y++)
    for (let x = 0; x < 16; x++) {
      const at = Math.floor(y / 4) * 4 + Math.floor(x / 4);
      if (at < patch) square(x * cell, 24 + y * cell, cell, colour(x, y));
    }
  for (let at = 0; at < 16; at++)
    square((at % 4) * 4 * cell, 24 + Math.floor(at / 4) * 4 * cell, 4 * cell, "none", at === patch ? "#d33" : "#888");

  const [left, side] = [260, 36];
  text(left, 14, `patch ${patch + 1}, 16 pixels`);
  for (let at = 0; at < 16; at++) {
    const [x, y] = [left + (at % 4) * side, 24 + Math.floor(at / 4) * side];
    square(x, y, side, at < pixel ? colour(...inPatch(at)) : "none", at === pixel ? "#d33" : "#888");
  }

  const [right, step] = [470, 48];
  const [px, py] = inPatch(pixel);
  text(right, 14, `pixel ${pixel + 1}, 3 channels`);
  ["red", "green", "blue"].forEach((name, channel) => {
    const value = image[(py * 16 + px) * 3 + channel];
    square(right, 24 + channel * step, 36, `rgb(${[0, 1, 2].map((c) => (c === channel ? value : 0)).join()})`, "#888");
    text(right + 46, 47 + channel * step, `${name} ${value}`);
  });

  const lines = [
    [(corner.x + 4) * cell, 24 + corner.y * cell, left, 24],
    [(corner.x + 4) * cell, 24 + (corner.y + 4) * cell, left, 24 + 4 * side],
    [left + ((pixel % 4) + 1) * side, 24 + Math.floor(pixel / 4) * side, right, 24],
    [left + ((pixel % 4) + 1) * side, 24 + (Math.floor(pixel / 4) + 1) * side, right, 24 + 2 * step + 36],
  ];
  for (const [x1, y1, x2, y2] of lines) parts.push(`<path d="M${x1} ${y1}L${x2} ${y2}" stroke="#d33"/>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -2 604 224" font-family="system-ui, sans-serif" font-size="13" fill="#777">
<title>An image, one of its patches and one of that patch's pixels, each while it is drawn</title>
${parts.join("\n")}
</svg>
`;
}
