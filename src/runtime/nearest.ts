/** "Did you mean": the nearest known word. Pure; any thread. */
import { distance } from 'fastest-levenshtein';

/** @returns the nearest known word, or undefined when none is near enough to be meant. Compared without case. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  const wanted = word.slice(0, 100).toLowerCase();
  let best: string | undefined;
  // Two changes are one swapped pair; longer words may hold one mistake per three letters.
  let bestDistance = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of known) {
    const d = distance(wanted, candidate.toLowerCase());
    if (d < bestDistance && d < wanted.length) [best, bestDistance] = [candidate, d];
  }
  return best;
}
