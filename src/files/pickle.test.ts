/** The pickle reader, tested with pickles from python3's pickle module and handwritten ones. */

import { describe, expect, test } from "vitest";
import { Namespace, Opaque, PickleError, PickleGlobal, unpickle } from "./pickle.ts";
import { processorSeconds } from "./test-time.ts";
import { thorough } from "../test-depth.ts";

const namespace = new PickleGlobal("argparse.Namespace", () => new Namespace());
const list = new PickleGlobal("builtins.list", ([items]) => [...(items as unknown[])]);
const rules = {
  resolve: (name: string) => {
    if (name === "argparse.Namespace") return namespace;
    if (name === "builtins.list") return list;
    throw new PickleError(`no ${name}`);
  },
  persistent: (id: unknown) => ({ id }),
};
const load = (bytes: Uint8Array, maxSteps?: number) => unpickle(bytes, { ...rules, maxSteps });
const hand = (...parts: (string | number)[]) =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === "number" ? [part] : [...Buffer.from(part, "latin1")])));

const protocol4 =
  "80049588000000000000007d94288c0161945d94284b014afeffffff4d2c014a90eefeff8a060000000000018a060000000000ff8a0900000000000000004047bff8000000000000884e658c017494298c0175948c0178948c02c3a99486948c0176944b014b024b0387948c0173948f94284b04908c016294430200ff944b057d948c095f5f70726f746f5f5f944b0673752e";

describe("values", () => {
  // python3 -c 'import pickle,sys; print(pickle.dumps({"a": [1, -2, 300, -70000, 2**40, -2**40, 2**70, -1.5, True,
  // None],   "t": (), "u": ("x", "é"), "v": (1, 2, 3), "s": {4}, "b": b"\x00\xff", 5: {"__proto__": 6}},
  // PROTOCOL).hex())' without "s" below 4 and "b" below 3
  test.each([
    [
      2,
      "80027d71002858010000006171015d7102284b014afeffffff4d2c014a90eefeff8a060000000000018a060000000000ff8a0900000000000000004047bff8000000000000884e65580100000074710329580100000075710458010000007871055802000000c3a9710686710758010000007671084b014b024b038771094b057d710a58090000005f5f70726f746f5f5f710b4b0673752e",
    ],
    [
      3,
      "80037d71002858010000006171015d7102284b014afeffffff4d2c014a90eefeff8a060000000000018a060000000000ff8a0900000000000000004047bff8000000000000884e65580100000074710329580100000075710458010000007871055802000000c3a9710686710758010000007671084b014b024b03877109580100000062710a430200ff710b4b057d710c58090000005f5f70726f746f5f5f710d4b0673752e",
    ],
    [4, protocol4],
  ])("protocol %i", (protocol, hex) => {
    // Protocol 2 has no opcodes for sets and bytes: Python writes calls of __builtin__.set and _codecs.encode.
    const sets = protocol < 4 ? [] : [["s", new Set([4])]];
    const bytes = protocol < 3 ? [] : [["b", Uint8Array.of(0, 255)]];
    const expected = new Map<unknown, unknown>([
      ["a", [1, -2, 300, -70000, 2 ** 40, -(2 ** 40), 2n ** 70n, -1.5, true, null]],
      ["t", []],
      ["u", ["x", "é"]],
      ["v", [1, 2, 3]],
      ...(sets as [unknown, unknown][]),
      ...(bytes as [unknown, unknown][]),
      [5, new Map([["__proto__", 6]])],
    ]);
    expect(load(Uint8Array.from(Buffer.from(hex, "hex")))).toEqual(expected);
  });

  test("a Namespace accepts attributes, and the name of a prototype property is an ordinary key", () => {
    const bytes = hand(0x80, 2, "cargparse\nNamespace\n)", 0x81, "}(X", 9, 0, 0, 0, "__proto__K", 7, "ub.");
    const value = load(bytes) as Namespace;
    expect(value).toBeInstanceOf(Namespace);
    expect([...value]).toEqual([["__proto__", 7]]);
  });

  test("a list may contain itself", () => {
    const value = load(hand(0x80, 2, "]q", 0, "h", 0, "a.")) as unknown[];
    expect(value[0]).toBe(value);
  });
});

