/** Runs the built command line in the test's own process and keeps what it says. */

import { vi } from "vitest";
import { builtUrl } from "../test-program.ts";
import type * as Program from "./program.ts";

// Its threads start in half of the time that those of the sources take.
const { run } = (await import(/* @vite-ignore */ builtUrl("cli/program"))) as typeof Program;

export interface Said {
  code: number;
  out: string;
  err: string;
}

/** Progress, which goes to the error stream itself, is left out. */
export async function call(...args: string[]): Promise<Said> {
  const said = { out: "", err: "" };
  const spies = [
    vi.spyOn(console, "log").mockImplementation((line: string) => void (said.out += `${line}\n`)),
    vi.spyOn(console, "error").mockImplementation((line: string) => void (said.err += `${line}\n`)),
    vi.spyOn(process.stderr, "write").mockImplementation(() => true),
    vi.spyOn(process.stdout, "write").mockImplementation((text) => ((said.out += String(text)), true)),
  ];
  try {
    return { code: await run(args), ...said };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
