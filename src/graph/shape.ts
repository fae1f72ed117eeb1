/** Dimensions that may be symbolic, such as `64*B` for the patches of a batch. Knows nothing of operations. */

/** A size: a number, or a product of symbols with a number in front, written "B", "64*B", "5*B*R". */
export type Dim = number | string;
export type Shape = readonly Dim[];

interface Monomial {
  times: number;
  symbols: string[];
}

function parse(dim: Dim): Monomial {
  if (typeof dim === "number") return { times: dim, symbols: [] };
  const factors = dim.split("*");
  const times = /^\d+$/.test(factors[0]) ? Number(factors.shift()) : 1;
  return { times, symbols: factors };
}

function print({ times, symbols }: Monomial): Dim {
  if (symbols.length === 0) return times;
  const sorted = [...symbols].sort().join("*");
  return times === 1 ? sorted : `${times}*${sorted}`;
}

/** The product of dimensions: `times("B", 64)` is "64*B". */
export function times(...dims: Dim[]): Dim {
  return print(
    dims.map(parse).reduce((a, b) => ({ times: a.times * b.times, symbols: [...a.symbols, ...b.symbols] }), {
      times: 1,
      symbols: [],
    }),
  );
}

/** `a / b` where b divides a: `over("64*B", 64)` is "B". Throws when it doesn't. */
export function over(a: Dim, b: Dim): Dim {
  const quotient = parse(a);
  const divisor = parse(b);
  quotient.times /= divisor.times;
  for (const symbol of divisor.symbols) {
    const at = quotient.symbols.indexOf(symbol);
    if (at < 0) throw new Error(`${b} does not divide ${a}`);
    quotient.symbols.splice(at, 1);
  }
  if (!Number.isInteger(quotient.times)) throw new Error(`${b} does not divide ${a}`);
  return print(quotient);
}

/** The sum of dimensions; that of different symbols is a symbol of its own, "P+1". */
export function plus(a: Dim, b: Dim): Dim {
  const [x, y] = [parse(a), parse(b)];
  if (x.symbols.join() === y.symbols.join()) return print({ times: x.times + y.times, symbols: x.symbols });
  return a === 0 ? b : b === 0 ? a : `${a}+${b}`;
}

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((dim, i) => dim === b[i]);

export const showShape = (shape: Shape): string => `[${shape.join(", ")}]`;

/** The shape of an elementwise result by ONNX's (numpy's) broadcasting rule. */
export function broadcast(a: Shape, b: Shape, what: string): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x === y || y === 1) return x;
    if (x === 1) return y;
    throw new Error(`${what}: shapes do not broadcast: ${showShape(a)} and ${showShape(b)}`);
  });
}
