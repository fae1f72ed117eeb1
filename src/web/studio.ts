/** Connects the page: user actions become events, and each new state is displayed. */

import { type ModelConfig, placedLevels } from "../config/model.ts";
import { pickSampling } from "../config/sampling.ts";
import { drawnMask } from "../sample/edit.ts";
import { type Settings, writeAddress } from "./address.ts";
import { type Client, Stopped } from "./client.ts";
import { byId, make, the } from "./elements.ts";
import { createExplanation } from "./explanation.ts";
import type { SettingsForm } from "./form.ts";
import { createGallery, type Gallery } from "./gallery.ts";
import type { DeviceWish } from "./protocol.ts";
import { addStep, newRecording, outlinesAt } from "./recording.ts";
import { readPicture, redrawingTools } from "./redrawing.ts";
import { savingButtons } from "./saving.ts";
import { createScrubber } from "./scrubber.ts";
import { levelColour, shownImage, type ViewKind } from "./shown.ts";
import { createStage } from "./stage.ts";
import { type Action, allowed, type PageEvent, reduce, type ShownDrawing, shownIn, type State } from "./state.ts";
import { complain, say, showDevice, showProgress } from "./status.ts";
import { goToOnPhone } from "./tabs.ts";
import { createTour } from "./tour.ts";
import { tourSteps } from "./tour-steps.ts";
import { inSeconds, placeInWords, plural } from "./words.ts";

export interface StudioOptions {
  config: ModelConfig;
  form: SettingsForm;

  model: string;
  /** Opens the model in a worker, on the given device instead of the default one. */
  open(device?: DeviceWish): Promise<Client>;
}

export interface Studio {
  /** With `early`, the enlarged image is drawn first, so that there is a picture soon. */
  draw(settings: Settings, options?: { early?: boolean }): Promise<void>;
}

