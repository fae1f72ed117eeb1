/** Sixteen-bit floating point. Arrays of it are `Uint16Array`s of the bits. */

// Plain loops: a function called for each value takes ten times as long.

/** Every half as a float, made when it is first needed. */
let floats: Float32Array | undefined;

/** Converts IEEE binary16: 1 sign bit, 5 exponent bits and 10 fraction bits. */
export function fromHalf(halves: Uint16Array): Float32Array {
  const table = (floats ??= new Float32Array(65_536).map((_, half) => floatOf(half)));
  const values = new Float32Array(halves.length);
  for (let i = 0; i < values.length; i++) values[i] = table[halves[i]];
  return values;
}

function floatOf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Rounds to the nearest binary16, ties to even. Values of 65520 and above become infinity. */
export function toHalf(values: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < halves.length; i++) halves[i] = halfOf(bits[i], values[i]);
  return halves;
}

/** The half nearest to `value`, whose bits as a float are `x`. */
function halfOf(x: number, value: number): number {
  const sign = (x >>> 16) & 0x8000;
  const magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00; // NaN
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // infinity
  // A fraction that overflows when rounded carries correctly into the exponent.
  if (magnitude >= 0x38800000) return sign | (rounded(magnitude, 13) - (112 << 10));
  return sign | halfToEven(Math.abs(value) * 2 ** 24); // subnormal
}

/** Drops the lowest `count` bits, rounding to nearest, ties to even. */
const rounded = (bits: number, count: number): number =>
  (bits + (1 << (count - 1)) - 1 + ((bits >>> count) & 1)) >>> count;

function halfToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

/** Converts bfloat16, which is the upper half of a float32. */
export function fromBfloat16(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < bits.length; i++) bits[i] = halves[i] << 16;
  return new Float32Array(bits.buffer);
}
