/** The class selector with many grouped classes, in a real browser, with a server's model of random weights. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseModelConfig } from "../config/model.ts";
import { readModelFolder, writeModelFolder } from "../files/model.ts";
import type { Listening } from "../server/listen.ts";
import { listening } from "../server/test-client.ts";
import { testServer } from "../server/test-models.ts";
import { startingState } from "../train/state.ts";
import { ended, executablePath, launch, patient, shippedStudio } from "./test-page.ts";

if (!executablePath) console.warn("The choice of classes is not tested: there is no chromium or google-chrome in PATH");

const small = { width: 16, depth: 1, heads: 2 };
const kinds = ["animal", "food", "flag", "person", "place", "sky"];
const groups = Object.fromEntries(
  kinds.map((kind) => [kind, ["red", "wild", "old", "round", "tall"].map((word) => `${word} ${kind}`)]),
);
const config = parseModelConfig(
  {
    imageSize: 8,
    classes: [...Object.values(groups).flat(), "heart"],
    groups,
    levels: [
      { kind: "mar", patch: 4, ...small },
      { kind: "mar", patch: 1, ...small },
      { kind: "pixel", ...small },
    ],
    sampling: { iterations: [1, 1] },
  },
  "the test",
);

describe.skipIf(!executablePath)("the choice among 31 classes", { timeout: patient }, () => {
  const folder = mkdtempSync(join(tmpdir(), "fractalgen-classes-"));
  let host: Listening;
  let browser: Browser;
  let page: Page;
  beforeAll(async () => {
    const model = join(folder, "many");
    await writeModelFolder(model, config, startingState(config, 3, { ema: 0 }).values);
    const served = { name: "many", folder: readModelFolder(model), config };
    const studio = (await shippedStudio()).folder;
    host = await listening(testServer([served], { studio, shareWeights: true }));
    browser = await launch();
    page = await browser.newPage();
    page.setDefaultTimeout(60_000);
    await page.goto(`${host.url}/#model=many&n=1&classes=heart`);
    await ended(page);
  }, patient);
  afterAll(async () => {
    await browser?.close();
    await host?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const chosen = () => page.locator("#chosen button").allTextContents();
  const find = async (text: string) => {
    await page.fill("#find-class", text);
    return page.textContent("#found");
  };

  it("shows the chosen classes, and groups that open", async () => {
    expect(await chosen()).toEqual(["heart ×"]);
    expect(await page.locator("#classes summary").count()).toBe(6);
    await page.click("#classes summary >> text=flag");
    expect(await page.isVisible("#classes >> text=tall flag")).toBe(true);
    await page.click("#classes summary >> text=flag");
  });

  it("finds a class or a whole group by typing, and Enter chooses it without drawing", async () => {
    expect(await find("wild a")).toBe("1 class; press Enter to choose wild animal.");
    expect(await page.isVisible("#classes >> text=wild animal")).toBe(true);
    expect(await page.isVisible("#classes >> text=red food")).toBe(false);
    await page.press("#find-class", "Enter");
    await find("food");
    await page.press("#find-class", "Enter");
    const foods = groups["food"].map((name) => `${name} ×`);
    expect(await chosen()).toEqual(["heart ×", "wild animal ×", ...foods]);
    expect(await find("wild animl")).toBe(`No class is called “wild animl”; did you mean "wild animal"?`);
    await page.press("#find-class", "Escape");
    expect(await page.inputValue("#find-class")).toBe("");
  });

  it("draws the classes in the order chosen, and asks for one if there is none", async () => {
    await page.click("#draw");
    await page.waitForFunction(() => location.hash.includes("classes=heart,wild%20animal,red%20food"));
    await ended(page);
    for (let left = (await chosen()).length; left > 0; left--) await page.click("#chosen button >> nth=0");
    await page.click("#draw");
    const message = await page.evaluate(
      () => document.querySelector<HTMLInputElement>("#find-class")!.validationMessage,
    );
    expect(message).toBe("Choose at least one class.");
  });
});
