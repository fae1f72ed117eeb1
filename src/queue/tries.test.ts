/** What is said of jobs that failed for good. */

import { expect, it } from "vitest";
import { UserError } from "../core/errors.ts";
import { jobError } from "./tries.ts";

const job = { kind: "features", network: { kind: "own", weights: "" }, images: "", count: 3, size: 8 } as const;

it("tells a job that failed from one whose workers ended", () => {
  const failed = { failedReason: "no room (on host:1)", stacktrace: ["UserError: no room"] };
  expect(jobError(job, failed).message).toMatch(/^the features of 3 images failed three times.*no room/);
  const stalled = { failedReason: "job stalled more than allowable limit", stacktrace: [] };
  expect(jobError(job, stalled)).toBeInstanceOf(UserError);
  expect(jobError(job, stalled).message).toMatch(/^the features of 3 images: 11 workers ended without finishing it/);
});
