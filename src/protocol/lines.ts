/** Lines out of text that arrives in any cuts. Pure; any thread. */
export interface LineSink {
  /** A line without its LF or CRLF; `number` counts from 1. */
  line(text: string, number: number): void;
  /** A line over the limit: its beginning only. */
  tooLong(text: string, number: number): void;
}

/** A last line without a newline counts too (the reference loses it: spec data-centre D8). */
export class LineReader {
  private pending = '';
  private number = 1;
  private skipping = false;

  /** @param maxChars longest line that is delivered. */
  constructor(
    private readonly sink: LineSink,
    private readonly maxChars: number,
  ) {}

  push(text: string): void {
    const all = this.pending === '' ? text : this.pending + text;
    let start = 0;
    for (let at = all.indexOf('\n'); at >= 0; at = all.indexOf('\n', start)) {
      this.deliver(all.slice(start, at));
      start = at + 1;
    }
    this.pending = all.slice(start);
    if (this.pending.length > this.maxChars + 1) {
      if (!this.skipping) this.sink.tooLong(this.pending.slice(0, this.maxChars), this.number);
      this.skipping = true;
      this.pending = '';
    }
  }

  end(): void {
    if (this.pending !== '' || this.skipping) this.deliver(this.pending);
    this.pending = '';
  }

  private deliver(raw: string): void {
    const number = this.number++;
    if (this.skipping) {
      this.skipping = false;
      return;
    }
    const text = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    if (text.length > this.maxChars) this.sink.tooLong(text.slice(0, this.maxChars), number);
    else this.sink.line(text, number);
  }
}
