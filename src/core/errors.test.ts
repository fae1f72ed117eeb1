/** User errors as data: their parts, the plain sentence, and an app's own words. */

import { describe, expect, it } from "vitest";
import { apiError } from "../server/errors.ts";
import { optionWording } from "../cli/wording.ts";
import { type Mistake, UserError, worded } from "./errors.ts";
import { kebabCase, snakeCase } from "./names.ts";

const full: Mistake = {
  subject: { setting: "filterThreshold", at: "[1]" },
  problem: "it is too large",
  expected: "a number from 0 to 1",
  got: "2",
  hint: [{ do: "allow more memory", setting: "memory" }, { do: "use one thread", setting: "threads", value: "1" }, { do: "use fewer bits", command: "quantize" }], // prettier-ignore
};

describe("a user error", () => {
  it("is one sentence made of its parts", () => {
    const plain = (mistake: string | Mistake) => new UserError(mistake).message;
    expect(plain("no space left")).toBe("no space left");
    expect(plain({ subject: "photo.png", got: "text", expected: "a picture" })).toBe(
      "photo.png: expected a picture, got text",
    );
    expect(plain({ problem: "it is gone", hint: "put it back" })).toBe("it is gone; put it back");
    expect(plain(full)).toBe(
      "filterThreshold[1]: it is too large, expected a number from 0 to 1, got 2; allow more memory, use one thread or use fewer bits",
    );
  });

  it("names options and commands on the command line", () => {
    expect(worded(full, optionWording)).toBe(
      "--filter-threshold[1]: it is too large, expected a number from 0 to 1, got 2; allow more memory (--memory), use one thread (--threads 1) or use fewer bits (fractalgen quantize)",
    );
  });

  it("names the field of a request, taken from its data", () => {
    const { message, details, status } = apiError(new UserError(full));
    expect([status, details.param]).toEqual([400, "filter_threshold"]);
    expect(message).toMatch(/^filter_threshold\[1\]: it is too large/);
    expect(apiError(new UserError({ subject: { setting: "class" }, problem: "none" })).details.param).toBe("prompt");
    // A sentence that only looks as if it started with a field does not name one.
    expect(apiError(new UserError("photo: it does not decode")).details.param).toBeUndefined();
  });

  it("keeps its parts and its cause", () => {
    const cause = new Error("below");
    const error = new UserError(full, { cause });
    expect([error.mistake, error.setting, error.cause, error.name]).toEqual([full, "filterThreshold", cause, "UserError"]); // prettier-ignore
    expect(new UserError("a sentence").setting).toBeUndefined();
    expect(error).toEqual(new UserError(error.message, { cause })); // the parts do not affect equality
  });
});

it.each([
  ["filterThreshold", "filter-threshold", "filter_threshold"],
  ["minP", "min-p", "min_p"],
  ["seed", "seed", "seed"],
])("%s is %s and %s", (name, kebab, snake) => expect([kebabCase(name), snakeCase(name)]).toEqual([kebab, snake]));
