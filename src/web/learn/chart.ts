/** The loss curve as SVG, coloured by the page's styles: bits per byte over steps. Independent of what is trained. */

export interface Point {
  step: number;
  bits: number;
}

/** The curve of a training: every step, their moving average, and measurements of held-out pictures. */
export interface Curve {
  steps: readonly Point[];
  smooth: readonly Point[];
  heldOut: readonly Point[];
}

const [width, height] = [480, 200];
const margin = { left: 24, right: 8, top: 8, bottom: 20 };
/** A byte has 256 values, so guessing blindly costs 8 bits. */
const most = 8;
/** Points of a line; more would not be visible. */
const pointsMost = 240;

/** Replaces the content of an `<svg>`. */
export function drawChart(svg: SVGSVGElement, { steps, smooth, heldOut }: Curve): void {
  const last = Math.max(50, steps.at(-1)?.step ?? 0);
  const x = (step: number) => margin.left + ((width - margin.left - margin.right) * step) / last;
  const y = (bits: number) =>
    margin.top + (height - margin.top - margin.bottom) * (1 - Math.min(most, Math.max(0, bits)) / most);
  const line = (points: readonly Point[], name: string) => {
    const every = Math.max(1, Math.ceil(points.length / pointsMost));
    const kept = points.filter((_, i) => (points.length - 1 - i) % every === 0);
    const places = kept.map(({ step, bits }) => `${x(step).toFixed(1)},${y(bits).toFixed(1)}`);
    return made("polyline", { class: name, points: places.join(" ") });
  };
  const grid = [0, 2, 4, 6, 8].flatMap((bits) => [
    made("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: y(bits), y2: y(bits) }),
    made("text", { x: margin.left - 6, y: y(bits) + 4, "text-anchor": "end" }, String(bits)),
  ]);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren(
    ...grid,
    made("text", { x: margin.left, y: height - 4 }, "step 0"),
    made("text", { x: width - margin.right, y: height - 4, "text-anchor": "end" }, `step ${last}`),
    line(steps, "raw"),
    line(smooth, "smooth"),
    ...heldOut.map(({ step, bits }) => made("circle", { class: "held-out", cx: x(step), cy: y(bits), r: 3 })),
  );
}

function made(tag: string, attributes: Record<string, string | number>, text = ""): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.textContent = text;
  return element;
}
