/** Processes the items of a stream, several at a time, and yields the results in order. */

/**
 * Runs `work` on up to `ahead` items at a time. If iteration ends early, waits for work in progress, so that none
 * continues in the background.
 */
export async function* inOrder<Item, Result>(
  items: AsyncIterable<Item> | Iterable<Item>,
  work: (item: Item) => Promise<Result>,
  { ahead = 8, signal }: { ahead?: number; signal?: AbortSignal } = {},
): AsyncGenerator<Result> {
  const begun: Promise<Result>[] = [];
  try {
    for await (const item of items) {
      signal?.throwIfAborted();
      const result = work(item);
      result.catch(() => {}); // reported when its turn comes
      begun.push(result);
      if (begun.length >= ahead) yield await begun.shift()!;
    }
    while (begun.length) {
      signal?.throwIfAborted();
      yield await begun.shift()!;
    }
  } finally {
    await Promise.allSettled(begun);
  }
}
