/** The buttons that save files and copy the link. */

import type { ModelConfig } from "../config/model.ts";
import { writeAddress } from "./address.ts";
import { the } from "./elements.ts";
import { animationFile, download, imageFile, type Moment, sheetFile } from "./keeping.ts";
import type { ShownDrawing } from "./state.ts";
import { say } from "./status.ts";

export interface SavedMoment {
  drawing: ShownDrawing;
  moment: Moment;
}

/** `shown` is called only when there is something to save. */
export function savingButtons(
  { config, model }: { config: ModelConfig; model: string },
  { shown, share }: { shown: () => SavedMoment; share: () => void },
): void {
  const classesOf = ({ settings }: ShownDrawing) => settings.classes.map((label) => config.classes[label]);
  const text = ({ drawing, moment }: SavedMoment, label: string): Record<string, string> => {
    const { settings, recording } = drawing;
    const step = moment.taken === recording.steps.length ? undefined : moment.taken;
    return {
      Software: "fractalgen studio",
      Model: model,
      Class: label,
      Seed: String(settings.seed),
      Options: writeAddress({ ...settings, step, edit: undefined }, config),
    };
  };
  the("button", "save-image").addEventListener("click", () => {
    const { drawing, moment } = shown();
    const { recording, settings } = drawing;
    const classes = classesOf(drawing);
    const label = classes[settings.selected % classes.length];
    const file = imageFile(recording, {
      image: settings.selected,
      ...moment,
      text: text({ drawing, moment }, label),
    });
    download(file, `${label}-${settings.seed}-${settings.selected}.png`);
  });
  the("button", "save-all").addEventListener("click", () => {
    const { drawing, moment } = shown();
    const label = classesOf(drawing).join(",");
    const file = sheetFile(drawing.recording, { ...moment, text: text({ drawing, moment }, label) });
    download(file, `fractalgen-${drawing.settings.seed}.png`);
  });
  the("button", "save-animation").addEventListener("click", () => {
    const { drawing, moment } = shown();
    download(animationFile(drawing.recording, moment.view), `fractalgen-${drawing.settings.seed}-animation.png`);
  });
  the("button", "share").addEventListener("click", async () => {
    share();
    try {
      await navigator.clipboard.writeText(location.href);
      say("The link is copied. It draws the same images anywhere.");
    } catch {
      say("The browser does not allow copying. Copy this page's address instead.");
    }
  });
}
