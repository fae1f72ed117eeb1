/** The option that names a model, and helpers for finding models and parsing classes. */

import { Option } from "commander";
import { defaultModel, shippedModels } from "../files/find-model.ts";
import { filled } from "./values.ts";

export { allClasses, labelsInTurn, parseClasses } from "../config/classes.ts";
export { defaultModel, findModel, nameOf, shippedModels } from "../files/find-model.ts";

export function modelOption(): Option {
  const ships = shippedModels();
  const which = ships.length > 0 ? `, or a bundled model: ${ships.join(", ")}` : "";
  return new Option("--model <dir|name>", `a model folder${which}`).argParser(filled).default(defaultModel);
}
