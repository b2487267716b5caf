/** Messages that could not be handled, newest last; bounded. Bodies are not kept, only their size. Main thread. */
import type { DeadLetterSnapshot } from './control-plane.js';

const KEEP = 1000;

export class DeadLetters {
  private letters: DeadLetterSnapshot[] = [];
  /** Ever recorded. */
  total = 0;

  constructor(private readonly onLetter: (letter: DeadLetterSnapshot) => void) {}

  add(letter: Omit<DeadLetterSnapshot, 'at'>): void {
    const dated = { at: Date.now(), ...letter };
    this.total++;
    this.letters.push(dated);
    if (this.letters.length > KEEP) this.letters = this.letters.slice(-KEEP / 2);
    this.onLetter(dated);
  }

  /** Newest first. */
  list(limit: number): readonly DeadLetterSnapshot[] {
    return this.letters.slice(-limit).reverse();
  }
}
