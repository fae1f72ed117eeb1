/** Atomic writing, tested in the system's temporary folder. */

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { UserError } from "../core/errors.ts";
import { readFolder, recoverFolder, replaceFolder, writeFileAtomic } from "./atomic.ts";
import { temporaryName } from "./temporary.ts";
import { builtUrl } from "../test-program.ts";

let dir: string;
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), "atomic-"))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const text = (...parts: string[]) => readFileSync(join(dir, ...parts), "utf8");
const source = JSON.stringify(builtUrl("files/atomic"));
const inChild = (code: string) => ["--input-type=module", "--eval", `import * as atomic from ${source};\n${code}`];

const full = (code: string) => Object.assign(new Error(code), { code });

describe("writeFileAtomic", () => {
  test("creates folders, writes bytes, text and pieces, leaves one file", async () => {
    await writeFileAtomic(join(dir, "a/b/file"), "text");
    expect(text("a/b/file")).toBe("text");
    await writeFileAtomic(join(dir, "a/b/file"), new Uint8Array([104, 105]));
    expect(text("a/b/file")).toBe("hi");
    await writeFileAtomic(join(dir, "a/b/file"), async (write) => {
      for (const piece of ["one ", "", "two"]) await write(new TextEncoder().encode(piece));
    });
    expect(text("a/b/file")).toBe("one two");
    expect(readdirSync(join(dir, "a/b"))).toEqual(["file"]);
  });

  test("a writer that fails leaves the previous file and nothing else", async () => {
    const path = join(dir, "file");
    await writeFileAtomic(path, "old");
    const failing = writeFileAtomic(path, async (write) => {
      await write(new Uint8Array(1000));
      throw new Error("the power went");
    });
    await expect(failing).rejects.toThrow("the power went");
    expect(text("file")).toBe("old");
    expect(readdirSync(dir)).toEqual(["file"]);
  });

  test.each([
    ["ENOSPC", "the disk is full (wrote 3.0 MB of 22 MB); free some space and run again"],
    ["EDQUOT", "your disk quota is used up (wrote 3.0 MB of 22 MB); free some space and run again"],
    ["EACCES", `no permission to write in DIR; choose another folder or change its permissions`],
    ["EROFS", `DIR is on a disk mounted read-only; choose another folder`],
  ])("%s is one sentence", async (code, reason) => {
    const path = join(dir, "file");
    const writing = () =>
      writeFileAtomic(
        path,
        async (write) => {
          await write(new Uint8Array(3_000_000));
          throw full(code);
        },
        { totalBytes: 22_000_000 },
      );
    const sentence = `cannot write ${path}: ${reason.replace("DIR", dir)}`;
    await expect(writing()).rejects.toThrow(new UserError(sentence));
    expect(readdirSync(dir)).toEqual([]);
    await writeFileAtomic(path, "old");
    await expect(writing()).rejects.toThrow(new UserError(`${sentence}; the previous file is untouched`));
    expect(text("file")).toBe("old");
  });

  test("distinguishes a file where a folder is needed from a folder where a file is needed", async () => {
    writeFileSync(join(dir, "file"), "");
    mkdirSync(join(dir, "folder/inner"), { recursive: true });
    for (const path of ["file/x", "file/x/y"])
      await expect(writeFileAtomic(join(dir, path), "x")).rejects.toThrow(
        /cannot write .*: part of this path is a file, but a folder is needed/,
      );
    const onFolder = writeFileAtomic(join(dir, "folder"), "x");
    await expect(onFolder).rejects.toThrow(
      /cannot write .*folder: a folder of this name exists, but a file must be written there/,
    );
    await expect(onFolder).rejects.toBeInstanceOf(UserError);
    expect(readdirSync(dir)).toEqual(["file", "folder"]);
  });

  test("removes what a killed process left, but not what a running one is writing", async () => {
    const dead = spawnSync(process.execPath, ["--version"]).pid;
    const own = basename(temporaryName(join(dir, "file")));
    const of = (pid: number) => own.replace(`.${process.pid}-`, `.${pid}-`);
    const elsewhere = (name: string) =>
      name.replace(/-([0-9a-f]{4})/, (_, place: string) => (place === "0000" ? "-0001" : "-0000"));
    // The last two belong to another container that shares the disk: only their age can tell.
    const left = [of(dead), own, of(process.ppid), ".file.notes.partial", elsewhere(of(dead)), elsewhere(own)];
    for (const name of left) writeFileSync(join(dir, name), "x");
    utimesSync(join(dir, left[5]), 1e9, 1e9);
    await writeFileAtomic(join(dir, "file"), "new");
    expect(readdirSync(dir).sort()).toEqual([...left.slice(1, 5), "file"].sort());
  });

  test("removes them from a large folder too, but no old version of a folder", async () => {
    for (let i = 0; i < 500; i++) writeFileSync(join(dir, `${i}.png`), "");
    await writeFileAtomic(join(dir, "a.png"), "");
    const dead = String(spawnSync(process.execPath, ["--version"]).pid);
    const leave = (name: string, kind: "partial" | "old") =>
      writeFileSync(temporaryName(join(dir, name), kind).replace(`.${process.pid}-`, `.${dead}-`), "");
    for (const name of ["a.png", "other.png"]) leave(name, "partial");
    leave("run", "old"); // the only complete version of a folder, which `recoverFolder` restores
    for (let i = 0; i < 10; i++) await writeFileAtomic(join(dir, "b.png"), ""); // at least 1% of the entries
    expect(readdirSync(dir).filter((name) => name.startsWith("."))).toEqual([expect.stringMatching(/\.run\..*\.old$/)]);
  });

  // A 64 kB disk in a separate mount namespace that ends with the child; needs Linux with user namespaces.
  const canMount = spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]).status === 0;
  test.skipIf(!canMount)(
    "a disk that is really full (skipped if no small disk can be mounted)",
    () => {
      const code = `
      const path = ${JSON.stringify(join(dir, "model.bin"))};
      await atomic.writeFileAtomic(path, "old");
      await atomic.writeFileAtomic(path, new Uint8Array(200_000)).catch((error) => console.log(error.name, error.message));
      console.log((await import("node:fs")).readdirSync(${JSON.stringify(dir)}).join(), (await import("node:fs")).readFileSync(path, "utf8"));`;
      const shell = `mount -t tmpfs -o size=64k tmpfs ${dir} && exec "$0" "$@"`;
      const output = execFileSync("unshare", ["-rm", "sh", "-c", shell, process.execPath, ...inChild(code)], {
        encoding: "utf8",
      });
      const [sentence, state] = output.trim().split("\n");
      expect(sentence).toMatch(
        /^UserError cannot write .*model\.bin: the disk is full \(wrote \d+ kB of 200 kB\); free some space and run again; the previous file is untouched$/,
      );
      expect(state).toBe("model.bin old");
    },
    30_000,
  );
});

