/** Room that works which run at the same time share: whoever does not fit waits, in the order of coming. Knows no work. */

export interface Room {
  /** Runs the work as soon as `size` is free; what is larger than the room takes all of it, and so runs alone. */
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
      // Even the smallest takes some, or it would run beside one that has to be alone.
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
