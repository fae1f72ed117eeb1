/** The page at work: what was drawn, which moment of it is shown, and what the user does with it. */

import { placedLevels } from "../config/model.ts";
import { pickSampling } from "../config/sampling.ts";
import { drawnMask } from "../sample/edit.ts";
import { type Settings, writeAddress } from "./address.ts";
import type { Client } from "./client.ts";
import { byId, make, the } from "./elements.ts";
import type { Form } from "./form.ts";
import { createGallery, type Gallery } from "./gallery.ts";
import { animationFile, download, imageFile, sheetFile } from "./keeping.ts";
import { clearPixel, showPixel } from "./pixel-panel.ts";
import { addStep, drawnAt, newRecording, outlinesAt, type Recording } from "./recording.ts";
import { readPicture, redrawingTools } from "./redrawing.ts";
import { createScrubber } from "./scrubber.ts";
import { colourAt, levelColour, shownImage, type View } from "./shown.ts";
import { createStage } from "./stage.ts";
import { inSeconds, placeInWords, plural, sentence } from "./words.ts";

/** A drawing and what it came from, to go back to. */
interface Drawing {
  id: number;
  recording: Recording;
  settings: Settings;
  /** What was marked to be drawn anew, [S, S]; a ring came to it. */
  marked: Uint8Array;
}

export interface Studio {
  draw(settings: Settings): Promise<void>;
}

