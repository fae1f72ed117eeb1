/** How long tests compute. */

/** Seconds of processor time since `process.cpuUsage()` returned `since`. Other processes do not change it. */
export function processorSeconds(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1e6;
}
