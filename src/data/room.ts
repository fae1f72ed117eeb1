/** A weighted semaphore: concurrent tasks share a capacity, and those that do not fit wait in order of arrival. */

export interface Room {
  /** Runs the task as soon as `size` is free. A task larger than the capacity takes all of it and runs alone. */
  with<T>(size: number, run: () => Promise<T>): Promise<T>;
}

export function sharedRoom(whole: number): Room {
  let free = whole;
  const waiting: { size: number; go: () => void }[] = [];
  const admit = () => {
    while (waiting.length > 0 && waiting[0].size <= free) {
      const { size, go } = waiting.shift()!;
      free -= size;
      go();
    }
  };
  return {
    async with(asked, run) {
      // Even the smallest task takes some capacity, otherwise it could run next to one that must run alone.
      const size = Math.min(whole, Math.max(1, asked));
      await new Promise<void>((go) => {
        waiting.push({ size, go });
        admit();
      });
      try {
        return await run();
      } finally {
        free += size;
        admit();
      }
    },
  };
}
