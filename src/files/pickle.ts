/**
 * Reads a pickle (protocols 2 to 5, the binary opcodes) as data. Knows nothing of PyTorch and never calls anything
 * except the constructors it is given. Time and memory are bounded for any input.
 *
 * Why not the package pickleparser: on BUILD it assigns to whatever is on the stack, so 41 bytes that set the `length`
 * of a list to 4294967295 and then pass it to a call crash the whole process with an out-of-memory error. None of its
 * options prevents that. It also reads negative longs as positive and prints to the console.
 * Opcodes: https://github.com/python/cpython/blob/main/Lib/pickletools.py
 */

import { limits } from "../core/limits.ts";
import { message as fitting } from "../core/text.ts";
import { stoppable } from "./stoppable.ts";

export class PickleError extends Error {
  override name = "PickleError";

  constructor(message: string) {
    super(fitting(message));
  }
}

/** A class or function that a pickle may name. `make` receives the arguments and must validate them. */
export class PickleGlobal {
  readonly name: string;
  readonly make: (args: readonly unknown[]) => unknown;
  constructor(name: string, make: (args: readonly unknown[]) => unknown) {
    this.name = name;
    this.make = make;
  }
}

/** An object or class that is not known here. Only its name is kept; everything a pickle does with it is ignored. */
export class Opaque {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** An object whose state a pickle may set after creating it. */
export abstract class Stateful {
  /** Must validate the state. */
  abstract setState(state: unknown): void;
}

/** An object with attributes, such as `argparse.Namespace`. The only kind whose attributes a pickle may set. */
export class Namespace extends Map<string, unknown> {}

export interface PickleRules {
  /** Returns the class with this full name, such as `collections.OrderedDict`; opaque if it is not known. */
  resolve: (name: string) => PickleGlobal | Opaque;
  /** Returns the object that a persistent ID refers to; throws for an unknown ID. */
  persistent: (id: unknown) => unknown;
  /** The most steps to spend: one per instruction and constructor argument, more for collections. */
  maxSteps?: number;
  /** Called with the number of bytes that the pickle takes. */
  ended?: (at: number) => void;
  /** What to store for a byte string instead of a copy; `start` is its offset in the pickle. */
  bytes?: (start: number, bytes: Uint8Array) => unknown;
}

/** The cost of a dict or set in steps: even an empty one takes about 200 bytes of memory. */
const collectionSteps = 8;

/** `None` becomes null, dict and OrderedDict a Map, list and tuple an array, int a number or, if inexact, a bigint. */
export const unpickle = (bytes: Uint8Array, rules: PickleRules): unknown =>
  stoppable(() => interpret(bytes, rules), {
    ms: limits.pickleMs,
    late: () => new PickleError("its pickle takes too long to read for a checkpoint; the file is damaged or malicious"),
  });

function interpret(
  bytes: Uint8Array,
  { resolve, persistent, ended, maxSteps = limits.pickleSteps, bytes: kept = (_, run) => run }: PickleRules,
): unknown {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  const stack: unknown[] = [];
  const marks: number[] = [];
  const memo = new Map<number, unknown>();
  let at = 0;
  let steps = 0;

  const spend = (count: number) => {
    if ((steps += count) > maxSteps)
      throw new PickleError(`its pickle needs more than ${maxSteps} steps to read, far more than any checkpoint's`);
  };
  const take = (count: number): number => {
    const start = at;
    if (count > bytes.length - at) throw new PickleError("its pickle is truncated");
    at += count;
    return start;
  };
  const u8 = () => view.getUint8(take(1));
  const u32 = () => view.getUint32(take(4), true);
  const u64 = () => Number(view.getBigUint64(take(8), true));
  const run = (count: number) => {
    const start = take(count);
    return kept(start, bytes.subarray(start, start + count));
  };
  const slice = (count: number) => {
    const start = take(count);
    return bytes.subarray(start, start + count);
  };
  const text = (count: number) => utf8.decode(slice(count));
  const line = () => {
    const end = bytes.indexOf(0x0a, at);
    if (end < 0) throw new PickleError("its pickle is truncated");
    const result = text(end - at);
    at++;
    return result;
  };
  const pop = () => {
    if (stack.length <= (marks.at(-1) ?? 0)) throw malformed("pops from an empty stack");
    return stack.pop();
  };
  const top = () => {
    if (stack.length <= (marks.at(-1) ?? 0)) throw malformed("pops from an empty stack");
    return stack[stack.length - 1];
  };
  const popMark = () => {
    const mark = marks.pop();
    if (mark === undefined) throw malformed("ends a group that it never began");
    return stack.splice(mark);
  };
  const remember = (index: number) => memo.set(index, top());
  const recall = (index: number) => {
    if (!memo.has(index)) throw malformed(`recalls the value ${index} that it never stored`);
    stack.push(memo.get(index));
  };
  const call = (target: unknown, args: unknown) => {
    if (target instanceof Opaque) return void stack.push(new Opaque(target.name));
    if (!(target instanceof PickleGlobal) || !Array.isArray(args))
      throw malformed("calls something that is not a class");
    for (const arg of args) spend(1 + (Array.isArray(arg) ? arg.length : 0));
    stack.push(target.make(args));
  };
  const append = (items: unknown[]) => {
    const list = top();
    if (list instanceof Opaque) return;
    if (!Array.isArray(list)) throw malformed("appends to something that is not a list");
    for (const item of items) list.push(item);
  };
  const assign = (items: unknown[]) => {
    const dict = top();
    if (dict instanceof Opaque) return;
    if (!(dict instanceof Map) || items.length % 2) throw malformed("sets a key of something that is not a dict");
    for (let i = 0; i < items.length; i += 2) dict.set(key(items[i]), items[i + 1]);
  };
  const add = (items: unknown[]) => {
    const set = top();
    if (set instanceof Opaque) return;
    if (!(set instanceof Set)) throw malformed("adds to something that is not a set");
    for (const item of items) set.add(key(item));
  };
  const named = (module: unknown, name: unknown) => {
    if (typeof module !== "string" || typeof name !== "string")
      throw malformed("names a class with something that is not a string");
    stack.push(resolve(`${module}.${name}`));
  };
  const build = (state: unknown) => {
    const target = top();
    if (target instanceof Opaque) return;
    if (target instanceof Stateful) return target.setState(state);
    if (target instanceof Namespace && state instanceof Map) {
      spend(state.size);
      for (const [name, value] of state) if (typeof name === "string") target.set(name, value);
    } else if (!(target instanceof Map)) throw malformed("sets attributes of something that has none");
    // Attributes of an OrderedDict (such as `_metadata` of a state dict) are ignored; readers do not need them.
  };

  for (;;) {
    spend(1);
    const opcode = u8();
    switch (opcode) {
      case 0x80: {
        // PROTO
        const protocol = u8();
        if (protocol < 2 || protocol > 5)
          throw new PickleError(`its pickle uses protocol ${protocol}, expected 2 to 5`);
        break;
      }
      case 0x95:
        take(8);
        break; // FRAME
      case 0x2e:
        ended?.(at);
        return pop(); // STOP
      case 0x28:
        marks.push(stack.length);
        break; // MARK
      case 0x30:
        pop();
        break; // POP
      case 0x31:
        popMark();
        break; // POP_MARK
      case 0x32:
        stack.push(top());
        break; // DUP
      case 0x71:
        remember(u8());
        break; // BINPUT
      case 0x72:
        remember(u32());
        break; // LONG_BINPUT
      case 0x94:
        remember(memo.size);
        break; // MEMOIZE
      case 0x68:
        recall(u8());
        break; // BINGET
      case 0x6a:
        recall(u32());
        break; // LONG_BINGET
      case 0x4e:
        stack.push(null);
        break; // NONE
      case 0x88:
        stack.push(true);
        break; // NEWTRUE
      case 0x89:
        stack.push(false);
        break; // NEWFALSE
      case 0x4a:
        stack.push(view.getInt32(take(4), true));
        break; // BININT
      case 0x4b:
        stack.push(u8());
        break; // BININT1
      case 0x4d:
        stack.push(view.getUint16(take(2), true));
        break; // BININT2
      case 0x8a:
        stack.push(integer(slice(u8())));
        break; // LONG1
      case 0x8b:
        stack.push(integer(slice(u32())));
        break; // LONG4
      case 0x47:
        stack.push(view.getFloat64(take(8), false));
        break; // BINFLOAT
      case 0x58:
        stack.push(text(u32()));
        break; // BINUNICODE
      case 0x8c:
        stack.push(text(u8()));
        break; // SHORT_BINUNICODE
      case 0x8d:
        stack.push(text(u64()));
        break; // BINUNICODE8
      case 0x42:
        stack.push(run(u32()));
        break; // BINBYTES
      case 0x43:
        stack.push(run(u8()));
        break; // SHORT_BINBYTES
      case 0x8e:
      case 0x96:
        stack.push(run(u64()));
        break; // BINBYTES8, BYTEARRAY8
      case 0x54:
        stack.push(run(u32()));
        break; // BINSTRING: Python 2's str, which may be bytes or text
      case 0x55:
        stack.push(latin1(slice(u8())));
        break; // SHORT_BINSTRING
      case 0x29:
      case 0x5d:
        stack.push([]);
        break; // EMPTY_TUPLE, EMPTY_LIST
      case 0x74:
      case 0x6c:
        stack.push(popMark());
        break; // TUPLE, LIST
      case 0x85:
        stack.push([pop()]);
        break; // TUPLE1
      case 0x86:
        stack.push([pop(), pop()].reverse());
        break; // TUPLE2
      case 0x87:
        stack.push([pop(), pop(), pop()].reverse());
        break; // TUPLE3
      case 0x61:
        append([pop()]);
        break; // APPEND
      case 0x65:
        append(popMark());
        break; // APPENDS
      case 0x7d:
        spend(collectionSteps);
        stack.push(new Map());
        break; // EMPTY_DICT
      case 0x64: {
        // DICT
        const items = popMark();
        spend(collectionSteps);
        stack.push(new Map());
        assign(items);
        break;
      }
      case 0x73:
        assign([pop(), pop()].reverse());
        break; // SETITEM
      case 0x75:
        assign(popMark());
        break; // SETITEMS
      case 0x8f:
        spend(collectionSteps);
        stack.push(new Set());
        break; // EMPTY_SET
      case 0x90:
        add(popMark());
        break; // ADDITEMS
      case 0x91:
        spend(collectionSteps);
        stack.push(new Set(popMark().map(key)));
        break; // FROZENSET
      case 0x63:
        named(line(), line());
        break; // GLOBAL
      case 0x93: {
        // STACK_GLOBAL
        const name = pop();
        named(pop(), name);
        break;
      }
      case 0x52:
      case 0x81: {
        // REDUCE, NEWOBJ
        const args = pop();
        call(pop(), args);
        break;
      }
      case 0x92: {
        // NEWOBJ_EX: also has keyword arguments, which nothing here accepts
        pop();
        const args = pop();
        call(pop(), args);
        break;
      }
      case 0x62:
        build(pop());
        break; // BUILD
      case 0x51:
        stack.push(persistent(pop()));
        break; // BINPERSID
      default:
        throw malformed(`has the instruction 0x${opcode.toString(16).padStart(2, "0")}, which no checkpoint uses`);
    }
  }
}

const malformed = (what: string): PickleError => new PickleError(`its pickle ${what}; the file is damaged`);

/**
 * Large bigints have few distinct hashes, so many of them as keys would take forever; strings do not have this problem.
 */
const key = (value: unknown): unknown => (typeof value === "bigint" ? String(value) : value);

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

/** Python's long: little-endian two's complement. */
function integer(bytes: Uint8Array): number | bigint {
  if (bytes.length === 0) return 0;
  if (bytes.length > limits.integerBytes) throw malformed(`has an integer of ${bytes.length} bytes`);
  const unsigned = BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
  const signed = BigInt.asIntN(bytes.length * 8, unsigned);
  return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
}
