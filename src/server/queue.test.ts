/** The queue: batching, waiting, refusing and releasing, with samplers controlled by the test. */

import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { settingsOf } from "../sample/settings.ts";
import { ApiError } from "./errors.ts";
import { type DrawingOrder, type DrawingQueue, drawingQueue } from "./queue.ts";
import { type Gate, gate, type TestModels, testModels } from "./test-models.ts";

let models: TestModels;
beforeAll(async () => {
  models = await testModels();
});
afterAll(() => models.remove());

function order(count: number, { seed = 0, guidance = 2, label = 0, batch = 8 } = {}): DrawingOrder {
  const { tiny: model } = models;
  const labels = Array.from({ length: count }, () => label);
  return { model, labels, seed, settings: settingsOf({ guidance }, model.config), batch };
}

const opened = ({ lanes = 1, most = 100 } = {}): { queue: DrawingQueue; drawn: Gate; faults: unknown[] } => {
  const drawn = gate();
  const faults: unknown[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  return { queue: drawingQueue({ lanes, most, open: drawn.open, onFault }), drawn, faults };
};

/** The seeds of each batch so far. */
const seedsOf = ({ asked }: Gate) => asked.map(({ seed }) => seed);

describe("the queue", () => {
  it("joins requests with equal settings, with their own seeds and indices, and returns each its own images", async () => {
    const { queue, drawn } = opened();
    const first = queue.draw(order(1, { seed: 1 }));
    const others = [
      queue.draw(order(2, { seed: 2, label: 1 })),
      queue.draw(order(1, { seed: 3, guidance: 5 })),
      queue.draw(order(1, { seed: 4 })),
    ];
    drawn.go();
    await first;
    await vi.waitFor(() => expect(seedsOf(drawn)).toEqual([[1], [2, 2, 4]]));
    expect(drawn.asked[1]).toMatchObject({ labels: [1, 1, 0], indices: [0, 1, 0], guidance: 2, batch: 3 });
    drawn.go();
    await vi.waitFor(() => expect(drawn.asked).toHaveLength(3));
    drawn.go();
    const images = await Promise.all(others);
    expect(images.map((image) => [image[0], image.at(-1)])).toEqual([
      [100, 101],
      [0, 0],
      [0, 0],
    ]);
    expect(queue.state()).toMatchObject({ requests: 0, waiting: 0, running: 0, images: 5, batches: 3 });
  });

  it("splits a request over the free lanes, up to a batch each", async () => {
    const { queue, drawn } = opened({ lanes: 2 });
    const all = queue.draw(order(19));
    expect(drawn.asked.map(({ indices }) => indices)).toEqual([
      [0, 1, 2, 3, 4, 5, 6, 7],
      [8, 9, 10, 11, 12, 13, 14, 15],
    ]);
    drawn.go();
    await vi.waitFor(() => expect(drawn.asked).toHaveLength(3));
    drawn.go();
    const images = await all;
    expect(Array.from({ length: 19 }, (_, i) => images[i * 192])).toEqual(Array.from({ length: 19 }, (_, i) => i));
  });

  it("refuses what does not fit now with a retry time, and what can never fit without one", async () => {
    const { queue, drawn } = opened({ most: 3 });
    const running = queue.draw(order(1));
    const waiting = queue.draw(order(3));
    const refusal = (() => {
      try {
        void queue.draw(order(1));
      } catch (error) {
        return error as ApiError;
      }
    })();
    expect(refusal).toMatchObject({ status: 429, details: { retryAfter: expect.any(Number) } });
    expect(refusal!.details.retryAfter).toBeGreaterThanOrEqual(1);
    expect(() => queue.draw(order(4))).toThrow(
      expect.objectContaining({
        message: expect.stringContaining("4 images are more than the 3 that this server's queue holds"),
        details: { param: "n" },
      }),
    );
    drawn.go();
    await running;
    await vi.waitFor(() => expect(drawn.asked).toHaveLength(2));
    const after = queue.draw(order(1));
    drawn.go();
    await waiting;
    await vi.waitFor(() => expect(drawn.asked).toHaveLength(3));
    drawn.go();
    await after;
  });

  it("removes a cancelled request: aborts its batch if nobody else waits for it, else only its own images", async () => {
    const { queue, drawn } = opened();
    const [one, two, three] = [new AbortController(), new AbortController(), new AbortController()];
    const alone = queue.draw(order(2, { seed: 1 }), { signal: one.signal });
    const waiting = queue.draw(order(2, { seed: 2 }), { signal: two.signal });
    const kept = queue.draw(order(1, { seed: 3 }));
    const shared = queue.draw(order(1, { seed: 4 }), { signal: three.signal });
    two.abort();
    await expect(waiting).rejects.toThrow("cancelled");
    expect(queue.state()).toMatchObject({ waiting: 2, running: 2 });
    one.abort();
    await expect(alone).rejects.toThrow("cancelled");
    await vi.waitFor(() =>
      expect(seedsOf(drawn)).toEqual([
        [1, 1],
        [3, 4],
      ]),
    );
    expect(drawn.asked[0].signal!.aborted).toBe(true);
    three.abort();
    await expect(shared).rejects.toThrow("cancelled");
    expect(queue.state().running).toBe(1);
    expect(drawn.asked[1].signal!.aborted).toBe(false);
    expect(drawn.asked[1].signals!.map(({ aborted }) => aborted)).toEqual([false, true]);
    drawn.go();
    await kept;
    await queue.idle();
    expect(queue.state()).toMatchObject({ requests: 0, waiting: 0, running: 0, images: 1 });
    expect(() => queue.draw(order(1), { signal: one.signal })).toThrow("cancelled");
  });

  it("fails the requests of a failed batch, and continues with a new sampler", async () => {
    const { queue, drawn, faults } = opened();
    const failing = [queue.draw(order(12))];
    drawn.fail(new Error("out of everything"));
    await expect(failing[0]).rejects.toThrow("out of everything");
    await queue.idle();
    expect(faults).toHaveLength(1);
    expect(drawn.disposed()).toBe(1);
    const next = queue.draw(order(1, { seed: 7 }));
    await vi.waitFor(() => expect(seedsOf(drawn).at(-1)).toEqual([7]));
    drawn.go();
    expect((await next)[0]).toBe(0);
  });

  it("reports a request's progress over all its images", async () => {
    const { queue, drawn } = opened();
    const told: number[] = [];
    const all = queue.draw(order(16), { onProgress: ({ done }) => void told.push(done) });
    drawn.go();
    await vi.waitFor(() => expect(drawn.asked).toHaveLength(2));
    drawn.go();
    await all;
    expect(told).toEqual([0.25, 0.5, 0.75, 1]);
  });

  it("resolves when all batches of a request have finished, not when their last pixels are drawn", async () => {
    const { queue, drawn } = opened({ lanes: 2 });
    let [ended, done] = [false, 0];
    const onProgress = (progress: { done: number }) => ({ done } = progress);
    const all = queue.draw(order(12), { onProgress }).then((images) => ((ended = true), images));
    drawn.show(1, 1);
    await vi.waitFor(() => expect(done).toBe(0.5));
    drawn.go(0);
    await vi.waitFor(() => expect(queue.state().batches).toBe(1));
    expect(ended).toBe(false);
    drawn.go();
    const images = await all;
    expect(Array.from({ length: 12 }, (_, i) => images[i * 192])).toEqual(Array.from({ length: 12 }, (_, i) => i));
  });

  it("cancels waiting and running requests when disposed", async () => {
    const { queue, drawn } = opened();
    const both = [queue.draw(order(1)), queue.draw(order(9))];
    const ends = both.map((one) => expect(one).rejects.toThrow("cancelled"));
    await queue.dispose();
    await Promise.all(ends);
    expect(drawn.disposed()).toBe(1);
  });
});
