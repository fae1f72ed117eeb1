/** Progress, preview and the training log. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, test, vi } from "vitest";
import { duration, rateOf } from "../core/duration.ts";
import type { Frame } from "../sample/sampler.ts";
import { preview } from "./preview.ts";
import { progressOn } from "./progress.ts";
import { trimLog } from "../runs/log.ts";

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});

/** A stream that records its output; with `terminal`, it claims to be a terminal. */
function stream(terminal?: { columns?: number; rows?: number; depth?: number }) {
  const written: string[] = [];
  const { columns, rows, depth = 24 } = terminal ?? {};
  const fake = {
    isTTY: terminal !== undefined,
    columns,
    rows,
    getColorDepth: () => depth,
    write: (text: string) => written.push(text),
  };
  return { written, stream: fake as unknown as NodeJS.WriteStream };
}

describe("progress", () => {
  it("rewrites its lines on a terminal and leaves a clean one", () => {
    vi.useFakeTimers();
    const { written, stream: terminal } = stream({ columns: 20, rows: 10 });
    const progress = progressOn(terminal);
    progress.update("one", ({ columns, rows }) => [`${columns} x ${rows}`]);
    progress.update("too soon");
    vi.advanceTimersByTime(200);
    progress.update("a line that is longer than the terminal");
    progress.clear();
    progress.clear();
    expect(written).toEqual(["19 x 8\none\n", "\u001b[2F\u001b[Ja line that is long\n", "\u001b[1F\u001b[J"]);
  });

  it("moves no cursor on a dumb terminal", () => {
    vi.useFakeTimers();
    vi.stubEnv("TERM", "dumb");
    const { written, stream: terminal } = stream({ columns: 20, rows: 10 });
    const progress = progressOn(terminal);
    progress.update("too soon", () => ["picture"]);
    vi.advanceTimersByTime(6000);
    progress.update("one", () => ["picture"]);
    progress.clear();
    expect(written).toEqual(["one\n"]);
  });

  it("assumes 80 by 24 for a terminal that does not report its size", () => {
    const { stream: terminal } = stream({ columns: 0, rows: 0 });
    const room = vi.fn(() => []);
    progressOn(terminal).update("line", room);
    expect(room).toHaveBeenCalledWith({ columns: 79, rows: 22 });
  });

  test.each([
    [24, "", true],
    [8, "truecolor", true], // as Node 20 reports inside tmux
    [8, "", false],
    [1, "truecolor", false], // NO_COLOR
  ])("with %i bits of colour and COLORTERM=%j, shows a preview: %j", (depth, colorterm, drawn) => {
    vi.stubEnv("COLORTERM", colorterm);
    const { written, stream: terminal } = stream({ depth });
    progressOn(terminal).update("line", () => ["picture"]);
    expect(written.join("").includes("picture")).toBe(drawn);
  });

  it("writes a line after 5 s elsewhere, then less and less often", () => {
    vi.useFakeTimers();
    const { written, stream: file } = stream();
    const progress = progressOn(file);
    for (let second = 0; second <= 4000; second++) {
      progress.update(String(second), () => expect.unreachable());
      vi.advanceTimersByTime(1000);
    }
    progress.clear();
    expect(written.slice(0, 3)).toEqual(["5\n", "10\n", "15\n"]);
    const last = written.slice(-2).map(Number);
    expect(last[1] - last[0]).toBeGreaterThan(150);
  });

  it("prints nothing if quiet", () => {
    const { written, stream: terminal } = stream({});
    const progress = progressOn(terminal, { quiet: true });
    progress.update("line");
    progress.clear();
    expect(written).toEqual([]);
  });

  it("formats times and rates for people", () => {
    expect([0.2, 59.6, 200, 7500, Infinity, -1].map(duration)).toEqual([
      "0 s",
      "1 min",
      "3 min 20 s",
      "2 h 5 min",
      "?",
      "0 s",
    ]);
    expect([0.034, 9.5, 123.4].map(rateOf)).toEqual(["0.03 images/s", "9.50 images/s", "123 images/s"]);
  });
});

describe("preview", () => {
  const frame = (image: number, count: number, size: number): Frame => {
    const images = new Uint8Array(count * size * size * 3).map((_, i) => Math.floor(i / (size * size * 3)));
    const finished = { image: Int32Array.of(image), x: Int32Array.of(0), y: Int32Array.of(0), side: 1 };
    return { level: 0, step: 1, steps: 1, finished, done: 0, images };
  };
  const colours = (lines: string[]) =>
    new Set([...lines.join("").matchAll(/38;2;(\d+);/g)].map(([, red]) => Number(red)));

  it("shows the images of the current batch", () => {
    const lines = preview(frame(6, 10, 4), { count: 10, size: 4, channels: 3 }, { batch: 4, columns: 100, rows: 40 });
    const seen = colours(lines);
    expect([4, 5, 6, 7].every((image) => seen.has(image))).toBe(true);
    expect([0, 3, 8, 9].some((image) => seen.has(image))).toBe(false);
  });

  test.each([
    [1, 256, 80, 24],
    [16, 32, 80, 24],
    [16, 32, 24, 80],
    [100, 8, 40, 10],
    [3, 64, 200, 1],
    [2, 8, 0, 10],
    [2, 8, 10, 0],
  ])("%i images of %i fit %i x %i", (count, size, columns, rows) => {
    const lines = preview(frame(0, count, size), { count, size, channels: 3 }, { batch: count, columns, rows });
    expect(lines.length).toBeLessThanOrEqual(rows);
    for (const line of lines) expect(line.split("▀").length - 1).toBeLessThanOrEqual(columns);
    expect(lines.length > 0).toBe(columns > 0 && rows > 0);
  });
});

describe("the training log", () => {
  it("drops records after the checkpoint, and an incomplete line", async () => {
    const folder = mkdtempSync(join(tmpdir(), "fractalgen-log-"));
    const path = join(folder, "log.jsonl");
    const kept = '{"kind":"step","step":1}\n{"kind":"step","step":2}\n{"kind":"evaluation","step":2}\n';
    try {
      await trimLog(path, { step: 2 });
      expect(readdirSync(folder)).toEqual([]);
      for (const more of [
        "",
        '{"kind":"step","step":3}\n',
        '{"kind":"step","step":3}\n{"kind":"st',
        '{"kind":"step","step":2}',
      ]) {
        writeFileSync(path, kept + more);
        await trimLog(path, { step: 2 });
        expect(readFileSync(path, "utf8")).toBe(kept);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
