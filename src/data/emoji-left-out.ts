/** Emoji pictures that are left out of the data set, with reasons; found by inspecting contact sheets. */

// Every family of men, women, boys and girls.
const families = [
  "1f46a",
  "1f468-200d-1f466*",
  "1f468-200d-1f467*",
  "1f468-200d-1f468*",
  "1f468-200d-1f469*",
  "1f469-200d-1f466*",
  "1f469-200d-1f467*",
  "1f469-200d-1f469*",
];

/** For each reason, the icons as `set/code points`; a trailing star matches any further code points. */
export const leftOutList: readonly (readonly [reason: string, icons: readonly string[]])[] = [
  ["its name means water, not a waving hand", ["fxemoji/1f44b"]],
  ["its name means a ribbon, not a bowing person", ["fxemoji/1f647"]],
  ["its name means a hand that points up, not the button", ["fxemoji/1f199"]],
  ["it shows a piano's keyboard, not a computer's", ["fxemoji/2328", "emojione-v1/2328"]],
  ["it shows a paper plane, not a shooting star", ["fxemoji/1f320"]],
  ["it shows a program's window, not a house's", ["fxemoji/1fa9f", "emojione-v1/1fa9f"]],
  ["it shows a building site, not a road barrier", ["fxemoji/1f6a7"]],
  ["it shows a motorway's number plate, not a shield", ["emojione-v1/1f6e1"]],
  ["it shows a whole person, not a hand", ["emojione/1f933"]],
  ["it shows Saudi Arabia's flag, not Sark's", ["flags/1f1e8-1f1f6"]],
  ["it is a black rectangle", ["fxemoji/1f68b"]],
  ["it is an empty frame, not a flag", ["fluent-emoji-flat/1f3f3"]],
  ["it lies on its side, and its tears are no longer recognisable", ["emojione/1f923"]],
  ["it has almost nothing on it: three hairlines", ["fxemoji/1f32b"]],
  ["it has almost nothing on it: a small, light grey square", ["noto-v1/25ab", "openmoji/25ab"]],
  [
    "it is a pictogram that stands for many kinds of families, not people",
    ["noto", "twemoji"].flatMap((set) => families.map((code) => `${set}/${code}`)),
  ],
];

const exact = new Map<string, string>();
const beginnings: [start: string, reason: string][] = [];
for (const [reason, icons] of leftOutList)
  for (const icon of icons)
    if (icon.endsWith("*")) beginnings.push([icon.slice(0, -1), reason]);
    else exact.set(icon, reason);

/** Why an icon is left out; undefined if it is not. */
export const reasonLeftOut = (name: string): string | undefined =>
  exact.get(name) ?? beginnings.find(([start]) => name.startsWith(start))?.[1];
