/** Mistakes of a user, told in one sentence; the command line prints them without a stack and exits with code 2. */

import editDistance from "leven";

export class UserError extends Error {
  override name = "UserError";
}

/** The candidate most like `word` (Levenshtein distance at most half its length), as a hint: `; did you mean "face"?` */
export function didYouMean(word: string, candidates: readonly string[]): string {
  const scored = candidates
    .map((candidate) => ({ candidate, distance: editDistance(word.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const best = scored[0];
  return best && best.distance <= Math.max(2, word.length / 2) ? `; did you mean "${best.candidate}"?` : "";
}
