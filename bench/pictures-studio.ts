/** The picture of the studio: a screenshot of the page in the middle of a drawing. */

import { placedLevels } from "../src/config/model.ts";
import { writeFileAtomic } from "../src/files/atomic.ts";
import type { ModelFolder } from "../src/files/model.ts";
import { kindOf } from "../src/levels/table.ts";
import { findChromium } from "../src/parity/chromium.ts";
import { drawn, servedName, withStudio } from "./studio-page.ts";

const viewport = { width: 1280, height: 930 };
const classes = ["heart", "smiling face", "clock", "country flag"].map(encodeURIComponent);
/** The share of the steps that are done. */
const shown = 0.68;

/** Writes the screenshot to `out`. Returns the reason if it cannot be made here. */
export async function studioPicture(folder: ModelFolder, out: string): Promise<string | undefined> {
  if (!findChromium()) return "there is no chromium or google-chrome in PATH";
  const iterations = placedLevels(folder.config).map((level, l) =>
    kindOf(level).order.steps(level.tokens, l === 0 ? 16 : 8),
  );
  const wanted = `model=${encodeURIComponent(servedName(folder))}&classes=${classes}&n=4&seed=7&image=2&iterations=${iterations}`;
  await withStudio(folder, async ({ url, browser }) => {
    const page = await browser.newPage({ viewport });
    page.setDefaultTimeout(0);
    await page.goto(`${url}/#${wanted}&device=wasm`);
    await drawn(page);
    await page.click("#tour-skip");
    await page.evaluate(inTheMiddle);
    // The pixel in the centre may be drawn later. Its explanation is computed in the page's worker.
    const explained = () => page.evaluate<boolean>(`document.querySelector("#pixel").textContent.startsWith("Row")`);
    for (await page.waitForTimeout(500); !(await explained()); await page.waitForTimeout(500))
      await page.click("#forward");
    await writeFileAtomic(out, await page.screenshot());
  });
  return undefined;
}

/** Code for the page, as text. Without the seconds that the drawing took, two screenshots are the same. */
const inTheMiddle = `(async () => {
  const scrubber = document.querySelector("#scrubber");
  scrubber.value = String(Math.round(${shown} * Number(scrubber.max)));
  scrubber.dispatchEvent(new Event("input", { bubbles: true }));
  const status = document.querySelector("#status");
  status.textContent = status.textContent.replace(/ in [\\d.]+ (s|min)\\b/, "");
})()`;
