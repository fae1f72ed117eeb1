/** Thumbnails of all images, one of which is selected. Independent of their content. */

import { byId, make } from "./elements.ts";

export interface Gallery {
  /** RGBA bytes [S, S, 4] of one image. */
  show(image: number, picture: Uint8ClampedArray<ArrayBuffer>): void;
  select(image: number): void;
}

export function createGallery(labels: readonly string[], size: number, onSelect: (image: number) => void): Gallery {
  const entries = labels.map((label, i) => {
    const radio = make("input", { type: "radio", name: "selected", value: String(i) });
    radio.ariaLabel = `Image ${i + 1}: ${label}`;
    radio.addEventListener("change", () => onSelect(i));
    const canvas = make("canvas", { width: size, height: size });
    canvas.ariaHidden = "true";
    return { radio, canvas, entry: make("label", {}, radio, canvas, label) };
  });
  const box = byId("gallery");
  box.replaceChildren(...entries.map(({ entry }) => entry));
  byId("gallery").parentElement!.hidden = labels.length < 2;
  return {
    show: (image, picture) =>
      entries[image].canvas.getContext("2d")!.putImageData(new ImageData(picture, size, size), 0, 0),
    select: (image) => (entries[image].radio.checked = true),
  };
}
