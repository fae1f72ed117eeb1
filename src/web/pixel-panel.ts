/** The model's expectation for one pixel: the distribution of each channel as a curve and in words. */

import { channelLetters } from "../core/normalize.ts";
import { byId, make } from "./elements.ts";
import type { Distribution } from "./protocol.ts";

const channelNames: Record<string, { name: string; colour: string }> = {
  r: { name: "Red", colour: "#e5484d" },
  g: { name: "Green", colour: "#2f9e5b" },
  b: { name: "Blue", colour: "#3b82f6" },
  l: { name: "Grey", colour: "#888" },
  a: { name: "Opacity", colour: "#a06cd5" },
};

export function clearPixel(): void {
  byId("pixel").replaceChildren(make("p", { className: "help" }, "Point at a pixel that the model has drawn."));
}

export interface ShownPixel {
  x: number;
  y: number;
  bytes: Uint8Array;
  /** RGB. */
  colour: number[];
  /** Undefined for a given pixel. */
  distribution?: Distribution;
}

export function showPixel({ x, y, bytes, colour, distribution }: ShownPixel): void {
  const swatch = make("span", { className: "swatch" });
  swatch.style.background = `rgb(${colour.join(" ")})`;
  const head = make("p", {}, swatch, `Row ${y + 1}, column ${x + 1}`);
  if (!distribution) {
    byId("pixel").replaceChildren(
      head,
      make("p", { className: "help" }, `Given, not drawn by the model: ${[...bytes].join(", ")}`),
    );
    return;
  }
  const { probabilities, entropy, chance } = distribution;
  head.append(`: ${entropy.reduce((a, b) => a + b, 0).toFixed(1)} bits of uncertainty`);
  const channels = channelLetters(bytes.length).map((letter, c) => {
    const { name, colour } = channelNames[letter];
    const text = `${name} ${bytes[c]}: chance ${percent(chance[c])}, ${entropy[c].toFixed(1)} bits of uncertainty`;
    const canvas = make("canvas", { width: 512, height: 96 });
    canvas.ariaHidden = "true"; // the text says the same
    curve(canvas, probabilities.subarray(c * 256, (c + 1) * 256), { drawn: bytes[c], colour });
    return make("div", { className: "channel" }, canvas, make("span", {}, text));
  });
  byId("pixel").replaceChildren(head, ...channels);
}

/** Describes a pixel in one sentence for screen readers. */
export function pixelInWords({ x, y, bytes, distribution }: ShownPixel): string {
  const values = channelLetters(bytes.length).map((letter, c) => {
    const chance = distribution ? `, chance ${percent(distribution.chance[c])}` : "";
    return `${channelNames[letter].name} ${bytes[c]}${chance}`;
  });
  return `Row ${y + 1}, column ${x + 1}: ${distribution ? "" : "given, not drawn; "}${values.join("; ")}.`;
}

const percent = (share: number): string =>
  share >= 0.1 ? `${(100 * share).toFixed(0)}%` : share >= 0.001 ? `${(100 * share).toFixed(1)}%` : "under 0.1%";

/** Draws a distribution. Heights are square roots, so that small probabilities are visible; the drawn byte is marked. */
function curve(
  canvas: HTMLCanvasElement,
  row: Float32Array,
  { drawn, colour }: { drawn: number; colour: string },
): void {
  const context = canvas.getContext("2d")!;
  const { width, height } = canvas;
  const most = Math.sqrt(Math.max(...row)) || 1;
  const unit = width / 256;
  context.fillStyle = colour;
  row.forEach((p, byte) => {
    const tall = (Math.sqrt(p) / most) * (height - 12);
    context.fillRect(byte * unit, height - tall, unit, tall);
  });
  context.beginPath();
  context.moveTo((drawn + 0.5) * unit, 10);
  context.lineTo((drawn + 0.5) * unit - 7, 0);
  context.lineTo((drawn + 0.5) * unit + 7, 0);
  context.fill();
}
