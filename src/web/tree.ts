/** Shows the recursion as a tree: the image, the patch in it, the pixel in the patch. Independent of models. */

import { heatColours } from "../pictures/heat.ts";
import { byId, make } from "./elements.ts";
import type { Recording } from "./recording.ts";
import { chanceInWords, pathTo, type Place, type TreeNode } from "./recursion.ts";
import { levelColour, shownImage } from "./shown.ts";
import { plural } from "./words.ts";

export interface RecursionTree {
  /** Shows the path to a pixel of a drawing. */
  show(recording: Recording, place: Place): void;
  clear(): void;
}

/** The size of a square's picture and probabilities in CSS pixels, and the smaller size of a pixel's picture. */
const large = 88;
const small = 40;

/** `onChoose` receives the pixel that was clicked in a picture of the tree. */
export function createTree(onChoose: (pixel: { x: number; y: number }) => void): RecursionTree {
  const box = byId("tree");
  return {
    show(recording, place) {
      const path = pathTo(recording, place);
      box.replaceChildren(
        make(
          "ol",
          {},
          ...path.map((node, i) => {
            const next: TreeNode | undefined = path[i + 1];
            return make("li", {}, ...rowOf(recording, { place, node, next, onChoose }));
          }),
        ),
      );
      byId("sum").textContent = sumInWords(path, recording.channels);
    },
    clear() {
      box.replaceChildren();
      byId("sum").textContent = "";
    },
  };
}

interface Row {
  place: Place;
  node: TreeNode;
  next?: TreeNode;
  onChoose: (pixel: { x: number; y: number }) => void;
}

function rowOf(recording: Recording, row: Row): Element[] {
  const { node, next } = row;
  const picture = pictureOf(recording, row);
  const text = make("div", { className: "node" }, make("strong", {}, nameOf(node)), ...factsOf(node, next));
  if (!next) return [make("div", { className: "squares" }, picture), text];
  return [make("div", { className: "squares" }, picture, heatOf(row)), text, ...zoom(node, next)];
}

const nameOf = ({ depth, side, x, y }: TreeNode): string => {
  if (depth === 0) return `Image of ${side}×${side}`;
  return side === 1 ? `Pixel, row ${y + 1}, column ${x + 1}` : `Patch of ${side}×${side}`;
};

function factsOf(node: TreeNode, next: TreeNode | undefined): HTMLElement[] {
  const { drawn, given, pixels, bits, step, steps, children } = node;
  const line = (text: string) => make("span", {}, text);
  const facts: HTMLElement[] = [];
  const begun = drawn + given > 0;
  if (step !== undefined) facts.push(line(`${begun ? "placed" : "will be placed"} in step ${step} of ${steps}`));
  if (next)
    facts.push(line(`${children.length} ${next.side === 1 ? "pixels" : `patches of ${next.side}×${next.side}`}`));
  if (!begun) facts.push(line("not drawn yet"));
  else if (drawn + given < pixels) facts.push(line(`${drawn} of ${plural(pixels - given, "pixel")} drawn so far`));
  else if (given > 0)
    facts.push(line(given === pixels ? "given, not drawn by the model" : `${given} of its pixels were given`));
  if (drawn > 0) {
    const [base, power] = chanceInWords(bits).split("^");
    const chance = make("span", { className: "chance" }, base, ...(power ? [make("sup", {}, power)] : []));
    facts.push(chance, line(`${bits.toLocaleString("en", { maximumFractionDigits: bits < 100 ? 1 : 0 })} bits`));
  }
  return facts;
}

/** The picture of a square, with the next one outlined. */
function pictureOf(recording: Recording, { place, node, next, onChoose }: Row): HTMLElement {
  const { size } = recording;
  const data = shownImage(recording, { image: place.image, taken: place.taken, view: "image" });
  const part = new Uint8ClampedArray(node.side * node.side * 4);
  for (let row = 0; row < node.side; row++) {
    const from = ((node.y + row) * size + node.x) * 4;
    part.set(data.subarray(from, from + node.side * 4), row * node.side * 4);
  }
  return framed({ data: part, across: node.side }, { node, next, onChoose });
}

/** The probabilities of the squares in it; brighter means less expected. */
function heatOf({ node, next, onChoose }: Row): HTMLElement {
  const across = node.side / next!.side;
  const perValue = node.children.map(({ bits, drawn }) => (drawn > 0 ? bits / drawn : 0));
  const colours = heatColours(perValue, Math.max(8, ...perValue));
  const data = new Uint8ClampedArray(node.children.length * 4);
  node.children.forEach(({ drawn }, i) => {
    data.set(colours.subarray(i * 3, i * 3 + 3), i * 4);
    data[i * 4 + 3] = drawn > 0 ? 255 : 0;
  });
  return framed({ data, across }, { node, next, onChoose });
}

function framed(
  { data, across }: { data: Uint8ClampedArray<ArrayBuffer>; across: number },
  { node, next, onChoose }: Pick<Row, "node" | "next" | "onChoose">,
): HTMLElement {
  const canvas = make("canvas", { width: across, height: across });
  canvas.getContext("2d")!.putImageData(new ImageData(data, across, across), 0, 0);
  const frame = make("div", { className: "square" }, canvas);
  frame.ariaHidden = "true"; // the text says the same
  frame.style.width = frame.style.height = `${next ? large : small}px`;
  frame.style.borderColor = node.depth === 0 ? "var(--line)" : levelColour(node.depth - 1);
  if (!next) return frame;
  const mark = make("i", {});
  const share = (value: number) => `${(100 * value) / node.side}%`;
  mark.style.left = share(next.x - node.x);
  mark.style.top = share(next.y - node.y);
  mark.style.width = mark.style.height = share(next.side);
  mark.style.borderColor = levelColour(node.depth);
  frame.append(mark);
  frame.addEventListener("click", (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    const at = (offset: number) =>
      Math.max(0, Math.min(node.side - 1, Math.floor((offset / canvas.clientWidth) * node.side)));
    onChoose({ x: node.x + at(event.clientX - left), y: node.y + at(event.clientY - top) });
  });
  return frame;
}

/** Lines from the corners of a square to its enlarged picture. */
function zoom(node: TreeNode, next: TreeNode): SVGElement[] {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("class", "zoom");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("viewBox", `0 0 ${large} ${zoomHeight}`);
  svg.setAttribute("width", String(large));
  svg.setAttribute("preserveAspectRatio", "none"); // as high as the text next to it
  const left = ((next.x - node.x) / node.side) * large;
  const width = (next.side / node.side) * large;
  const below = next.side === 1 ? small : large;
  const path = document.createElementNS(namespace, "path");
  path.setAttribute("d", `M${left} 0 L0 ${zoomHeight} H${below} L${left + width} 0 Z`);
  path.style.stroke = path.style.fill = levelColour(node.depth);
  svg.append(path);
  return [svg];
}
const zoomHeight = 26;

/** Explains how the probabilities of the levels combine. */
function sumInWords(path: readonly TreeNode[], channels: number): string {
  if (path[path.length - 1].drawn === 0) return "";
  const parts = path.toReversed().map(({ depth, side, bits }) => {
    const name = depth === 0 ? "the image" : side === 1 ? "the pixel" : `the patch of ${side}×${side}`;
    return `${name} ${bits.toFixed(bits < 100 ? 1 : 0)}`;
  });
  const first = `Probabilities multiply, so their bits add up: ${plural(channels, "byte")} give ${parts.join(", ")}.`;
  return `${first} In the squares on the right, brighter means less expected.`;
}
