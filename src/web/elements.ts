/** Access to the page's elements by their ids in index.html. */

const kinds = {
  input: HTMLInputElement,
  select: HTMLSelectElement,
  button: HTMLButtonElement,
  canvas: HTMLCanvasElement,
  form: HTMLFormElement,
  progress: HTMLProgressElement,
} as const;

type Kinds = { [K in keyof typeof kinds]: InstanceType<(typeof kinds)[K]> };

/** Returns the element with this id. Throws if it is missing or of another kind. */
export function the<K extends keyof Kinds>(kind: K, id: string): Kinds[K] {
  const element = document.getElementById(id);
  if (!(element instanceof kinds[kind])) throw new Error(`the page has no ${kind} ${id}`);
  return element as Kinds[K];
}

/** Fills a list with one option for each label. Returns a function that reads the value of the chosen one. */
export function listOf<K extends string>(list: HTMLSelectElement, labels: Readonly<Record<K, string>>): () => K {
  const values = Object.keys(labels) as K[];
  list.replaceChildren(...values.map((value) => make("option", { value }, labels[value])));
  return () => values[list.selectedIndex];
}

export function byId(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element ${id}`);
  return element;
}

/** Creates an element with the given properties and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
