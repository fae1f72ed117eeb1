/** Finding classes by any of their names, and error messages for missing models. */

import { describe, expect, it } from "vitest";
import { imagenetClasses } from "../config/imagenet-classes.ts";
import { UserError } from "../core/errors.ts";
import { findModel, parseClasses } from "./models.ts";

const labels = (text: string) => parseClasses(text, { classes: imagenetClasses }).flat();

describe("a class of ImageNet", () => {
  it.each([
    ["golden retriever", [207]],
    ["GOLDEN Retriever", [207]],
    ["white shark", [2]],
    ["great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias", [2]],
    ["golden retriever,great white shark,207", [207, 2, 207]],
    ["hammerhead, hammerhead shark, golden retriever", [4, 207]], // a complete name inside a list
    ["maillot, tank suit,maillot", [639, 638]],
    ["ash-bin", [412]],
    ["cardigan", [474]], // the complete name takes precedence over one of several, the dog's
    ["Cardigan Welsh corgi", [264]],
    ["crayfish", [124]], // a first name takes precedence over a later one, the spiny lobster's
    ["missile", [657]],
    ["crane bird,construction crane", [134, 517]],
    ["0, 999", [0, 999]],
  ])("is found as %j", (text, expected) => expect(labels(text)).toEqual(expected));

  it("is found by its complete name, for every class", () => {
    expect(labels(imagenetClasses.join(","))).toEqual(imagenetClasses.map((_, label) => label));
  });

  it("is ambiguous if a name fits two", () => {
    expect(() => labels("panther")).toThrow(UserError);
    expect(() => labels("panther")).toThrow(
      /^class: "panther" is a name of 2 classes, 286 \(cougar, .*\) and 290 \(jaguar, .*\); use its number or another/,
    );
    expect(() => labels("crane")).toThrow(/134 \(crane, crane bird\) and 517 \(crane, construction crane\)/);
  });

  it("is suggested for a mistyped name", () => {
    expect(() => labels("golden retreiver")).toThrow(/no class "golden retreiver"; did you mean "golden retriever"\?$/);
    expect(() => labels("white sharc")).toThrow(/did you mean "white shark"\?$/);
    expect(() => labels("1000")).toThrow(/no class "1000"; it has .* \(1000 in all\), or numbers from 0 to 999$/);
  });
});

describe("a missing model", () => {
  it("comes with instructions to download it if it is a published one", async () => {
    await expect(findModel("fractalmar_in64")).rejects.toThrow(
      /^model: the weights of fractalmar_in64 are not bundled with the program; download them.*convert a checkpoint.*create random weights/,
    );
    await expect(findModel("fractalmar_in64")).rejects.toThrow(UserError);
  });

  it("comes with a similar name, and the option that named it", async () => {
    await expect(findModel("fractalmar_in46", { subject: "DIR" })).rejects.toThrow(
      /^DIR: there is no model "fractalmar_in46".*did you mean "fractalmar_in64"\?$/,
    );
    await expect(findModel("emoij")).rejects.toThrow(/did you mean "emoji"\?$/);
  });
});
