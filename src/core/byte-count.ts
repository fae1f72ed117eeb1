/** Formats byte counts for people. */

/** "512 bytes", "31 kB", "2.4 MB", "1.77 GB"; with decimal units, as used for disks and networks. */
export function byteCount(bytes: number): string {
  if (bytes < 1000) return `${Math.round(bytes)} bytes`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(0)} kB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
  return `${(bytes / 1e9).toFixed(2)} GB`;
}
