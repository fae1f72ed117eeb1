/** What tests do with the studio's page in a real browser. */

import { readFileSync } from "node:fs";
import { chromium, type Page } from "playwright-core";
import sharp from "sharp";
import { expect } from "vitest";
import { findChromium } from "../parity/chromium.ts";

export const executablePath = findChromium();

export const launch = (args: string[] = []) => chromium.launch({ executablePath, args: ["--no-sandbox", ...args] });

/** Waits for the drawing to end; the status tells how. */
export async function ended(on: Page): Promise<string> {
  await on.waitForFunction(() => {
    const text = (id: string) => document.querySelector(id)!.textContent!;
    return (
      text("#error") !== "" ||
      (/^(Drew|Cancelled)/.test(text("#status")) &&
        !document.querySelector("#draw[aria-disabled=true], #draw:disabled"))
    );
  });
  expect(await on.textContent("#error")).toBe("");
  return (await on.textContent("#status"))!;
}

/** The bytes of the file that a button gives. */
export async function saved(on: Page, button: string): Promise<Buffer> {
  const [download] = await Promise.all([on.waitForEvent("download"), on.click(button)]);
  return readFileSync(await download.path());
}

export const pixelsOf = async (file: Buffer) => Uint8Array.from(await sharp(file).removeAlpha().raw().toBuffer());

export async function last(frames: AsyncGenerator<unknown, Uint8Array>): Promise<Uint8Array> {
  for (;;) {
    const next = await frames.next();
    if (next.done) return next.value;
  }
}

export const different = (a: Uint8Array, b: Uint8Array) => a.reduce((sum, value, i) => sum + Number(value !== b[i]), 0);
