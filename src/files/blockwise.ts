/** Abbreviates long lists of tensor names for messages. Knows nothing of what they name. */

const mostNamed = 4;

/**
 * Merges names that differ only in their block number: "generator.blocks.2-5.norm1.weight", or a count per block if
 * there are many. Lists the first few and counts the rest: " and 3 more".
 */
export function blockwise(items: readonly string[]): string {
  const blocks = new Map<string, number[]>(); // keyed by the text before and after the block's number
  for (const item of items) {
    const [, before, number, after] = /^(\S*\bblocks\.)(\d+)\.(.*)$/.exec(item) ?? [];
    const key = number === undefined ? item : `${before}\n${after}`;
    blocks.set(key, [...(blocks.get(key) ?? []), ...(number === undefined ? [] : [Number(number)])]);
  }
  const tails = new Map<string, { of: string[]; blocks: number }>();
  for (const [key, numbers] of blocks) {
    const [before, after] = key.split("\n");
    const whole = before + runs(numbers);
    const { of } = tails.get(whole) ?? { of: [] };
    tails.set(whole, { of: after === undefined ? of : [...of, after], blocks: numbers.length });
  }
  const said = [...tails].flatMap(([before, { of, blocks: each }]) => {
    if (of.length > mostNamed)
      return [{ text: `${of.length} each of ${before} such as ${of[0]}`, names: of.length * each }];
    return of.length === 0
      ? [{ text: before, names: 1 }]
      : of.map((after) => ({ text: `${before}.${after}`, names: each }));
  });
  const first = said.length > mostNamed ? said.slice(0, mostNamed - 1) : said;
  const left = items.length - first.reduce((sum, { names }) => sum + names, 0);
  return first.map(({ text }) => text).join(", ") + (left > 0 ? ` and ${left} more` : "");
}

/** [0, 1, 2, 5] as "0-2,5". */
function runs(numbers: readonly number[]): string {
  const found: [from: number, to: number][] = [];
  for (const number of numbers) {
    const last = found.at(-1);
    if (last && last[1] + 1 === number) last[1] = number;
    else found.push([number, number]);
  }
  return found.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(",");
}
