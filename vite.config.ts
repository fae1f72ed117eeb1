/** Builds the studio (src/web) into dist/web (`npm run build:web`), or serves it during development (`npm run dev:web`). */

import { createHash } from "node:crypto";
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The model folders that ship with the page. Links without a model mean the first. */
const own = process.env["FRACTALGEN_STUDIO_MODEL"];
const modelFolders = own === undefined ? shippedFolders() : [resolve(own)];
const weightsFile = "model.safetensors";
const sha256 = (content: Uint8Array) => createHash("sha256").update(content).digest("hex");

/** The names of model files contain a hash of their content, so that no cache can mix two builds. */
const models = modelFolders.map((folder) => {
  const [config, weights] = ["config.json", weightsFile].map((name) => {
    const path = resolve(folder, name);
    const hash = sha256(readFileSync(path)).slice(0, 12);
    return { path, fileName: `models/${basename(folder)}/${name.replace(".", `-${hash}.`)}` };
  });
  return { name: basename(folder), config, weights };
});
const modelFiles = models.flatMap(({ config, weights }) => [config, weights]);
/** Compiled into the page, so that it always requests the models it was built with. */
const shippedModels = models.map(({ name, config, weights }) => ({
  name,
  config: config.fileName,
  weights: weights.fileName,
  bytes: statSync(weights.path).size,
}));
const runtimeBytes = (build: string) =>
  statSync(at(`node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded${build}.wasm`)).size;

/** The list of a server's own models; empty on a static host. */
const offered = { fileName: "models.json", source: "[]" };
/** Limit in bytes after gzip, without the runtime and the weights. */
const most = 1e6;

/** Adds the shipped models, writes the list of files into the page for the service worker, and checks the size. */
function studio(): Plugin {
  return {
    name: "studio",
    enforce: "post",
    configureServer({ middlewares }) {
      middlewares.use((request, response, next) => {
        const asked = request.url?.split("?")[0].slice(1);
        const file = modelFiles.find(({ fileName }) => fileName === asked);
        if (file) createReadStream(file.path).pipe(response);
        else if (asked === offered.fileName) response.end(offered.source);
        else next();
      });
    },
    generateBundle(_, bundle) {
      this.emitFile({ type: "asset", ...offered });
      for (const { fileName, path } of modelFiles)
        this.emitFile({ type: "asset", fileName, source: readFileSync(path) });
      const page = bundle["index.html"];
      if (page?.type !== "asset") throw new Error("studio: the build has no page");
      const files = modelFiles.map(({ fileName }) => fileName);
      let bytes = 0;
      for (const [name, file] of Object.entries(bundle)) {
        const content = file.type === "chunk" ? file.code : file.source;
        if (name.startsWith("assets/")) files.push(name);
        if (!/\.wasm$|^models\//.test(name)) bytes += gzipSync(content).length;
      }
      const list = `<script type="application/json" id="files">${JSON.stringify(files)}</script>`;
      page.source = String(page.source).replace("</head>", `${list}</head>`);
      if (bytes > most)
        throw new Error(
          `studio: ${Math.round(bytes / 1e3)} kB after gzip without runtime and weights; the limit is ${most / 1e3}`,
        );
      this.info(`${Math.round(bytes / 1e3)} kB after gzip without runtime and weights, of ${most / 1e3} allowed`);
    },
  };
}

export default defineConfig({
  root: at("src/web"),
  base: "./",
  publicDir: false,
  define: {
    SHIPPED_MODELS: JSON.stringify(shippedModels),
    RUNTIME_BYTES: JSON.stringify({ wasm: runtimeBytes(""), webgpu: runtimeBytes(".asyncify") }),
  },
  plugins: [studio()],
  // The runtime's scripts stay separate files, because its threads load them again.
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser", "development|production"] },
  worker: { format: "es", rollupOptions: { output: { assetFileNames: assetName } } },
  server: { headers: { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" } },
  build: {
    outDir: at("dist/web"),
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1000,
    rollupOptions: {
      input: { studio: at("src/web/index.html"), "service-worker": at("src/web/service-worker.ts") },
      output: {
        entryFileNames: ({ name }) => (name === "service-worker" ? "[name].js" : "assets/[name]-[hash].js"),
        assetFileNames: assetName,
      },
    },
  },
});

/** The folders in `models/`, the one of the emoji first. */
function shippedFolders(): string[] {
  const folders = readdirSync(at("models")).map((name) => at(`models/${name}`));
  const first = (folder: string) => Number(basename(folder) !== "emoji");
  return folders.filter((folder) => existsSync(resolve(folder, "config.json"))).sort((a, b) => first(a) - first(b));
}

/** Renames .mjs files, because some servers send them with a type that browsers refuse for scripts. */
function assetName({ names }: { names: string[] }): string {
  return names[0]?.endsWith(".mjs") ? "assets/[name]-[hash].js" : "assets/[name]-[hash][extname]";
}