/** `model`: its name. */
export function createStudio(client: Client, form: Form, model: string): Studio {
  const { config } = client;
  const { imageSize: size, channels } = config;
  const pixels = size * size;
  const patches = placedLevels(config).map(({ patch }) => patch);
  let current: Drawing | undefined;
  let before: Drawing | undefined;
  let gallery: Gallery | undefined;
  let drawings = 0;
  let taken = 0;
  let running = false;
  let pointed: { x: number; y: number } | undefined;

  const say = (text: string) => (byId("status").textContent = text);
  const complain = (error?: unknown) => (byId("error").textContent = error === undefined ? "" : sentence(error));
  const view = (): View => document.querySelector<HTMLInputElement>("input[name=view]:checked")!.value as View;

  byId("legend").replaceChildren(
    ...patches.map((side, level) => {
      const box = make("i");
      box.style.borderColor = levelColour(level);
      return make("span", {}, box, side === 1 ? "pixel" : `patch of ${side}×${side}`);
    }),
  );
  const stage = createStage(size, {
    onCursor: (pixel) => {
      pointed = pixel;
      void point();
    },
    onPaint: (pixel) => tools.paintAt(pixel),
    onEscape: () => tools.stopPainting(),
  });
  const tools = redrawingTools(size, {
    onMask: (mask) => {
      stage.setMask(mask, { pending: mask.some((value, i) => value !== current?.marked[i]) });
      enable();
    },
    onPainting: (painting) => stage.setPainting(painting),
  });
  const scrubber = createScrubber({
    onMove: (to, chosen) => {
      taken = to;
      show();
      if (chosen) share();
    },
    describe: (to) =>
      current
        ? `${to} of ${current.recording.steps.length}. ${placeInWords(current.recording, current.settings.selected, to)}`
        : "",
  });

  /** What can be done now. */
  function enable(): void {
    const ended = !running && current !== undefined;
    // Not disabled: the button that was just pressed keeps the focus.
    for (const id of ["draw", "next-seed"]) {
      the("button", id).disabled = false;
      the("button", id).ariaDisabled = String(running);
    }
    const cancel = the("button", "cancel");
    if (!running && document.activeElement === cancel) the("button", "draw").focus();
    cancel.disabled = !running;
    for (const id of ["save-image", "save-all", "share"]) the("button", id).disabled = !ended;
    the("button", "save-animation").disabled = !ended || current!.recording.steps.length === 0;
    the("button", "redraw").disabled = !ended || !tools.mask.includes(1);
    the("button", "undo").disabled = running || before === undefined;
  }

  /** Shows the moment that was chosen, of all images or of the large one alone. */
  function show(): void {
    if (!current) return;
    const { recording, settings } = current;
    const moment = { taken, view: view() };
    for (let image = 0; image < recording.count; image++)
      gallery?.show(image, shownImage(recording, { image, ...moment }));
    const outlined = the("input", "outlines").checked && (running || taken < recording.steps.length);
    stage.show(
      shownImage(recording, { image: settings.selected, ...moment }),
      outlined ? outlinesAt(recording, settings.selected, taken) : [],
    );
    byId("place").textContent = placeInWords(recording, settings.selected, taken);
  }

  /** The pixel under the pointer or the keyboard's cursor. */
  async function point(): Promise<void> {
    if (!pointed || !current) return;
    const { x, y } = pointed;
    const { id, recording, settings } = current;
    const at = settings.selected * pixels + y * size + x;
    if (!drawnAt(recording, at, taken)) return clearPixel();
    const given = recording.from[at] === 0;
    const distribution = given
      ? undefined
      : await client.distribution(id, { image: settings.selected, pixel: y * size + x });
    if (pointed?.x !== x || pointed.y !== y || current.recording !== recording) return;
    const bytes = recording.images.slice(at * channels, (at + 1) * channels);
    showPixel({ x, y, bytes, colour: colourAt(recording, at), distribution });
  }

  /** Writes what is shown into the address. */
  function share(): void {
    if (!current) return;
    const { recording, settings } = current;
    settings.step = taken === recording.steps.length ? undefined : taken;
    history.replaceState(null, "", `#${writeAddress(settings, config)}`);
  }

  function begin(drawing: Drawing): void {
    current = drawing;
    const { recording, settings } = drawing;
    const labels = Array.from(
      { length: recording.count },
      (_, i) => config.classes[settings.classes[i % settings.classes.length]],
    );
    gallery = createGallery(labels, size, (image) => {
      settings.selected = image;
      scrubber.update(recording.steps.length);
      void point();
      share();
    });
    gallery.select(settings.selected);
    scrubber.stop();
    scrubber.update(recording.steps.length, recording.steps.length);
    clearPixel();
    tools.setMask(drawing.marked);
  }

  /** `marked`: what of an edit's mask is not the ring; of a link's no more is known. */
  async function draw(settings: Settings, marked?: Uint8Array): Promise<void> {
    if (running) return;
    if (current) complain(); // what was wrong with the link stays to be read while the first drawing goes on
    const { classes, count, edit, step } = settings;
    const previous = current;
    running = true;
    try {
      const recording = newRecording({ count, size, channels, patches, given: edit });
      const id = drawings++;
      if (edit && !marked) tools.ring = false; // it would grow with every redrawing
      begin({ id, recording, settings, marked: marked ?? edit?.mask ?? new Uint8Array(pixels) });
      enable();
      const labels = Array.from({ length: count }, (_, i) => classes[i % classes.length]);
      say(`Drawing ${plural(count, "image")}…`);
      const request = { ...pickSampling(settings), labels, seed: settings.seed, edit };
      const ended = await client.draw(id, request, (steps, done) => {
        for (const one of steps) addStep(recording, one);
        scrubber.update(recording.steps.length);
        the("progress", "progress").value = done;
      });
      before = edit ? (previous ?? before) : undefined;
      const what = `${plural(count, "image")} in ${inSeconds(ended.seconds)}, ${plural(recording.steps.length, "step")}`;
      say(ended.cancelled ? `Cancelled after ${plural(recording.steps.length, "step")}.` : `Drew ${what}.`);
    } catch (error) {
      say("");
      complain(error);
    }
    running = false;
    the("progress", "progress").value = 0;
    scrubber.update(current!.recording.steps.length, step ?? current!.recording.steps.length);
    share();
    enable();
  }

  /** What the form says, for a new drawing. */
  function fromForm(): Settings | undefined {
    const read = form.read();
    return read && { ...read, selected: 0 };
  }

  the("form", "settings").addEventListener("submit", (event) => {
    event.preventDefault();
    const settings = fromForm();
    if (settings) void draw(settings);
  });
  the("button", "next-seed").addEventListener("click", () => {
    the("input", "seed").value = String(Math.floor(Math.random() * 1e6));
    the("form", "settings").requestSubmit();
  });
  const cancel = () => running && client.cancel();
  the("button", "cancel").addEventListener("click", cancel);
  document.addEventListener("keydown", (event) => event.key === "Escape" && !event.defaultPrevented && cancel());

  the("button", "redraw").addEventListener("click", () => {
    const settings = fromForm();
    if (!settings || !current) return;
    const { recording } = current;
    const from = current.settings.selected * pixels * channels;
    try {
      const marked = tools.mask;
      const mask = drawnMask(config, marked, { ring: tools.ring ? 1 : 0 });
      tools.stopPainting();
      void draw({ ...settings, edit: { image: recording.images.slice(from, from + pixels * channels), mask } }, marked);
    } catch (error) {
      complain(error);
    }
  });
  the("button", "undo").addEventListener("click", () => {
    if (!before) return;
    const drawing = before;
    before = undefined;
    begin(drawing);
    share();
  });
  the("input", "upload").addEventListener("change", async (event) => {
    const input = event.target as HTMLInputElement;
    const file = input.files?.[0];
    if (!file || running) return;
    complain();
    try {
      const image = await readPicture(file, { size, channels });
      const given = { image, mask: new Uint8Array(pixels) };
      before = current;
      const settings = { ...(fromForm() ?? current!.settings), count: 1, selected: 0 };
      const recording = newRecording({ count: 1, size, channels, patches, given });
      begin({ id: drawings++, recording, settings, marked: given.mask });
      say(`${file.name} is shown; mark what is to be drawn anew.`);
    } catch (error) {
      complain(error);
    }
    input.value = "";
    enable();
  });

  for (const control of document.querySelectorAll("input[name=view], #outlines"))
    control.addEventListener("change", show);
  const text = ({ settings }: Drawing, label: string) => ({
    Software: "fractalgen studio",
    Model: model,
    Class: label,
    Seed: String(settings.seed),
    Options: writeAddress({ ...settings, edit: undefined }, config),
  });
  const named = ({ settings }: Drawing) => settings.classes.map((label) => config.classes[label]);
  the("button", "save-image").addEventListener("click", () => {
    const { recording, settings } = current!;
    const label = named(current!)[settings.selected % settings.classes.length];
    const file = imageFile(recording, settings.selected, text(current!, label));
    download(file, `${label}-${settings.seed}-${settings.selected}.png`);
  });
  the("button", "save-all").addEventListener("click", () =>
    download(
      sheetFile(current!.recording, text(current!, named(current!).join(","))),
      `fractalgen-${current!.settings.seed}.png`,
    ),
  );
  the("button", "save-animation").addEventListener("click", () =>
    download(animationFile(current!.recording), `fractalgen-${current!.settings.seed}-animation.png`),
  );
  the("button", "share").addEventListener("click", async () => {
    share();
    try {
      await navigator.clipboard.writeText(location.href);
      say("The link is copied: it draws the same images anywhere.");
    } catch {
      say("The browser does not allow copying; the link is this page's address.");
    }
  });
  tools.enable(true);
  enable();
  return { draw };
}
