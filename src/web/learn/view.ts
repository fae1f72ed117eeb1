/** Switches between the studio and the training page, whose code is loaded when it is first opened. */

import { byId, the } from "../elements.ts";
import type { LearnPage } from "./page.ts";

const address = "#train";

/** The elements of the studio. */
const studio = ["studio", "tabs", "skip", "start-tour", "device-details"];

/**
 * Opens the training page if the address asks for it. The promise resolves when the studio is shown, so that a link to the
 * training page does not fetch the studio's model.
 */
export function studioShown(): Promise<void> {
  const button = the("button", "open-learn");
  let page: Promise<LearnPage> | undefined;
  let before = ""; // the studio's address
  let shown = (): void => {};
  const first = new Promise<void>((resolve) => (shown = resolve));

  async function open(): Promise<void> {
    show(true);
    if (location.hash !== address) before = location.hash;
    history.replaceState(null, "", address);
    byId("learn-heading").focus();
    try {
      await (page ??= import("./page.ts").then(({ createLearnPage }) => createLearnPage()));
    } catch (error) {
      page = undefined;
      console.error(error);
      byId("learn-error").textContent =
        "The training page could not be loaded. Check the connection and reload the page.";
    }
  }
  async function close(): Promise<void> {
    show(false);
    if (location.hash === address) history.replaceState(null, "", before || location.pathname + location.search);
    shown();
    (await page)?.pause();
  }
  function show(learns: boolean): void {
    byId("learn").hidden = !learns;
    for (const id of studio) byId(id).hidden = learns;
    button.textContent = learns ? "Draw" : "Train";
  }
  button.addEventListener("click", () => void (byId("learn").hidden ? open() : close()));
  button.disabled = false;
  if (location.hash === address) void open();
  else shown();
  return first;
}
