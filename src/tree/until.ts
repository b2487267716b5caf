/** A bounded wait. Any thread. */
const CHECK_MS = 20;

/** Settles when the condition holds, at the latest after `limitMs`. @returns whether it held */
export async function until(holds: () => boolean, limitMs: number): Promise<boolean> {
  const end = performance.now() + limitMs;
  while (!holds()) {
    if (performance.now() >= end) return false;
    await new Promise((resolve) => setTimeout(resolve, CHECK_MS).unref());
  }
  return true;
}
