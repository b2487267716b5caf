/**
 * Where the compiled entry of a driver's thread is. Threads run plain JavaScript: under the test runner, where the
 * caller is still src/*.ts, the build in dist/ is taken. (The runtime has its own; the store imports nothing.)
 */

/** @param relative the built name seen from the caller: `./sqlite/thread.js`. @param base the caller's import.meta.url */
export function threadEntry(relative: string, base: string): URL {
  const url = new URL(relative, base);
  if (base.endsWith('.ts')) {
    const at = url.pathname.lastIndexOf('/src/');
    url.pathname = `${url.pathname.slice(0, at)}/dist/${url.pathname.slice(at + '/src/'.length)}`;
  }
  return url;
}
