/** Processes the items of a stream, several at a time, and yields the results in order. */

/**
 * Runs `work` on up to `ahead` items at a time. If the work fails on one, or iteration ends early, the signal that `work`
 * gets is aborted, and work in progress is waited for, so that none continues in the background.
 */
export async function* inOrder<Item, Result>(
  items: AsyncIterable<Item> | Iterable<Item>,
  work: (item: Item, options: { signal: AbortSignal }) => Promise<Result>,
  { ahead = 8, signal }: { ahead?: number; signal?: AbortSignal } = {},
): AsyncGenerator<Result> {
  const begun: Promise<Result>[] = [];
  const over = new AbortController();
  const options = { signal: signal ? AbortSignal.any([signal, over.signal]) : over.signal };
  let failed: { error: unknown } | undefined;
  /** The next result. What was stopped because other work failed, fails with that work's error. */
  const next = () =>
    begun.shift()!.catch((error: unknown) => {
      throw failed ? failed.error : error;
    });
  try {
    for await (const item of items) {
      signal?.throwIfAborted();
      if (failed) break;
      const result = work(item, options);
      result.catch((error: unknown) => {
        failed ??= { error };
        over.abort();
      });
      begun.push(result);
      if (begun.length >= ahead) yield await next();
    }
    while (begun.length) {
      signal?.throwIfAborted();
      yield await next();
    }
  } finally {
    over.abort();
    await Promise.allSettled(begun);
  }
}
