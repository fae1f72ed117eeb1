/** Browser storage that never throws: it may be full, forbidden or missing. */

type Where = "session" | "local";
const storage = (where: Where) => (where === "session" ? sessionStorage : localStorage);

export function remembered(where: Where, key: string): string | undefined {
  try {
    return storage(where).getItem(key) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Stores a value. Returns whether that succeeded. */
export function remember(where: Where, key: string, value = "yes"): boolean {
  try {
    storage(where).setItem(key, value);
    return true;
  } catch {
    return false;
  }
}

export function forget(where: Where, key: string): void {
  try {
    storage(where).removeItem(key);
  } catch {
    // Nothing was remembered.
  }
}
