/** Builds the studio (src/web) into dist/web, or serves it while it is worked on: `npm run build:web`, `npm run dev:web`. */

import { createHash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** What the page loads beside its own code. */
const modelFiles = ["models/emoji/config.json", "models/emoji/model.safetensors"];
/** What a server of other models answers with its own. */
const offered = { fileName: "models.json", source: JSON.stringify([{ name: "emoji", folder: "models/emoji/" }]) };
/** Bytes after gzip that all but the runtime and the weights may take. */
const most = 1e6;

/** Adds the shipped model, tells the service worker which files there are, and checks the size. */
function studio(): Plugin {
  return {
    name: "studio",
    enforce: "post",
    configureServer({ middlewares }) {
      middlewares.use((request, response, next) => {
        const asked = request.url?.split("?")[0].slice(1);
        const path = modelFiles.find((file) => file === asked);
        if (path) createReadStream(at(path)).pipe(response);
        else if (asked === offered.fileName) response.end(offered.source);
        else next();
      });
    },
    generateBundle(_, bundle) {
      this.emitFile({ type: "asset", ...offered });
      for (const fileName of modelFiles) this.emitFile({ type: "asset", fileName, source: readFileSync(at(fileName)) });
      const worker = bundle["service-worker.js"];
      if (worker?.type !== "chunk") throw new Error("studio: the build has no service worker");
      const hash = createHash("sha256");
      const files: string[] = [];
      let bytes = 0;
      for (const [name, file] of Object.entries(bundle)) {
        const content = file.type === "chunk" ? file.code : file.source;
        hash.update(name).update(content);
        if (file !== worker) files.push(name);
        if (!/\.wasm$|^models\//.test(name)) bytes += gzipSync(content).length;
      }
      for (const name of modelFiles) {
        hash.update(readFileSync(at(name)));
        if (!files.includes(name)) files.push(name);
      }
      const version = hash.digest("hex").slice(0, 16);
      worker.code = `const built = ${JSON.stringify({ version, files })};\n${worker.code}`;
      if (bytes > most)
        throw new Error(
          `studio: ${Math.round(bytes / 1e3)} kB after gzip without runtime and weights, at most ${most / 1e3}`,
        );
      this.info(`${Math.round(bytes / 1e3)} kB after gzip without runtime and weights, of ${most / 1e3} allowed`);
    },
  };
}

export default defineConfig({
  root: at("src/web"),
  base: "./",
  publicDir: false,
  plugins: [studio()],
  // The runtime's scripts stay files of their own: its threads load them again.
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

/** Some servers send files that end in .mjs with a type that browsers refuse for scripts. */
function assetName({ names }: { names: string[] }): string {
  return names[0]?.endsWith(".mjs") ? "assets/[name]-[hash].js" : "assets/[name]-[hash][extname]";
}
