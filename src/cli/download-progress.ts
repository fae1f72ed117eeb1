/** Reports a download: a progress line with rate and time left, and a line for each notable event. */

import { byteCount } from "../core/byte-count.ts";
import { duration } from "../core/duration.ts";
import type { Downloaded, DownloadRecord } from "../files/download.ts";
import { type Progress } from "./progress.ts";

/** The rate covers only the last seconds, so that a slow start or a suspended machine does not distort it. */
const windowMs = 10_000;

export interface DownloadTeller {
  tell(record: DownloadRecord): void;
  done(downloaded: Downloaded): void;
  /** How far the download is, such as " at 31% of 1.77 GB". */
  reached(): string;
}

export function downloadTeller(progress: Progress, { quiet = false }: { quiet?: boolean } = {}): DownloadTeller {
  const started = performance.now();
  const say = (line: string) => {
    progress.clear();
    if (!quiet) console.error(line);
  };
  let samples: { ms: number; done: number }[] = [];
  let state: { done: number; total?: number } | undefined;
  let first = 0;
  const advance = (done: number) => {
    const ms = performance.now();
    // A few samples per second are enough; thousands of records may arrive.
    if (ms - (samples.at(-1)?.ms ?? 0) > windowMs / 100) samples.push({ ms, done });
    while (samples.length > 2 && ms - samples[0].ms > windowMs) samples.shift();
    return (1000 * (done - samples[0].done)) / (ms - samples[0].ms);
  };
  return {
    tell(record) {
      switch (record.kind) {
        case "begin": {
          const { have, total } = record;
          if (state === undefined) {
            first = have;
            const size = total === undefined ? "of unknown size" : byteCount(total);
            say(`downloading: ${size}${have > 0 ? `, ${byteCount(have)} already downloaded` : ""}`);
          } else if (have < state.done) say("starting over: the download cannot be resumed");
          state = { done: have, total };
          samples = [{ ms: performance.now(), done: have }];
          break;
        }
        case "bytes": {
          const { done, total } = record;
          state = { done, total };
          progress.update(downloadLine({ done, total, rate: advance(done) }));
          break;
        }
        case "retry":
          say(`${record.reason}; retrying${record.seconds >= 1 ? ` in ${duration(record.seconds)}` : ""}`);
          break;
        case "waiting": {
          const { pid, host } = record.owner;
          progress.update(`waiting for process ${pid} on ${host}, which is downloading the same file`);
          break;
        }
        case "damaged":
          say(`${record.reason}; downloading it again`);
          break;
        case "checking":
          progress.update(`checking: ${percent(record.done, record.total)} of ${byteCount(record.total)}`);
      }
    },
    done({ bytes, sha256, cached }) {
      const seconds = (performance.now() - started) / 1000;
      const how = cached
        ? "already cached"
        : `downloaded in ${duration(seconds)} (${byteCount((bytes - first) / seconds)}/s)`;
      say(`${byteCount(bytes)} ${how}, SHA-256 ${sha256}`);
    },
    reached() {
      if (!state) return "";
      const { done, total } = state;
      return total === undefined ? ` at ${byteCount(done)}` : ` at ${percent(done, total)} of ${byteCount(total)}`;
    },
  };
}

/** " 31%  548 MB of 1.77 GB, 12 MB/s, 1 min 42 s left" */
export function downloadLine({ done, total, rate }: { done: number; total?: number; rate: number }): string {
  const speed = Number.isFinite(rate) ? `, ${byteCount(rate)}/s` : "";
  if (total === undefined) return `${byteCount(done)}${speed}`;
  const left = rate > 0 && Number.isFinite(rate) ? `, ${duration((total - done) / rate)} left` : "";
  return `${percent(done, total).padStart(4)}  ${byteCount(done)} of ${byteCount(total)}${speed}${left}`;
}

const percent = (done: number, total: number): string => `${total > 0 ? Math.floor((100 * done) / total) : 100}%`;
