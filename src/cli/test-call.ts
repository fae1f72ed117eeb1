/** Runs the built command line inside the test's process and captures its output. */

import { vi } from "vitest";
import { fromBuild } from "../test-program.ts";
import type * as Program from "./program.ts";

const { run } = await fromBuild<typeof Program>("cli/program");

export interface Said {
  code: number;
  out: string;
  err: string;
}

/** Runs a command. Progress, which is written to stderr directly, is not captured. */
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