describe("attacks and damage", () => {
  test.each([
    ["a class", hand("cos\nsystem\n(S'true'\ntR."), "no os.system"],
    ["a class by STACK_GLOBAL", hand(0x80, 4, 0x8c, 2, "os", 0x8c, 6, "system", 0x93, "."), "no os.system"],
    [
      "the length of a list",
      hand(0x80, 2, "](K", 1, "e}(X", 6, 0, 0, 0, "length", "J", 255, 255, 255, 127, "ub."),
      "sets attributes of something that has none",
    ],
    ["the attributes of a class", hand(0x80, 2, "cbuiltins\nlist\n}b."), "sets attributes of something that has none"],
    ["a call of data", hand(0x80, 2, "X", 1, 0, 0, 0, "x)R."), "calls something that is not a class"],
    ["an empty stack", hand(0x80, 2, "0."), "pops from an empty stack"],
    ["below the mark", hand(0x80, 2, "K", 1, "(0."), "pops from an empty stack"],
    ["no mark", hand(0x80, 2, "t."), "ends a group that it never began"],
    ["a missing memo", hand(0x80, 2, "h", 9, "."), "recalls the value 9 that it never stored"],
    ["a key without a value", hand(0x80, 2, "}(K", 1, "u."), "sets a key of something that is not a dict"],
    ["a text instruction", hand(0x80, 2, "I12\n."), "has the instruction 0x49, which no checkpoint uses"],
    ["protocol 6", hand(0x80, 6, "N."), "uses protocol 6, expected 2 to 5"],
    ["an integer of 100 bytes", hand(0x80, 2, 0x8a, 100, "x".repeat(100), "."), "has an integer of 100 bytes"],
    ["a negative length", hand(0x80, 2, "T", 255, 255, 255, 255, "x."), "is truncated"],
    ["a text longer than the file", hand(0x80, 2, "X", 255, 255, 255, 255, "x"), "is truncated"],
    ["no end", hand(0x80, 2, "N"), "is truncated"],
  ])("%s", (_, bytes, message) => {
    expect(() => load(bytes)).toThrow(PickleError);
    expect(() => load(bytes)).toThrow(message);
  });

  test("growth is bounded, both by instructions and by repeatedly copied lists", () => {
    expect(() => load(hand(0x80, 2, "}".repeat(2000), "."), 1000)).toThrow("needs more than 1000 steps");
    const items = hand(0x80, 2, "(", "N".repeat(400), "lq", 0, "0", "cbuiltins\nlist\nq", 1, "0");
    const copy = hand("h", 1, "h", 0, 0x85, "R0");
    const copies = (count: number) => Buffer.concat([items, ...Array(count).fill(copy), hand("N.")]);
    expect(load(copies(1), 1000)).toBeNull();
    expect(() => load(copies(3), 1000)).toThrow("needs more than 1000 steps");
  });

  test.runIf(thorough)("time is bounded even for keys with equal hashes", () => {
    // 2^n for n = 64, 65, … differ only in bits that BigInt's hash ignores; as strings they have different hashes.
    const key = (n: number) => hand(0x8a, 60, ..."\0".repeat(30), n & 255, n >> 8, ..."\0".repeat(28));
    const dict = Buffer.concat([
      hand(0x80, 2, "}("),
      ...Array.from({ length: 60_000 }, (_, n) => [key(n), hand("N")]).flat(),
      hand("u."),
    ]);
    const started = process.cpuUsage();
    expect((load(dict) as Map<unknown, unknown>).size).toBe(60_000);
    expect(processorSeconds(started)).toBeLessThan(1.5);
    const endless = () => {
      for (;;);
    };
    const call = hand(0x80, 2, "cendless\nloop\n)R.");
    const rules = { resolve: () => new PickleGlobal("endless", () => endless()), persistent: () => null };
    expect(() => unpickle(call, rules)).toThrow("takes too long to read for a checkpoint");
  });

  test("unknown classes become opaque values, whatever operations follow", () => {
    const opaque = { resolve: (name: string) => new Opaque(name), persistent: () => null };
    // An object that is called and gets attributes, items and a state.
    const bytes = hand(0x80, 2, "ca\nB\n)", 0x81, "}(X", 1, 0, 0, 0, "xK", 7, "ubK", 1, "a(K", 1, "K", 2, "u.");
    expect(unpickle(bytes, opaque)).toEqual(new Opaque("a.B"));
  });

  test("throws only PickleErrors for any bytes", () => {
    const whole = Buffer.from(protocol4, "hex");
    let state = 1;
    const random = (below: number) => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 8) % below;
    let refused = 0;
    for (let i = 0; i < 3000; i++) {
      const bytes = Uint8Array.from(whole);
      for (let change = 0; change <= random(3); change++) bytes[random(bytes.length)] = random(256);
      try {
        load(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(PickleError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(500);
  });
});
