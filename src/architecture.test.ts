/** The rules that ARCHITECTURE.md explains, such as what may import what, checked on the sources. */

import { readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, posix, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

/** What the files of a folder may import besides their own folder and npm packages; `types` only in type imports. */
const rule: Record<string, { from: string[]; types?: string[] } | "everything"> = {
  core: { from: [] },
  graph: { from: ["core"] },
  layers: { from: ["core", "graph"] },
  levels: { from: ["core", "graph", "layers"] },
  config: { from: ["core", "levels"] },
  model: { from: ["core", "config", "graph", "layers", "levels"] },
  engine: { from: ["core", "graph"] },
  files: { from: ["core", "config", "model"], types: ["graph"] },
  data: { from: ["core", "config", "files"] },
  pictures: { from: ["core", "files"] },
  // An engine is passed in as a value; only the folders that put things together choose one.
  sample: { from: ["core", "config", "graph", "levels", "model"], types: ["engine"] },
  train: { from: ["core", "config", "graph", "levels", "model", "data", "files", "evaluate"], types: ["engine"] },
  evaluate: { from: ["core", "config", "graph", "levels", "model", "data", "files"], types: ["engine"] },
  // Runs sampling or training with an engine in worker threads.
  workers: { from: ["core", "config", "graph", "model", "engine", "files", "sample", "train"] },
  // Complete measures and training runs, as programs and the command line call them.
  measures: {
    from: ["core", "config", "data", "files", "pictures", "sample", "evaluate", "workers"],
    types: ["engine"],
  },
  runs: {
    from: [
      "core",
      "config",
      "model",
      "data",
      "files",
      "pictures",
      "sample",
      "evaluate",
      "train",
      "workers",
      "measures",
    ],
    types: ["engine"],
  },
  parity: "everything",
  cli: "everything",
  server: "everything",
  web: {
    from: ["core", "config", "graph", "levels", "model", "engine", "files", "data", "pictures", "sample", "train"],
  },
  ".": "everything",
};

// Runs jobs of everything below it on other machines, with an engine in a thread of its own.
rule["queue"] = { from: [...(rule["runs"] as { from: string[] }).from, "engine", "runs"] };

/** Where Node's own modules may be imported. */
const usesNode =
  /^((files|data|workers|measures|runs|queue|cli|server|parity)\/|train\/checkpoint\.ts$|engine\/(node|gate|threads)\.ts$)/;

/** Packages that belong to one place. */
const owners: Record<string, RegExp> = {
  "onnxruntime-node": /^engine\/node\.ts$/,
  "onnxruntime-web": /^(engine\/web\.ts$|web\/)/,
  "onnx-buf": /^graph\//,
  hyparquet: /^data\//,
  "hyparquet-compressors": /^data\//,
  hono: /^server\//,
  "@hono/node-server": /^server\//,
  "@fastify/busboy": /^server\//,
  bullmq: /^(queue|server)\//,
  ioredis: /^queue\//,
  "@bull-board/api": /^server\//,
  "@bull-board/hono": /^server\//,
  sharp: /^(data|pictures|cli|server)\//,
};

interface Import {
  /** A path under src for our own files, otherwise the specifier. */
  target: string;
  own: boolean;
  typeOnly: boolean;
}

/** The imports and re-exports of a source. Statements start at the margin, where the formatter puts them. */
function importsOf(file: string, source: string): Import[] {
  const found: Import[] = [];
  const add = (specifier: string, typeOnly: boolean) => {
    const own = specifier.startsWith(".");
    found.push({ own, typeOnly, target: own ? posix.join(posix.dirname(file), specifier) : specifier });
  };
  const statement = /^(?:import|export)\s+(type\s+)?(?:([\w$\s,*{}]+?)\s*from\s*)?["']([^"']+)["']/gm;
  for (const [, type, names = "", specifier] of source.matchAll(statement)) {
    const braced = /^\{([^}]*)\}$/
      .exec(names.trim())?.[1]
      .split(",")
      .filter((name) => name.trim());
    add(specifier, Boolean(type) || Boolean(braced?.length && braced.every((name) => /^\s*type\s/.test(name))));
  }
  for (const [, type, specifier] of source.matchAll(/(typeof\s+)?\bimport\(\s*["']([^"']+)["']/g))
    add(specifier, Boolean(type));
  return found;
}

const root = dirname(fileURLToPath(import.meta.url));
const files = new Map(
  readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => [name.split(sep).join("/"), readFileSync(join(root, name), "utf8")] as const),
);
const isTest = (file: string) => /\.test\.ts$|(^|\/)test-[^/]*$/.test(file);
const sources = [...files.keys()].filter((file) => !isTest(file));
const imports = new Map([...files].map(([file, source]) => [file, importsOf(file, source)]));
const folderOf = (file: string) => (file.includes("/") ? file.slice(0, file.indexOf("/")) : ".");

