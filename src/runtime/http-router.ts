/**
 * Routes of a listener: exact paths and prefixes (`/api/*`), per method, to a target (an actor's name). Exact wins, then the
 * longest prefix. Main thread.
 */
type Methods<T> = Map<string, T>;

/** Routes that one listener may have; actors register at run time, so it needs a bound. */
export const MAX_ROUTES = 10_000;

const METHOD = /^[A-Z]{1,20}$/;

export class HttpRouter<T> {
  private readonly exact = new Map<string, Methods<T>>();
  /** Keyed by the prefix with its final slash. */
  private readonly prefixes = new Map<string, Methods<T>>();
  private count = 0;

  get size(): number {
    return this.count;
  }

  /**
   * Adds or replaces a route.
   * @param method upper case; GET also answers HEAD.
   * @param path exact, or a prefix when it ends with `/*`; a prefix does not match its own folder without the slash.
   * @throws Error on a bad method or path, or when there are too many routes.
   */
  add(method: string, path: string, target: T): void {
    if (!METHOD.test(method)) throw new Error(`bad method in route: ${method}`);
    if (!path.startsWith('/') || /[?#\s]/.test(path)) throw new Error(`bad path in route: ${path}`);
    const table = path.endsWith('/*') ? this.prefixes : this.exact;
    const key = path.endsWith('/*') ? path.slice(0, -1) : path;
    let methods = table.get(key);
    if (methods?.has(method) !== true) {
      if (this.count >= MAX_ROUTES) throw new Error(`more than ${MAX_ROUTES} routes`);
      this.count++;
    }
    if (methods === undefined) table.set(key, (methods = new Map<string, T>()));
    methods.set(method, target);
  }

  /** Drops every route of a target (its actor is gone for good). */
  removeTarget(target: T): void {
    for (const table of [this.exact, this.prefixes]) {
      for (const [key, methods] of table) {
        for (const [method, owner] of methods) if (owner === target && methods.delete(method)) this.count--;
        if (methods.size === 0) table.delete(key);
      }
    }
  }

  /** @returns the target, or undefined: then `allowed` tells 404 from 405. */
  match(method: string, path: string): T | undefined {
    if (this.count === 0) return undefined;
    const exact = pick(this.exact.get(path), method);
    if (exact !== undefined || this.prefixes.size === 0) return exact;
    for (let end = path.lastIndexOf('/'); end >= 0; end = end === 0 ? -1 : path.lastIndexOf('/', end - 1)) {
      const found = pick(this.prefixes.get(path.slice(0, end + 1)), method);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Methods that some route of this path takes, sorted; empty when the path is unknown. */
  allowed(path: string): readonly string[] {
    const tables = this.count === 0 ? [] : this.tablesOf(path);
    if (tables.length === 0) return NONE;
    const found = new Set(tables.flatMap((methods) => [...methods.keys()]));
    if (found.has('GET')) found.add('HEAD');
    return [...found].sort();
  }

  private tablesOf(path: string): Methods<T>[] {
    const tables: Methods<T>[] = [];
    const exact = this.exact.get(path);
    if (exact !== undefined) tables.push(exact);
    if (this.prefixes.size === 0) return tables;
    for (let end = path.lastIndexOf('/'); end >= 0; end = end === 0 ? -1 : path.lastIndexOf('/', end - 1)) {
      const methods = this.prefixes.get(path.slice(0, end + 1));
      if (methods !== undefined) tables.push(methods);
    }
    return tables;
  }
}

const NONE: readonly string[] = [];

function pick<T>(methods: Methods<T> | undefined, method: string): T | undefined {
  if (methods === undefined) return undefined;
  return methods.get(method) ?? (method === 'HEAD' ? methods.get('GET') : undefined);
}
