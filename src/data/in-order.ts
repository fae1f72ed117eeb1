/** Work on the items of a stream, several at a time, with the results in order. Knows nothing of the work. */

/** Runs `work` on up to `ahead` items at once. When it ends early, what has begun is waited for, so that nothing goes on behind. */
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
      result.catch(() => {}); // it is met when its turn comes
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