/** `file -> target` for every import that `wrong` selects. */
const offences = (wrong: (file: string, found: Import) => boolean): string[] =>
  sources.flatMap((file) =>
    imports.get(file)!.flatMap((found) => (wrong(file, found) ? [`${file} -> ${found.target}`] : [])),
  );

/** Everything that files import at run time, directly or indirectly: our own files, and packages and Node's modules by name. */
function reach(...from: string[]): { files: string[]; packages: string[] } {
  const [reached, packages] = [new Set(from), new Set<string>()];
  for (const file of reached)
    for (const { own, target, typeOnly } of imports.get(file) ?? [])
      if (!typeOnly) (own ? reached : packages).add(target);
  return { files: [...reached], packages: [...packages] };
}

const onlyInNode = (target: string): boolean => /^(node:|sharp$|onnxruntime-node$)/.test(target);

describe("the parser", () => {
  it("reads every form of import", () => {
    const source = [
      'import a, { b } from "../core/a.ts";',
      'import {\n  type C,\n  type D,\n} from "../graph/c.ts";',
      'import type * as E from "e";',
      'import "./side.ts";',
      'export * from "./f.ts";',
      'export { type G, h } from "./g.ts";',
      'const lazy = await import("./h.ts");',
      'type I = typeof import("i");',
      'const text = `\n import x from "not-one"`;',
      'export const from = "no import";',
    ].join("\n");
    expect(importsOf("model/x.ts", source).map(({ target, typeOnly }) => [target, typeOnly])).toEqual([
      ["core/a.ts", false],
      ["graph/c.ts", true],
      ["e", true],
      ["model/side.ts", false],
      ["model/f.ts", false],
      ["model/g.ts", false],
      ["model/h.ts", false],
      ["i", true],
    ]);
  });

  it("finds no source that imports test code", () => {
    expect(offences((_, { own, target }) => own && isTest(target))).toEqual([]);
  });

  it("misses none of the sources' relative imports", () => {
    for (const file of sources) {
      const mentioned = files.get(file)!.match(/^[^`\n]*(?:\bfrom|\bimport\(?)\s*["']\.{1,2}\/[^"'\n]*["']/gm) ?? [];
      expect(imports.get(file)!.filter(({ own }) => own).length, file).toBe(mentioned.length);
    }
    expect(offences((_, { own, target }) => own && target.endsWith(".ts") && !files.has(target))).toEqual([]);
  });
});

describe("imports", () => {
  it("follow the rule for each folder", () => {
    for (const file of files.keys())
      expect(
        rule,
        `${file}: the folder is new; add what it may import to the rule in architecture.test.ts`,
      ).toHaveProperty([folderOf(file)]);
    const wrong = offences((file, { own, target, typeOnly }) => {
      const [folder, other] = [folderOf(file), folderOf(target)];
      const allowed = rule[folder];
      if (!own || allowed === "everything" || other === folder) return false;
      return !allowed.from.includes(other) && !(typeOnly && allowed.types?.includes(other));
    });
    expect(wrong).toEqual([]);
  });

  it("between folders have no cycles", () => {
    const edges = new Map<string, Set<string>>();
    for (const file of sources) {
      const targets = edges.get(folderOf(file)) ?? new Set();
      edges.set(folderOf(file), targets);
      for (const { own, target } of imports.get(file)!)
        if (own && folderOf(target) !== folderOf(file)) targets.add(folderOf(target));
    }
    const visit = (folder: string, path: string[]): string[] => {
      if (path.includes(folder)) return [[...path.slice(path.indexOf(folder)), folder].join(" -> ")];
      return [...(edges.get(folder) ?? [])].flatMap((next) => visit(next, [...path, folder]));
    };
    expect([...edges.keys()].flatMap((folder) => visit(folder, []))).toEqual([]);
  });

  it("form no cycle of files, except the one that graph/build.ts explains", () => {
    const circles = new Set<string>();
    const done = new Set<string>();
    const visit = (file: string, path: string[]): void => {
      if (path.includes(file)) circles.add(path.slice(path.indexOf(file)).toSorted().join(" "));
      if (path.includes(file) || done.has(file)) return;
      for (const { own, target } of imports.get(file) ?? []) if (own) visit(target, [...path, file]);
      done.add(file);
    };
    sources.forEach((file) => visit(file, []));
    const explained = /^(graph\/(build|operations\/\w+)\.ts ?)+$/;
    expect([...circles].filter((circle) => !explained.test(circle))).toEqual([]);
    expect(circles.size).toBeGreaterThan(0);
  });

  it("keep sampling separate from training and evaluation, and evaluation from training, also in tests", () => {
    const apart = ["sample train", "sample evaluate", "train sample", "evaluate sample", "evaluate train"];
    for (const [file, found] of imports)
      for (const { target, own } of found)
        if (own) expect(apart, `${file} -> ${target}`).not.toContain(`${folderOf(file)} ${folderOf(target)}`);
  });

  it("of Node's modules are only in the folders for files, processes and sockets", () => {
    expect(offences((file, { target }) => target.startsWith("node:") && !usesNode.test(file))).toEqual([]);
    expect(offences((_, { target }) => builtinModules.includes(target))).toEqual([]); // "fs" for "node:fs"
  });

  it("of packages are only where they belong, and no source imports vitest", () => {
    expect(offences((file, { target }) => target in owners && !owners[target].test(file))).toEqual([]);
    expect(offences((_, { target }) => target === "vitest")).toEqual([]);
  });

  it("of the studio are only within it, and only its page and workers import the browser's runtime", () => {
    expect(offences((file, { own, target }) => own && folderOf(target) === "web" && folderOf(file) !== "web")).toEqual(
      [],
    );
    const runtime = (target: string) => target.startsWith("onnxruntime-web");
    expect(offences((file, { target }) => runtime(target) && !owners["onnxruntime-web"].test(file))).toEqual([]);
    expect(offences((file, { target }) => file.startsWith("web/") && /^(vite|playwright-core)$/.test(target))).toEqual(
      [],
    );
  });

  it("of sampling and the studio reach nothing that requires Node", () => {
    const reached = reach(...sources.filter((file) => /^(sample|web)\//.test(file)));
    expect(reached.packages.filter(onlyInNode)).toEqual([]);
    expect(reached.files).toEqual(expect.arrayContaining(["graph/onnx.ts", "engine/web.ts"]));
  });
});

describe("the package's entries", () => {
  it("are exported by package.json", () => {
    const { exports } = JSON.parse(readFileSync(join(root, "../package.json"), "utf8")) as {
      exports: Record<string, string | { types: string; default: string }>;
    };
    expect(Object.keys(exports)).toEqual([".", "./graph", "./levels", "./browser", "./package.json"]);
    for (const target of Object.values(exports)) {
      if (typeof target === "string") continue;
      const module = /^\.\/dist\/(.*)\.js$/.exec(target.default)![1];
      expect(target.types).toBe(`./dist/${module}.d.ts`);
      expect(sources).toContain(`${module}.ts`);
    }
  });

  it("fractalgen/graph reaches only core and graph, the ONNX messages, and no word about images or models", () => {
    const { files: reached, packages } = reach("graph/index.ts");
    expect(reached).toEqual(expect.arrayContaining(["graph/gradient.ts", "graph/onnx.ts", "core/random.ts"]));
    expect(reached.filter((file) => !/^(core|graph)\//.test(file))).toEqual([]);
    expect(packages.toSorted()).toEqual(["@bufbuild/protobuf", "onnx-buf"]);
    const models = /\bfractal(?!gen\b)|\blevels?\b|\bmar\b|\bguid(ing|ance)\b|\bpatch/i;
    expect(reached.filter((file) => models.test(files.get(file)!))).toEqual([]);
  });

  it("fractalgen/browser reaches nothing that requires Node, and gets the runtime from its caller", () => {
    const { files: reached, packages } = reach("browser.ts");
    expect(reached).toEqual(expect.arrayContaining(["engine/web.ts", "sample/sampler.ts", "files/fetched-model.ts"]));
    expect(packages.filter(onlyInNode)).toEqual([]);
    expect(packages.filter((name) => name.startsWith("onnxruntime"))).toEqual([]);
  });

  it("fractalgen has an engine for Node, and needs no development dependency", () => {
    const { packages } = reach("index.ts");
    const { dependencies } = JSON.parse(readFileSync(join(root, "../package.json"), "utf8")) as {
      dependencies: Record<string, string>;
    };
    const nameOf = (specifier: string) => /^(@[^/]+\/)?[^/]+/.exec(specifier)![0];
    expect(packages).toContain("onnxruntime-node");
    expect(packages.filter((name) => !name.startsWith("node:") && !(nameOf(name) in dependencies))).toEqual([]);
  });
});

describe("the library and the server", () => {
  // The options in gpu-memory.ts are those of nvidia-smi.
  const library = sources.filter((file) => !/^(cli|parity|web)\/|^files\/gpu-memory/.test(file));
  /** The source without comments, which may explain how an app words a name. */
  const code = (file: string) => files.get(file)!.replaceAll(/\/\*[^]*?\*\/|^\s*\/\/.*$/gm, "");

  it("mention no option or command: errors name settings, and each app words them", () => {
    const told = (text: string) =>
      text.match(/(?<![\w-])--[a-z][\w-]*|\bfractalgen (?!own features|step graphs)[a-z]+/g) ?? [];
    expect(told('give more (--memory) or "fractalgen quantize"')).toEqual(["--memory", "fractalgen quantize"]);
    expect(told("step--; a--b; x-- > 0")).toEqual([]);
    expect(library.flatMap((file) => told(code(file)).map((found) => `${file}: ${found}`))).toEqual([]);
  });
});

/** Lines of code, without comments, that match. */
const linesOf = (pattern: RegExp, where: (file: string) => boolean): string[] =>
  sources.filter(where).flatMap((file) =>
    files
      .get(file)!
      .split("\n")
      .filter((line) => !/^\s*(\/\/|\*|\/\*)/.test(line) && pattern.test(line))
      .map((line) => `${file}: ${line.trim()}`),
  );

describe("foreign text", () => {
  it("is made safe by the errors whose messages users read", () => {
    const classes = linesOf(/class \w+ extends Error\b/, (file) => !file.startsWith("web/"));
    const fitting = sources.filter((file) => /\bfitting\(/.test(files.get(file)!));
    // The others are caught inside the program, shown by `shown` or in a UserError, or carry the text of a UserError or a thread.
    const inside = /class (PictureError|Interrupted|ApiError|ThreadError) /;
    expect(
      classes.filter((line) => !inside.test(line) && !fitting.some((file) => line.startsWith(`${file}:`))),
    ).toEqual([]);
    expect(fitting).toEqual(expect.arrayContaining(["core/errors.ts", "files/pickle.ts"]));
  });

  it("reaches the terminal only through the console and progress, which escape control characters", () => {
    const writes = linesOf(/process\.std(out|err)\.write\(/, (file) => !file.startsWith("web/"));
    expect(writes).toEqual([]);
    expect(files.get("cli/main.ts")).toMatch(/^showsControls\(\);$/m);
  });

  it("is not printed whole: no message of a reader joins or stringifies the content of a file", () => {
    const whole = /\$\{(JSON\.stringify|String)\(|\.keys\(\)\]\.join\(/;
    const told = linesOf(whole, (file) => /^(files|data)\//.test(file));
    // Writing our own files, and code for a thread, are not messages.
    expect(told.filter((line) => !/writeFileAtomic\(|const (code|path) =|^files\/ownership/.test(line))).toEqual([]);
  });
});

describe("files from anywhere", () => {
  it("are opened in one place, which accepts only regular files", () => {
    /** The other places that open files, and why they may. */
    const owners: Record<string, string> = {
      "files/regular.ts": "the one place",
      "files/atomic.ts": "files it writes, and folders to sync",
      "files/partial.ts": "its own downloads",
      "files/checksum.ts": "checked files, and its own records",
      "files/disk.ts": "written files, to sync them",
      "files/heartbeat.ts": "its own signs of life",
      "files/ownership.ts": "its own locks",
      "files/process.ts": "the system's information about processes",
      "files/gpu-memory.ts": "the system's information about graphics cards",
      "files/zip.ts": "descriptors that regular.ts opened",
      "data/dataset-file.ts": "the cache's own files",
    };
    const opening = /(?<![.\w])(open|openSync|readFile|readFileSync|createReadStream)\((?!\))/;
    // Our own functions of these names, and files opened for writing.
    const other = /function open|async open\(|open\(path(: string)?\)|"ax"/;
    const found = linesOf(opening, (file) => /^(files|data|evaluate)\//.test(file) && !(file in owners));
    expect(found.filter((line) => !other.test(line) && !line.startsWith("data/emoji"))).toEqual([]);
  });
});

describe("every source file", () => {
  it("is shorter than 400 lines", () => {
    const long = [...files]
      .map(([file, source]) => ({ file, lines: source.split("\n").length - 1 }))
      .filter(({ lines }) => lines >= 400);
    expect(long).toEqual([]);
  });

  it("has at most 120 lines if it belongs to a command, because the library does the work", () => {
    const long = sources
      .filter((file) => file.startsWith("cli/"))
      .map((file) => ({ file, lines: files.get(file)!.split("\n").length - 1 }))
      .filter(({ lines }) => lines > 120);
    expect(long).toEqual([]);
  });

  it("begins with a comment that says what it is", () => {
    const bare = sources.filter((file) => !/^(#!.*\n)?(\/\*\*|\/\/)\s+(\* )?\S/.test(files.get(file)!));
    expect(bare).toEqual([]);
  });

  it("is found by this test", () => {
    expect(sources.length).toBeGreaterThan(40);
    expect(files.has("architecture.test.ts")).toBe(true);
  });
});