export function createStudio({ config, form, model, open }: StudioOptions): Studio {
  const { imageSize: size, channels } = config;
  const pixels = size * size;
  const patches = placedLevels(config).map(({ patch }) => patch);
  let state: State = { kind: "empty" };
  let client: Client | undefined;
  /** The device on which to reopen the client after it stopped. */
  let wish: DeviceWish | undefined;
  let gallery: Gallery | undefined;
  let drawings = 0;
  let taken = 0;

  function dispatch(event: PageEvent): void {
    const before = shownIn(state);
    state = reduce(state, event);
    const shown = shownIn(state);
    if (shown && shown.id !== before?.id) begin(shown);
    enable();
    show();
  }

  byId("legend").replaceChildren(
    ...patches.map((side, level) => {
      const box = make("i");
      box.style.borderColor = levelColour(level);
      return make("span", {}, box, side === 1 ? "pixel" : `patch of ${side}×${side}`);
    }),
  );
  const stage = createStage(size, {
    onCursor: (pixel, how) => explanation.point(pixel, how),
    onPaint: (pixel) => tools.paintAt(pixel),
    onEscape: () => tools.stopPainting(),
  });
  const explanation = createExplanation(config, {
    shown: () => momentShown(),
    distribution: async (drawing, at) => client?.distribution(drawing, at),
    onChoose: (pixel) => stage.pointAt(pixel),
  });
  const tools = redrawingTools(
    { size, patch: patches[0] },
    {
      onMask: (mask, ring) => {
        const edit = shownIn(state)?.settings.edit;
        const pending = mask.some((value, i) => value !== (edit?.mask[i] ?? 0)) || tools.ring !== (edit?.ring ?? 0);
        stage.setMask(mask, { ring, pending });
        enable();
      },
      onPainting: (painting) => stage.setPainting(painting),
    },
  );
  const scrubber = createScrubber({
    onMove: (to, chosen) => {
      taken = to;
      const steps = shownIn(state)?.recording.steps.length ?? 0;
      dispatch({ kind: "moved", step: to === steps ? undefined : to });
      if (chosen) share();
    },
    describe: (to) => {
      const shown = shownIn(state);
      if (!shown) return "";
      const { recording, settings } = shown;
      return `${to} of ${recording.steps.length}. ${placeInWords(recording, settings.selected, to)}`;
    },
  });
  const tour = createTour({
    steps: () => {
      const shown = shownIn(state);
      return shown ? tourSteps(config, shown.recording, shown.settings.selected) : [];
    },
    onStep({ taken: to, pixel, plays }) {
      const shown = shownIn(state);
      if (!shown) return;
      scrubber.stop();
      if (to !== undefined) scrubber.update(shown.recording.steps.length, to);
      if (plays) scrubber.play();
      stage.pointAt(pixel);
      explanation.point(pixel, { byKeyboard: false });
      share();
    },
    onEnd() {
      const { length } = shownIn(state)!.recording.steps;
      scrubber.stop();
      scrubber.update(length, length);
      stage.pointAt(undefined);
      share();
    },
  });

  /** Enables the controls that are allowed in the current state. */
  function enable(): void {
    const can = allowed(state, { marked: tools.mask.includes(1) });
    // Use aria-disabled, because a disabled button would lose the focus.
    for (const id of ["draw", "next-seed"] as const) {
      the("button", id).disabled = false;
      the("button", id).ariaDisabled = String(!can[id]);
    }
    const cancel = the("button", "cancel");
    if (!can.cancel && document.activeElement === cancel) the("button", "draw").focus();
    const others: Action[] = [
      "cancel",
      "save-image",
      "save-all",
      "save-animation",
      "share",
      "redraw",
      "undo",
      "start-tour",
    ];
    for (const id of others) the("button", id).disabled = !can[id];
    the("input", "upload").disabled = !can.upload;
  }

  /** The enlarged image and its moment. While following the drawing, `live` is the latest step. */
  function momentShown() {
    const drawing = shownIn(state);
    if (!drawing) return undefined;
    const { recording, settings } = drawing;
    const follows = state.kind === "drawing" && taken === recording.steps.length;
    return {
      drawing,
      moment: { taken, view: settings.view ?? ("image" as ViewKind) },
      live: follows ? recording.live : taken,
    };
  }

  function show(): void {
    const shown = momentShown();
    if (!shown) return;
    const { drawing, moment, live } = shown;
    const { recording, settings } = drawing;
    for (let image = 0; image < recording.count; image++)
      gallery?.show(image, shownImage(recording, { image, ...moment }));
    const unfinished = state.kind === "drawing" || taken < recording.steps.length;
    const outlined = the("input", "outlines").checked && unfinished;
    stage.show(
      shownImage(recording, { image: settings.selected, ...moment }),
      outlined ? outlinesAt(recording, settings.selected, live) : [],
    );
    byId("place").textContent = placeInWords(recording, settings.selected, live);
    explanation.update({ rests: state.kind === "shown" });
  }

  /** Writes the current display to the address. */
  function share(): void {
    const shown = shownIn(state);
    if (shown) history.replaceState(null, "", `#${writeAddress(shown.settings, config)}`);
  }

  /** Prepares the page to show another drawing. */
  function begin({ recording, settings }: ShownDrawing): void {
    tour.close();
    const labels = Array.from(
      { length: recording.count },
      (_, i) => config.classes[settings.classes[i % settings.classes.length]],
    );
    gallery = createGallery(labels, size, (image) => {
      dispatch({ kind: "selected", image });
      scrubber.update(recording.steps.length);
      share();
    });
    gallery.select(settings.selected);
    document.querySelector<HTMLInputElement>(`input[name=view][value=${settings.view ?? "image"}]`)!.checked = true;
    scrubber.stop();
    scrubber.update(recording.steps.length, settings.step ?? recording.steps.length);
    explanation.clear();
    const { edit } = settings;
    tools.setMask(edit?.mask ?? new Uint8Array(pixels), edit && (edit.ring ?? 0));
  }

  /** The mask that the model redraws, or undefined if nothing is marked. Throws a `UserError` if the model cannot redraw it. */
  const maskOf = ({ edit }: Settings): Uint8Array | undefined =>
    edit?.mask.includes(1) ? drawnMask(config, edit.mask, { ring: edit.ring }) : undefined;

  function showPicture(settings: Settings): void {
    const given = { image: settings.edit!.image, mask: new Uint8Array(pixels) };
    const recording = newRecording({ count: 1, size, channels, patches, given });
    const drawing = { id: drawings++, recording, settings: { ...settings, count: 1, selected: 0, step: undefined } };
    dispatch({ kind: "uploaded", drawing });
    tools.setMask(given.mask, 1);
    share();
  }

  async function draw(settings: Settings, { early = false } = {}): Promise<void> {
    if (state.kind === "drawing") return;
    if (state.kind !== "empty") complain(); // an error in the link stays visible during the first drawing
    const { classes, count, edit, step, selected } = settings;
    try {
      const mask = maskOf(settings);
      if (edit && !mask) {
        showPicture(settings);
        return say("The picture is shown. Mark the part to redraw.");
      }
      const given = edit && { image: edit.image, mask: mask! };
      const recording = newRecording({ count, size, channels, patches, given });
      const id = drawings++;
      dispatch({ kind: "began", drawing: { id, recording, settings: { ...settings, step: undefined } } });
      client ??= await open(wish);
      say(`Drawing ${plural(count, "image")}…`);
      const labels = Array.from({ length: count }, (_, i) => classes[i % classes.length]);
      const first = early ? selected : undefined;
      const request = { ...pickSampling(settings), labels, seed: settings.seed, edit, first };
      const ended = await client.draw(id, request, (steps, done) => {
        for (const one of steps) addStep(recording, one);
        scrubber.update(recording.steps.length);
        showProgress(done);
      });
      dispatch({ kind: "ended" });
      const steps = plural(recording.steps.length, "step");
      const what = `${plural(count, "image")} in ${inSeconds(ended.seconds)}, ${steps}`;
      say(ended.cancelled ? `Cancelled after ${steps}.` : `Drew ${what}.`);
    } catch (error) {
      say("");
      complain(error);
      if (error instanceof Stopped) stopped(error);
      dispatch({ kind: "failed" });
    }
    showProgress(0);
    const shown = shownIn(state);
    if (!shown) return;
    const { length } = shown.recording.steps;
    scrubber.update(length, Math.min(step ?? length, length));
    share();
    tour.offer();
  }

  /** Closes the client. The next drawing reopens the model, on WASM if WebGPU failed. */
  function stopped({ message }: Stopped): void {
    showDevice({ kind: "failed", reason: message });
    if (client?.device.provider === "webgpu") wish = "wasm";
    client?.close();
    client = undefined;
  }

  /** Reads the settings of a new drawing from the form, with the current view. */
  function fromForm(): Settings | undefined {
    const read = form.read();
    return read && { ...read, selected: 0, view: shownIn(state)?.settings.view };
  }

  the("form", "settings").addEventListener("submit", (event) => {
    event.preventDefault();
    const settings = fromForm();
    if (settings) void draw(settings);
  });
  the("button", "next-seed").addEventListener("click", () => {
    if (state.kind === "drawing") return;
    the("input", "seed").value = String(Math.floor(Math.random() * 1e6));
    the("form", "settings").requestSubmit();
  });
  const cancel = () => state.kind === "drawing" && client?.cancel();
  the("button", "cancel").addEventListener("click", cancel);
  document.addEventListener("keydown", (event) => event.key === "Escape" && !event.defaultPrevented && cancel());

  the("button", "redraw").addEventListener("click", () => {
    const settings = fromForm();
    const shown = shownIn(state);
    if (!settings || !shown) return;
    const from = shown.settings.selected * pixels * channels;
    const image = shown.recording.images.slice(from, from + pixels * channels);
    tools.stopPainting();
    void draw({ ...settings, edit: { image, mask: tools.mask, ...(tools.ring > 0 ? { ring: tools.ring } : {}) } });
  });
  the("button", "undo").addEventListener("click", () => {
    dispatch({ kind: "undone" });
    const shown = shownIn(state);
    if (!shown) return;
    form.fill(shown.settings);
    complain();
    say("The previous picture is shown again.");
    share();
  });
  the("input", "upload").addEventListener("change", async (event) => {
    const input = event.target as HTMLInputElement;
    const file = input.files?.[0];
    if (!file || state.kind === "drawing") return;
    complain();
    try {
      const image = await readPicture(file, { size, channels });
      const settings = fromForm() ?? shownIn(state)?.settings;
      if (settings) showPicture({ ...settings, view: undefined, edit: { image, mask: new Uint8Array(pixels) } });
      say(`${file.name} is shown. Mark the part to redraw.`);
      goToOnPhone("redraw-section");
    } catch (error) {
      complain(error);
    }
    input.value = "";
    enable();
  });

  for (const radio of document.querySelectorAll<HTMLInputElement>("input[name=view]"))
    radio.addEventListener("change", () => {
      dispatch({ kind: "viewed", view: radio.value as ViewKind });
      share();
    });
  byId("outlines").addEventListener("change", show);
  savingButtons({ config, model }, { shown: () => momentShown()!, share });
  tools.enable(true);
  enable();
  return { draw };
}
