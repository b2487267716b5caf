/**
 * Where the compiled entry of a worker thread is. Worker threads run plain JavaScript, so a source file that runs
 * under the test runner's transform (its URL ends with .ts) is mapped to its build in dist/. Any thread.
 */

/**
 * @param relative the entry as seen from the caller, with its built name: `./cpu-jobs.js`
 * @param importMetaUrl `import.meta.url` of the caller
 */
export function entryUrl(relative: string, importMetaUrl: string): URL {
  const url = new URL(relative, importMetaUrl);
  if (!importMetaUrl.endsWith('.ts')) return url;
  // The last /src/ is ours: folders above the project may have that name too.
  const at = url.pathname.lastIndexOf('/src/');
  if (at < 0) return url;
  url.pathname = `${url.pathname.slice(0, at)}/dist/${url.pathname.slice(at + 5).replace(/\.ts$/, '.js')}`;
  return url;
}
