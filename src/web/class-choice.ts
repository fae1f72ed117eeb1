/** The class selector: chips if there are few classes; otherwise collapsible groups, the chosen classes on top, and a search. */

import { type ClassNames, groupedClasses } from "../config/classes.ts";
import { didYouMean } from "../core/errors.ts";
import { byId, make, the } from "./elements.ts";
import { plural } from "./words.ts";

export interface ClassChoice {
  fill(labels: readonly number[]): void;
  /** Returns the labels in the order chosen. If there are none, marks the field as invalid. */
  read(): number[];
}

/** With more classes than this, there is a search. */
const few = 20;

export function classChoice(names: ClassNames): ClassChoice {
  const { classes } = names;
  let chosen: number[] = [];
  const boxes = classes.map((_, label) => make("input", { type: "checkbox", name: "class", value: String(label) }));
  const chips = classes.map((name, label) => make("label", {}, boxes[label], make("span", {}, name)));
  const groups = groupedClasses(names).map(({ group, labels }) =>
    group === undefined ? plainClasses(labels, chips) : openingGroup(group, { labels, chips, boxes, onAll: setAll }),
  );
  byId("classes").replaceChildren(...groups.map(({ element }) => element));
  const searched = classes.length > few;
  byId("class-search").hidden = !searched;
  byId("class-choice").classList.toggle("searched", searched);

  const find = the("input", "find-class");
  const update = ({ open = false } = {}) => {
    boxes.forEach((box, label) => (box.checked = chosen.includes(label)));
    boxes[0].setCustomValidity("");
    find.setCustomValidity("");
    for (const group of groups) group.update(open);
    byId("chosen").replaceChildren(...(searched ? chosen.map((label) => removable(label)) : []));
  };
  const removable = (label: number) => {
    const button = make("button", { type: "button", ariaLabel: `Remove ${classes[label]}` }, `${classes[label]} ×`);
    button.addEventListener("click", () => {
      setAll([label], false);
      find.focus();
    });
    return button;
  };
  function setAll(labels: readonly number[], on: boolean): void {
    chosen = [...chosen.filter((label) => !labels.includes(label)), ...(on ? labels : [])];
    update();
  }
  boxes.forEach((box, label) => box.addEventListener("change", () => setAll([label], box.checked)));

  /** Labels whose class or group contains the text; classes that start with it come first. */
  const matching = (text: string): number[] => {
    const found = groups.flatMap(({ group = "", labels }) =>
      labels.filter((label) => [classes[label], group].some((name) => name.toLowerCase().includes(text))),
    );
    const rank = (label: number) => Number(!classes[label].toLowerCase().startsWith(text));
    return found.sort((a, b) => rank(a) - rank(b));
  };
  const search = () => {
    const text = find.value.trim().toLowerCase();
    const found = text === "" ? undefined : matching(text);
    chips.forEach((chip, label) => (chip.hidden = found !== undefined && !found.includes(label)));
    for (const group of groups) group.filter(found);
    byId("found").textContent = inWords(text, found);
  };
  const inWords = (text: string, found?: readonly number[]): string => {
    if (!found) return "";
    if (found.length > 0)
      return `${plural(found.length, "class", "classes")}; press Enter to choose ${classes[found[0]]}.`;
    return `No class is called “${text}”${didYouMean(text, [...classes, ...Object.keys(names.groups ?? {})]) || "."}`;
  };
  find.addEventListener("input", search);
  find.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && find.value !== "") event.preventDefault();
    else if (event.key !== "Enter" || find.value === "") return;
    else {
      event.preventDefault(); // do not submit the form
      const text = find.value.trim().toLowerCase();
      const group = groups.find((one) => one.group?.toLowerCase() === text);
      const found = group?.labels ?? matching(text).slice(0, 1);
      if (found.length === 0) return;
      setAll(found, true);
    }
    find.value = "";
    search();
  });

  return {
    fill(labels) {
      chosen = [...labels];
      update({ open: !searched });
    },
    read() {
      // The browser cannot point at a field in a closed or filtered group.
      (searched ? find : boxes[0]).setCustomValidity(chosen.length === 0 ? "Choose at least one class." : "");
      return [...chosen];
    },
  };
}

interface Group {
  group?: string;
  labels: readonly number[];
  element: HTMLElement;
  /** Updates the display; with `open`, opens the group if it has a chosen class. */
  update(open: boolean): void;
  /** Shows only these labels, or all without an argument. */
  filter(found?: readonly number[]): void;
}

function plainClasses(labels: readonly number[], chips: readonly HTMLElement[]): Group {
  const element = make("div", { className: "plain" }, ...labels.map((label) => chips[label]));
  return {
    labels,
    element,
    update: () => {},
    filter: (found) => (element.hidden = found !== undefined && !labels.some((label) => found.includes(label))),
  };
}

/** A group of classes under its name, with an extra first chip for all of them. */
function openingGroup(
  group: string,
  {
    labels,
    chips,
    boxes,
    onAll,
  }: {
    labels: readonly number[];
    chips: readonly HTMLElement[];
    boxes: readonly HTMLInputElement[];
    onAll: (labels: readonly number[], on: boolean) => void;
  },
): Group {
  const all = make("input", { type: "checkbox", name: "group", value: group });
  const allChip = make("label", { className: "all" }, all, make("span", {}, `all of ${group}`));
  const [name, count] = [make("span", {}, group), make("span", { className: "count" })];
  const inside = make("div", { className: "chips" }, allChip, ...labels.map((label) => chips[label]));
  const element = make("details", { className: "group" }, make("summary", {}, name, " ", count), inside);
  all.addEventListener("change", () => onAll(labels, all.checked));
  let before = false; // whether it was open before the search
  let searching = false;
  return {
    group,
    labels,
    element,
    update(open) {
      const chosen = labels.filter((label) => boxes[label].checked).length;
      all.checked = chosen === labels.length;
      all.indeterminate = chosen > 0 && chosen < labels.length;
      count.textContent = chosen === 0 ? String(labels.length) : `${chosen} of ${labels.length}`;
      count.classList.toggle("some", chosen > 0);
      if (open) element.open = chosen > 0;
    },
    filter(found) {
      const matches = found?.some((label) => labels.includes(label)) ?? true;
      element.hidden = !matches;
      allChip.hidden = found !== undefined && !labels.every((label) => found.includes(label));
      if (found && !searching) before = element.open;
      if (found) element.open = matches;
      else if (searching) element.open = before;
      searching = found !== undefined;
    },
  };
}
