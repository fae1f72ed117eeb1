/** Progress while a measure generates images. */

import { duration, rateOf } from "../core/duration.ts";
import type { Progress } from "./progress.ts";
import { workersOf } from "./queue-options.ts";
import type { Remote } from "./remote.ts";

/** Shows how many of the images are there, the rate and the time left; called with the number of images so far. */
export function drawing(count: number, progress: Progress, remote?: Remote): (done: number) => void {
  let first: { at: number; done: number } | undefined;
  return (done) => {
    first ??= { at: performance.now(), done };
    const rate = ((done - first.done) / (performance.now() - first.at)) * 1000;
    const speed = rate > 0 ? `  ${rateOf(rate)}  ${duration((count - done) / rate)} left` : "";
    progress.update(
      `generating: ${Math.floor(done)} of ${count} images${speed}${remote ? `  ${workersOf(remote.executor)}` : ""}`,
    );
  };
}
