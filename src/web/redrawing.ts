/** The tools to mark pixels for redrawing and to read the user's own picture. Independent of the model. */

import { UserError } from "../core/errors.ts";
import { allButMask, centre, grownMask, halfMask, rectangleMask } from "../sample/masks.ts";
import { byId, the } from "./elements.ts";

export interface Redrawing {
  /** The painted mask [S, S]; 1 means redraw. */
  readonly mask: Uint8Array;
  /** The number of patches around it to redraw as well, to soften seams: 0 or 1. */
  readonly ring: number;
  /** Paints or erases around a pixel with the selected tool and brush. */
  paintAt(pixel: { x: number; y: number }): void;
  setMask(mask: Uint8Array, ring?: number): void;
  stopPainting(): void;
  enable(enabled: boolean): void;
}

export function redrawingTools(
  /** Sides of an image and of the first level's patches. */
  { size, patch }: { size: number; patch: number },
  {
    onMask,
    onPainting,
  }: {
    /** Receives the painted mask and the pixels added by the ring, [S, S] each. */
    onMask: (mask: Uint8Array, ring: Uint8Array) => void;
    onPainting: (painting: boolean) => void;
  },
): Redrawing {
  let mask = new Uint8Array(size * size);
  const [paint, erase] = [the("button", "paint"), the("button", "erase")];
  const tools = [paint, erase];
  const pressed = (button: HTMLButtonElement) => button.ariaPressed === "true";
  const choose = (tool?: HTMLButtonElement) => {
    for (const button of tools) button.ariaPressed = String(button === tool);
    onPainting(tool !== undefined);
  };
  for (const button of tools) button.addEventListener("click", () => choose(pressed(button) ? undefined : button));

  const ringBox = the("input", "ring");
  const set = (next: Uint8Array) => {
    mask = Uint8Array.from(next);
    const grown = ringBox.checked ? grownMask(mask, { size, patch, ring: 1 }) : mask;
    const around = grown.map((value, i) => value & ~mask[i] & 1);
    const [marked, more] = [mask, around].map((values) => values.reduce((sum, value) => sum + value, 0));
    byId("masked").textContent =
      marked === 0
        ? "Nothing is marked. Marked pixels are redrawn as the chosen classes."
        : `${marked} of ${mask.length} pixels are marked${more > 0 ? `, and the ring adds ${more}` : ""}: they will be redrawn as the chosen classes.`;
    onMask(mask, around);
  };
  ringBox.addEventListener("change", () => set(mask));
  const half = Math.floor(size / 2);
  const masks: Record<string, () => Uint8Array> = {
    centre: () => rectangleMask(size, centre(size, half)),
    half: () => halfMask(size, "left"),
    around: () => allButMask(size, centre(size, half)),
    clear: () => new Uint8Array(size * size),
  };
  const presets = [...document.querySelectorAll<HTMLButtonElement>("button[data-mask]")];
  for (const button of presets) button.addEventListener("click", () => set(masks[button.dataset["mask"]!]()));

  return {
    get mask() {
      return mask;
    },
    get ring() {
      return Number(ringBox.checked);
    },
    paintAt({ x, y }) {
      const brush = Number(the("select", "brush").value);
      const next = Uint8Array.from(mask);
      const [left, top] = [x, y].map((at) => Math.max(0, Math.min(size - brush, at - Math.floor((brush - 1) / 2))));
      for (let row = top; row < top + brush; row++)
        next.fill(pressed(erase) ? 0 : 1, row * size + left, row * size + left + brush);
      set(next);
    },
    setMask(next, ring) {
      if (ring !== undefined) ringBox.checked = ring > 0;
      set(next);
    },
    stopPainting: () => choose(),
    enable(enabled) {
      for (const button of [...tools, ...presets]) button.disabled = !enabled;
      if (!enabled) choose();
    },
  };
}

/** The first bytes of the supported file formats. */
const signatures: readonly (readonly [string, RegExp])[] = [
  ["PNG", /^\x89PNG\r\n\x1a\n/],
  ["JPEG", /^\xff\xd8\xff/],
  ["WebP", /^RIFF[^]{4}WEBP/],
];

/** Reads a picture as bytes [S, S, C]: its central square, resized to the model's image size, on white. */
export async function readPicture(
  file: File,
  { size, channels }: { size: number; channels: number },
): Promise<Uint8Array> {
  const start = String.fromCharCode(...new Uint8Array(await file.slice(0, 12).arrayBuffer()));
  if (!signatures.some(([, begins]) => begins.test(start)))
    throw new UserError(`${file.name} is not a PNG, JPEG or WebP picture; choose one in these formats`);
  const picture = await createImageBitmap(file).catch(() => {
    throw new UserError(`${file.name} is damaged, so this browser cannot read it; choose another PNG, JPEG or WebP`);
  });
  const side = Math.min(picture.width, picture.height);
  const context = new OffscreenCanvas(size, size).getContext("2d")!;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, size, size);
  context.imageSmoothingQuality = "high";
  const [left, top] = [(picture.width - side) / 2, (picture.height - side) / 2];
  context.drawImage(picture, left, top, side, side, 0, 0, size, size);
  const { data } = context.getImageData(0, 0, size, size);
  const bytes = new Uint8Array(size * size * channels);
  for (let i = 0; i < size * size; i++) {
    const colour = [...data.subarray(i * 4, i * 4 + 3)];
    const values = channels < 3 ? [Math.round(colour.reduce((a, b) => a + b, 0) / 3), 255] : [...colour, 255];
    bytes.set(values.slice(0, channels), i * channels);
  }
  return bytes;
}
