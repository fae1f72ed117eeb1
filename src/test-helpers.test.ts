/** Rules for the helpers of tests. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

it("helpers set up nothing when they are imported, because test files share processes", () => {
  const helpers = readdirSync(import.meta.dirname, { recursive: true, encoding: "utf8" }).filter((name) =>
    /(^|[/\\])test-[\w-]+\.ts$/.test(name),
  );
  expect(helpers.length).toBeGreaterThan(10);
  const setUp = /^(before|after)(All|Each)\(/m;
  expect(helpers.filter((name) => setUp.test(readFileSync(join(import.meta.dirname, name), "utf8")))).toEqual([]);
});
