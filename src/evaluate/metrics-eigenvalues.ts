/** Factors and eigenvalues of symmetric matrices in float64. Knows nothing about metrics. */

/**
 * L [n, r] with A = L Lᵀ, for a symmetric positive semidefinite A [n, n] of rank r, by Cholesky decomposition with the largest
 * pivot first. It stops when the remaining pivots are within rounding error. A is not changed.
 */
export function factor(a: Float64Array, n: number): { data: Float64Array; rank: number } {
  const l = new Float64Array(n * n); // row i belongs to row i of A, so L is triangular only up to a permutation of its rows
  const left = Float64Array.from({ length: n }, (_, i) => a[i * n + i]); // the diagonal of A - L Lᵀ
  const least = n * Number.EPSILON * left.reduce((x, y) => Math.max(x, y), 0);
  const open = new Set(left.keys());
  let rank = 0;
  for (; rank < n; rank++) {
    let pivot = -1;
    for (const i of open) if (pivot < 0 || left[i] > left[pivot]) pivot = i;
    if (left[pivot] <= least) break;
    open.delete(pivot);
    const root = Math.sqrt(left[pivot]);
    l[pivot * n + rank] = root;
    for (const i of open) {
      let sum = a[i * n + pivot];
      for (let k = 0; k < rank; k++) sum -= l[i * n + k] * l[pivot * n + k];
      const value = sum / root;
      l[i * n + rank] = value;
      left[i] -= value * value;
    }
  }
  const data = new Float64Array(n * rank);
  for (let i = 0; i < n; i++) data.set(l.subarray(i * n, i * n + rank), i * rank);
  return { data, rank };
}

/** The eigenvalues of a symmetric matrix [n, n], unsorted. Reads the lower half and overwrites it. */
export function eigenvalues(a: Float64Array, n: number): Float64Array {
  const { diagonal, offDiagonal } = tridiagonal(a, n);
  return shiftedRotations(diagonal, offDiagonal);
}

/**
 * The tridiagonal matrix with the same eigenvalues, by Householder reflections from the last row up (Golub and Van Loan, Matrix
 * Computations, 8.3.1). `offDiagonal[i]` is the element between diagonal i and i + 1. Memory is accessed by rows, in order.
 */
function tridiagonal(a: Float64Array, n: number): { diagonal: Float64Array; offDiagonal: Float64Array } {
  const [diagonal, offDiagonal] = [new Float64Array(n), new Float64Array(n)];
  const p = new Float64Array(n);
  for (let k = n - 1; k >= 0; k--) {
    diagonal[k] = a[k * n + k];
    if (k === 0) break;
    // The reflection I - v vᵀ / h turns the row before the diagonal into one with only a last element.
    const v = a.subarray(k * n, k * n + k);
    const last = v[k - 1];
    let others = 0;
    for (let j = 0; j < k - 1; j++) others += v[j] * v[j];
    if (others === 0) {
      offDiagonal[k - 1] = last;
      continue;
    }
    const norm = Math.sqrt(last * last + others) * (last > 0 ? -1 : 1);
    offDiagonal[k - 1] = norm;
    v[k - 1] = last - norm;
    const h = norm * (norm - last);
    // p = A v / h, from the lower half of A only, minus its component along v.
    p.fill(0, 0, k);
    for (let i = 0, at = 0; i < k; i++, at += n) {
      const vi = v[i];
      let sum = 0;
      for (let j = 0; j < i; j++) {
        sum += a[at + j] * v[j];
        p[j] += a[at + j] * vi;
      }
      p[i] += sum + a[at + i] * vi;
    }
    let along = 0;
    for (let i = 0; i < k; i++) along += (p[i] /= h) * v[i];
    along /= 2 * h;
    for (let i = 0; i < k; i++) p[i] -= along * v[i];
    for (let i = 0, at = 0; i < k; i++, at += n) for (let j = 0; j <= i; j++) a[at + j] -= v[i] * p[j] + p[i] * v[j];
  }
  return { diagonal, offDiagonal };
}

/** Eigenvalues of a tridiagonal matrix by implicit QL steps with Wilkinson's shift (Golub and Van Loan, 8.3.3); overwrites both. */
function shiftedRotations(diagonal: Float64Array, offDiagonal: Float64Array): Float64Array {
  const [d, e, n] = [diagonal, offDiagonal, diagonal.length];
  const splits = (i: number) => Math.abs(e[i]) <= Number.EPSILON * (Math.abs(d[i]) + Math.abs(d[i + 1]));
  for (let first = 0, steps = 0; first < n; steps++) {
    if (steps > 50 * n) throw new Error("eigenvalues: the matrix has values that are not finite, or overflows");
    let end = first; // the block from `first` to the first place where the matrix splits
    while (end < n - 1 && !splits(end)) end++;
    if (end === first) {
      first++;
      continue;
    }
    const half = (d[first + 1] - d[first]) / (2 * e[first]);
    const shift = d[first] - e[first] / (half + Math.hypot(half, 1) * (half < 0 ? -1 : 1));
    // One step chases a rotation from the block's end to its beginning.
    let [sine, cosine, moved, g] = [1, 1, 0, d[end] - shift];
    let i = end - 1;
    for (; i >= first; i--) {
      const [f, b] = [sine * e[i], cosine * e[i]];
      const radius = Math.sqrt(f * f + g * g);
      e[i + 1] = radius;
      if (radius === 0) break; // the block split in the middle of the step
      [sine, cosine] = [f / radius, g / radius];
      g = d[i + 1] - moved;
      const turned = (d[i] - g) * sine + 2 * cosine * b;
      moved = sine * turned;
      d[i + 1] = g + moved;
      g = cosine * turned - b;
    }
    e[end] = 0;
    if (i >= first) d[i + 1] -= moved;
    else {
      d[first] -= moved;
      e[first] = g;
    }
  }
  return d;
}
