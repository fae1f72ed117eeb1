/** Dimensions that may be symbolic, such as `64*B` for 64 rows of each member of a batch. Knows nothing of operations. */

/** A size: a number, a product of symbols with a number in front ("B", "64*B", "5*B*R"), or a sum ("P+1", "4*(P+1)"). */
export type Dim = number | string;
/** The size of every axis. */
export type Shape = readonly Dim[];

interface Monomial {
  times: number;
  /** Names, and printed sums. */
  symbols: string[];
}

/** Splits a sum into terms or a product into factors, at signs outside parentheses. */
export const cut = (text: string, sign: "*" | "+"): string[] => text.split(new RegExp(`\\${sign}(?![^(]*\\))`));

function parse(dim: Dim): Monomial {
  if (typeof dim === "number") return { times: dim, symbols: [] };
  if (cut(dim, "+").length > 1) return { times: 1, symbols: [dim] };
  const factors = cut(dim, "*").map((factor) => factor.replace(/^\((.*)\)$/, "$1"));
  const times = /^\d+$/.test(factors[0]) ? Number(factors.shift()) : 1;
  return { times, symbols: factors };
}

function print({ times, symbols }: Monomial): Dim {
  if (symbols.length === 0 || times === 0) return times;
  if (symbols.length === 1 && times === 1) return symbols[0];
  const factors = [...symbols].sort().map((symbol) => (symbol.includes("+") ? `(${symbol})` : symbol));
  return (times === 1 ? factors : [times, ...factors]).join("*");
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

/** The quotient `a / b`: `over("64*B", 64)` is "B". Throws if b does not divide a. */
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

/** The sum of dimensions, with like terms combined and the number last: "P+1". */
export function plus(a: Dim, b: Dim): Dim {
  const terms = new Map<string, Monomial>();
  for (const term of [a, b].flatMap((dim): Dim[] => (typeof dim === "number" ? [dim] : cut(dim, "+")))) {
    const { times, symbols } = parse(term);
    const key = symbols.toSorted().join("*");
    terms.set(key, { times: (terms.get(key)?.times ?? 0) + times, symbols });
  }
  const number = terms.get("")?.times ?? 0;
  terms.delete("");
  const symbolic = [...terms.keys()].sort().map((key) => print(terms.get(key)!));
  return symbolic.length === 0 ? number : (number === 0 ? symbolic : [...symbolic, number]).join("+");
}

/** Whether two shapes are equal, symbols included. */
export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((dim, i) => dim === b[i]);

/** A shape as text: `[64*B, 3]`. */
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
