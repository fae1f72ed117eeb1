/** The training page: its controls, numbers and pictures. Loaded when it is first opened. */

import { byId, listOf, make, the } from "../elements.ts";
import { inWords as errorInWords } from "../status.ts";
import { drawChart } from "./chart.ts";
import { ownLesson, shippedClasses, shippedLesson } from "./pictures.ts";
import { drawnAtOnce, type FromTrainer, type Lesson, side } from "./protocol.ts";
import { createHistory, showGrid } from "./samples.ts";
import { deviceLabels, inWords, type PageEvent, reduce, type State, trainingIn } from "./state.ts";
import { startTrainer, type Trainer } from "./trainer.ts";

export interface LearnPage {
  /** Pauses the training, if there is one. */
  pause(): void;
}

export function createLearnPage(): LearnPage {
  let state: State = { kind: "idle" };
  let lesson: Lesson | undefined;
  let choices = 0;
  let trainer: Trainer | undefined;
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
  const list = the("select", "learn-device");
  const deviceIn = listOf(list, deviceLabels);
  list.querySelector<HTMLOptionElement>("option[value=webgpu]")!.disabled = !("gpu" in navigator);

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
      byId("learn-error").textContent = errorInWords(error);
    }
    enable();
  }

  function dispatch(event: PageEvent): void {
    const before = state.kind;
    state = reduce(state, event);
    if (state.kind !== before) enable();
    const status = byId("learn-status");
    const said = inWords(state);
    if (status.textContent !== said) status.textContent = said; // a screen reader reads it whenever it is set
    show();
  }

  function enable(): void {
    const { kind } = state;
    const words: Partial<Record<State["kind"], string>> = {
      training: "Pause",
      pausing: "Continue",
      paused: "Continue",
    };
    start.textContent = words[kind] ?? "Start";
    start.disabled = kind === "starting" || kind === "ended" || kind === "failed" || !lesson;
    reset.disabled = kind === "idle";
    the("form", "learn-form").querySelector("fieldset")!.disabled = kind !== "idle";
  }

  /** Shows the curve and the numbers, at most once per frame. */
  function show(): void {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      const { curve, seconds } = trainingIn(state);
      drawChart(chart, curve);
      const speed = seconds.length / seconds.reduce((a, b) => a + b, 0);
      const { length } = curve.steps;
      const bits = curve.smooth.at(-1)?.bits;
      byId("learn-steps").textContent = String(length);
      byId("learn-speed").textContent = seconds.length > 0 ? speed.toFixed(speed < 10 ? 1 : 0) : "–";
      byId("learn-bits").textContent = bits?.toFixed(2) ?? "–";
      byId("learn-held-out").textContent = curve.heldOut.at(-1)?.bits.toFixed(2) ?? "–";
      chart.ariaLabel =
        bits === undefined
          ? "No steps yet"
          : `Bits per byte, from ${curve.steps[0].bits.toFixed(1)} in the first step to ${bits.toFixed(1)} in step ${length}`;
    });
  }

  function receive(message: FromTrainer): void {
    dispatch(message);
    if (message.kind === "samples") showSamples(message.step, message.images);
    if (message.kind !== "failed") return;
    trainer?.close();
    byId("learn-error").textContent = message.message;
  }

  function showSamples(step: number, images: Uint8Array): void {
    const canvas = the("canvas", "learn-samples");
    const columns = Math.sqrt(drawnAtOnce);
    showGrid(canvas, images, { columns, rows: columns });
    canvas.ariaLabel = `${drawnAtOnce} pictures that the model drew after ${step} steps`;
    byId("learn-drawn").textContent = `Drawn after ${step} steps`;
    history.add(step, images);
  }

  function pause(): void {
    if (state.kind !== "training") return;
    trainer?.pause();
    dispatch({ kind: "pausing" });
  }

  the("form", "learn-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (state.kind === "training") pause();
    else if (state.kind === "pausing" || state.kind === "paused") {
      trainer?.resume();
      dispatch({ kind: "resumed" });
    } else if (state.kind === "idle" && lesson) {
      dispatch({ kind: "started" });
      trainer = startTrainer({ lesson, device: deviceIn() }, receive);
    }
  });
  reset.addEventListener("click", () => {
    trainer?.close();
    trainer = undefined;
    history.clear();
    byId("learn-error").textContent = "";
    byId("learn-drawn").textContent = "Nothing yet";
    const canvas = the("canvas", "learn-samples");
    canvas.getContext("2d")!.clearRect(0, 0, canvas.width, canvas.height);
    canvas.ariaLabel = "Nothing drawn yet";
    dispatch({ kind: "reset" });
    start.focus();
  });
  void choose();
  show();
  return { pause };
}
