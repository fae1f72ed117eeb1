/** Lets a busy worker receive messages. */

/** Resolves after messages that have arrived were handled; a timer would wait 4 ms. */
export const turn = (): Promise<void> =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.addEventListener("message", () => {
      port1.close();
      resolve();
    });
    port1.start();
    port2.postMessage(undefined);
  });
