/**
 * File name patterns of the data centre (spec data-centre 1.3): comma separated, `*` the only wild card, letter case
 * ignored, empty patterns skipped, no pattern matches nothing. Without `*` the whole name must be equal (the reference
 * lets `abc` match `abcabc`). Pure; any thread.
 */
export function nameMatcher(patterns: string | readonly string[]): (name: string) => boolean {
  const list = (typeof patterns === 'string' ? patterns.split(',') : patterns)
    .map((pattern) => pattern.trim().toLowerCase())
    .filter((pattern) => pattern !== '')
    .map((pattern) => pattern.split('*'));
  return (name) => {
    const lower = name.toLowerCase();
    return list.some((pieces) => fits(lower, pieces));
  };
}

/** First piece a prefix, last a suffix, the others in order between them. No regular expression: none can run away. */
function fits(name: string, pieces: readonly string[]): boolean {
  const first = pieces[0] ?? '';
  const last = pieces[pieces.length - 1] ?? '';
  if (pieces.length === 1) return name === first;
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length)
    return false;
  let at = first.length;
  const end = name.length - last.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = name.indexOf(piece, at);
    if (found < 0 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}
