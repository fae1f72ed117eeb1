/** The training page: its controls, numbers and pictures. Loaded when it is first opened. */

import { byId, make, the } from "../elements.ts";
import { inWords } from "../status.ts";
import { drawChart, type Point } from "./chart.ts";
import { ownLesson, shippedClasses, shippedLesson } from "./pictures.ts";
import { drawnAtOnce, type FromTrainer, type Lesson, side } from "./protocol.ts";
import { createHistory, showGrid } from "./samples.ts";
import { startTrainer, type Trainer } from "./trainer.ts";

export interface LearnPage {
  /** Pauses the training, if there is one. */
  pause(): void;
}

type State = "idle" | "starting" | "training" | "paused" | "ended" | "failed";

const deviceNames = { wasm: "WASM, 1 thread", webgpu: "WebGPU" };
/** The share of the latest step in the smoothed curve. */
const latest = 0.2;
/** Steps over which the speed is measured. */
const recent = 20;

export function createLearnPage(): LearnPage {
  let state: State = "idle";
  let lesson: Lesson | undefined;
  let choices = 0;
  let trainer: Trainer | undefined;
  let device = "";
  let steps: Point[] = [];
  let smooth: Point[] = [];
  let heldOut: Point[] = [];
  let seconds: number[] = [];
  let drawing = false; // a frame is requested
  const chart = byId("learn-chart") as unknown as SVGSVGElement;
  const history = createHistory();
  const [start, reset] = [the("button", "learn-start"), the("button", "learn-reset")];
  const own = the("input", "learn-own");

  const radios = shippedClasses.map(({ name }, i) => {
    const radio = make("input", { type: "radio", name: "learn-class", value: name, checked: i === 0 });
    radio.addEventListener("change", () => {
      own.value = ""; // a class instead of the visitor's pictures
      void choose();
    });
    return radio;
  });
  byId("learn-classes").replaceChildren(
    ...radios.map((radio) => make("label", {}, radio, make("span", {}, radio.value))),
  );
  own.addEventListener("change", () => void choose());
  const gpu = the("select", "learn-device").querySelector<HTMLOptionElement>("option[value=webgpu]")!;
  gpu.disabled = !("gpu" in navigator);

  /** Shows the chosen pictures: the visitor's own if there are any. */
  async function choose(): Promise<void> {
    const choice = ++choices;
    byId("learn-error").textContent = "";
    lesson = undefined;
    enable();
    const files = [...(own.files ?? [])];
    const checked = radios.findIndex((radio) => radio.checked);
    try {
      const found = await (files.length > 0 ? ownLesson(files) : shippedLesson(shippedClasses[checked]));
      if (choice !== choices) return; // another one was made meanwhile
      lesson = found;
      showGrid(the("canvas", "learn-pictures"), found.train, { columns: 8, rows: 4 });
      const [trained, measured] = [found.train, found.heldOut].map(({ length }) => length / (side * side * 3));
      const shown = trained > 32 ? ", the first 32 shown" : "";
      byId("learn-count").textContent = `${trained} pictures to learn from${shown}, ${measured} only measured.`;
    } catch (error) {
      if (choice !== choices) return;
      own.value = "";
      byId("learn-error").textContent = inWords(error);
    }
    enable();
  }

  function become(next: State, said: string): void {
    state = next;
    byId("learn-status").textContent = said;
    enable();
  }

  function enable(): void {
    const words: Partial<Record<State, string>> = { training: "Pause", paused: "Continue" };
    start.textContent = words[state] ?? "Start";
    start.disabled = state === "starting" || state === "ended" || state === "failed" || !lesson;
    reset.disabled = state === "idle";
    the("form", "learn-form").querySelector("fieldset")!.disabled = state !== "idle";
  }

  function show(): void {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      drawChart(chart, { steps, smooth, heldOut });
      const speed = seconds.length / seconds.reduce((a, b) => a + b, 0);
      const bits = smooth.at(-1)?.bits;
      byId("learn-steps").textContent = String(steps.length);
      byId("learn-speed").textContent = seconds.length > 0 ? speed.toFixed(speed < 10 ? 1 : 0) : "–";
      byId("learn-bits").textContent = bits?.toFixed(2) ?? "–";
      byId("learn-held-out").textContent = heldOut.at(-1)?.bits.toFixed(2) ?? "–";
      chart.ariaLabel =
        bits === undefined
          ? "No steps yet"
          : `Bits per byte, from ${steps[0].bits.toFixed(1)} in the first step to ${bits.toFixed(1)} in step ${steps.length}`;
    });
  }

  function receive(message: FromTrainer): void {
    switch (message.kind) {
      case "opening":
        byId("learn-status").textContent = `Fetching the program (${Math.floor(message.share * 10) * 10}%)…`;
        return;
      case "ready":
        device = `${deviceNames[message.device]}${message.reason ? `. ${message.reason}` : ""}`;
        byId("learn-status").textContent = "Compiling the model and its gradients…";
        return;
      case "step": {
        const { step, bits } = message;
        if (state === "starting") become("training", `Training on ${device}.`);
        const before = smooth.at(-1)?.bits ?? bits;
        // The first steps have more weight, as in the moving average of the weights.
        const share = Math.max(latest, 1 / step);
        steps.push({ step, bits });
        smooth.push({ step, bits: before + share * (bits - before) });
        if (step > 1) seconds = [...seconds, message.seconds].slice(-recent); // the first one also compiles
        show();
        return;
      }
      case "heldOut":
        heldOut.push({ step: message.step, bits: message.bits });
        show();
        return;
      case "samples": {
        const canvas = the("canvas", "learn-samples");
        const columns = Math.sqrt(drawnAtOnce);
        showGrid(canvas, message.images, { columns, rows: columns });
        canvas.ariaLabel = `${drawnAtOnce} pictures that the model drew after ${message.step} steps`;
        byId("learn-drawn").textContent = `Drawn after ${message.step} steps`;
        history.add(message.step, message.images);
        return;
      }
      case "paused":
        if (state === "paused") become("paused", `Paused after step ${steps.length}.`);
        return;
      case "ended":
        become("ended", "The training is complete.");
        return;
      case "failed":
        trainer?.close();
        become("failed", "");
        byId("learn-error").textContent = message.message;
    }
  }

  function pause(): void {
    if (state !== "training") return;
    trainer?.pause();
    become("paused", "Pausing…");
  }

  the("form", "learn-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (state === "training") pause();
    else if (state === "paused") {
      trainer?.resume();
      become("training", `Training on ${device}.`);
    } else if (state === "idle" && lesson) {
      become("starting", "Starting…");
      const wish = the("select", "learn-device").value as "wasm" | "webgpu";
      trainer = startTrainer({ lesson, device: wish }, receive);
    }
  });
  reset.addEventListener("click", () => {
    trainer?.close();
    trainer = undefined;
    [steps, smooth, heldOut, seconds] = [[], [], [], []];
    history.clear();
    byId("learn-error").textContent = "";
    byId("learn-drawn").textContent = "Nothing yet";
    const canvas = the("canvas", "learn-samples");
    canvas.getContext("2d")!.clearRect(0, 0, canvas.width, canvas.height);
    canvas.ariaLabel = "Nothing drawn yet";
    become("idle", "");
    start.focus();
    show();
  });
  void choose();
  show();
  return { pause };
}