describe("replaceFolder", () => {
  test("never replaces the current folder or one of its parents", async () => {
    for (const name of ["", " ", ".", "..", "/", process.cwd(), "src/.."])
      await expect(
        replaceFolder(name, async () => {}),
        name,
      ).rejects.toThrow(/the current folder or one of its parents/);
    expect(existsSync("package.json")).toBe(true);
  });

  const fillWith = (content: string) => async (folder: string) => {
    await writeFileAtomic(join(folder, "a"), content);
    await writeFileAtomic(join(folder, "b"), content);
  };

  test("creates a folder, then replaces all of it", async () => {
    const target = join(dir, "deep/model");
    await replaceFolder(target, (folder) => writeFileAtomic(join(folder, "only-at-first"), "x"));
    await replaceFolder(target, fillWith("2"));
    expect(readdirSync(target)).toEqual(["a", "b"]);
    expect(readdirSync(join(dir, "deep"))).toEqual(["model"]);
  });

  test("keeps the old folder if filling fails, and reports a full disk in one sentence", async () => {
    const target = join(dir, "model");
    await replaceFolder(target, fillWith("1"));
    const failing = replaceFolder(target, async (folder) => {
      writeFileSync(join(folder, "half"), "");
      throw full("ENOSPC");
    });
    await expect(failing).rejects.toThrow(
      new UserError(
        `cannot write ${target}: the disk is full; free some space and run again; the previous folder is untouched`,
      ),
    );
    expect(readdirSync(dir)).toEqual(["model"]);
    expect(text("model/a")).toBe("1");
  });

  test("will not replace a file", async () => {
    writeFileSync(join(dir, "model"), "precious");
    await expect(replaceFolder(join(dir, "model"), fillWith("1"))).rejects.toThrow(/a file, but a folder is needed/);
    expect(text("model")).toBe("precious");
  });

  test("recovers the old folder from a kill between the two renames, and only then", async () => {
    const target = join(dir, "model");
    await replaceFolder(join(dir, ".model.99999999-0123456789ab.old"), fillWith("old"));
    await replaceFolder(join(dir, ".model.99999999-0123456789ab.partial"), fillWith("new"));
    expect(await recoverFolder(target)).toBe(true);
    expect(text("model/a")).toBe("old");
    expect(await recoverFolder(target)).toBe(false);
    await replaceFolder(target, fillWith("newest"));
    expect(readdirSync(dir)).toEqual(["model"]);
    expect(await recoverFolder(join(dir, "nothing"))).toBe(false);
  });

  test("is read again if it was replaced meanwhile, and its errors are thrown if it was not", async () => {
    const target = join(dir, "model");
    await replaceFolder(target, fillWith("1"));
    let reads = 0;
    const read = async () => {
      const first = text("model/a");
      if (++reads === 1) await replaceFolder(target, fillWith("2"));
      if (reads === 2) {
        await replaceFolder(target, fillWith("3"));
        throw new Error("a file is gone");
      }
      return [first, text("model/a")];
    };
    expect(await readFolder(target, read)).toEqual(["3", "3"]);
    expect(reads).toBe(3);
    const fails = () => Promise.reject(new Error("damaged"));
    await expect(readFolder(target, fails)).rejects.toThrow("damaged");
    await expect(readFolder(join(dir, "nothing"), fails)).rejects.toThrow("damaged");
  });

  test("leaves a complete folder when killed at any moment", async () => {
    const target = join(dir, "model");
    const code = `
      import { writeFileSync } from "node:fs";
      for (let i = 0; ; i++) {
        await atomic.replaceFolder(${JSON.stringify(target)}, async (folder) => {
          for (const name of ["a", "b", "c"]) writeFileSync(folder + "/" + name, String(i));
        });
        if (i === 5) console.log("going");
      }`;
    for (let kill = 0; kill < 3; kill++) {
      const child = spawn(process.execPath, inChild(code), { stdio: ["ignore", "pipe", "inherit"] });
      await once(child.stdout, "data");
      await new Promise((resolve) => setTimeout(resolve, 13 * kill));
      child.kill("SIGKILL");
      await once(child, "exit");
      await recoverFolder(target);
      const found = ["a", "b", "c"].map((name) => text("model", name));
      expect(new Set(found).size).toBe(1);
    }
    await replaceFolder(target, fillWith("after"));
    expect(readdirSync(dir)).toEqual(["model"]);
  }, 30_000);
});
