/**
 * Static files of one folder, for both engines. Main thread; every file operation is asynchronous. Small files are kept in memory
 * with their header lines ready and answered in the same turn; a kept file is compared with the disk at most once a second,
 * behind the answer, so a change shows within about a second. Larger files are streamed at the client's pace.
 */
import { constants, type Stats } from 'node:fs';
import { open, opendir, readdir, realpath, stat, type FileHandle } from 'node:fs/promises';
import { extname, join, sep } from 'node:path';
import mime from 'mime';
import { reasonOf, SwitchyardError } from './errors.js';
import { isUnchanged, requestedRange, type Validators } from './http-conditional.js';
import type { HttpExchange } from './http-exchange.js';
import { PreparedHead } from './http-message.js';
import type { Logger } from './log-contract.js';

export interface StaticOptions {
  readonly root: string;
  /** Bytes of memory for small files. */
  readonly cacheSize: number;
  readonly log: Logger;
}

/** Larger files are streamed and never kept. */
const SMALL = 64 * 1024;
const PIECE = 128 * 1024;
/** What an entry costs besides its bytes. */
const ENTRY_COST = 1_024;
/** Files looked at when the folder is read ahead at the start. */
const MAX_READ_AHEAD = 5_000;
const REVALIDATE_MS = 1_000;

interface FileInfo extends Validators {
  readonly file: string;
  readonly size: number;
  readonly type: string;
}

interface Entry extends FileInfo {
  readonly body: Buffer;
  readonly head: PreparedHead;
  /** The clock's value when the disk was last asked. */
  seen: number;
}

export class StaticFiles {
  private readonly cache = new Map<string, Entry>();
  private cachedBytes = 0;
  private tick = 0;
  private readonly clock: NodeJS.Timeout;

  private constructor(
    private readonly root: string,
    private readonly options: StaticOptions,
  ) {
    this.clock = setInterval(() => this.tick++, REVALIDATE_MS).unref();
  }

  /** Opens the folder and reads its small files ahead. @throws SwitchyardError HTTP_ROOT. */
  static async open(options: StaticOptions): Promise<StaticFiles> {
    let root: string;
    try {
      root = await realpath(options.root);
      await readdir(root);
    } catch (error) {
      throw new SwitchyardError(
        'HTTP_ROOT',
        { root: options.root, reason: reasonOf(error) },
        { cause: error },
      );
    }
    const files = new StaticFiles(root, options);
    await files.readAhead();
    return files;
  }

  /** Bytes held by the cache. */
  get memoryUsed(): number {
    return this.cachedBytes;
  }

  close(): void {
    clearInterval(this.clock);
    this.cache.clear();
  }

  /** Answers a GET or HEAD; a promise only when the disk must be asked. */
  serve(exchange: HttpExchange): void | Promise<void> {
    const entry = this.cache.get(exchange.path);
    if (entry === undefined) return this.serveFromDisk(exchange);
    if (entry.seen !== this.tick) {
      entry.seen = this.tick;
      void this.revalidate(exchange.path, entry);
    }
    this.serveEntry(exchange, entry);
    return undefined;
  }

  private serveEntry(exchange: HttpExchange, entry: Entry): void {
    const { headers } = exchange;
    if (headers['if-none-match'] === undefined && headers['if-modified-since'] === undefined) {
      if (headers['range'] === undefined) {
        exchange.reply(200, entry.head, entry.body);
        return;
      }
    } else if (isUnchanged(headers, entry)) {
      exchange.reply(304, entry.head);
      return;
    }
    const range = exchange.method === 'GET' ? requestedRange(headers, entry.size, entry) : 'whole';
    if (range === 'whole') exchange.reply(200, entry.head, entry.body);
    else if (range === 'unsatisfiable') refuseRange(exchange, entry.size);
    else {
      const head = new PreparedHead(fileHeaders(entry, range));
      exchange.reply(206, head, entry.body.subarray(range.start, range.end));
    }
  }

  private async serveFromDisk(exchange: HttpExchange): Promise<void> {
    const found = await this.find(exchange.path);
    if (found === undefined) {
      exchange.problem(404, 'not found');
      return;
    }
    if (found === 'folder') {
      const path = `/${exchange.path.replace(/^\/+/, '')}/`;
      const query = exchange.query === '' ? '' : `?${exchange.query}`;
      exchange.head(301, { Location: encodeURI(path).replace(/[?#]/g, encodeURIComponent) + query });
      exchange.end();
      return;
    }
    const { info, handle } = found;
    try {
      if (info.size <= SMALL) {
        const entry = await load(info, handle, this.tick);
        if (entry === undefined) exchange.problem(503, 'the file is changing, try again');
        else {
          this.keep(exchange.path, entry);
          this.serveEntry(exchange, entry);
        }
      } else await stream(exchange, info, handle);
    } finally {
      await handle.close();
    }
  }

  /** The open file of a decoded path, or that it is a folder and wants a slash. Nothing outside the root is ever opened. */
  private async find(path: string): Promise<{ info: FileInfo; handle: FileHandle } | 'folder' | undefined> {
    if (isHidden(path) || path.includes('\0')) return undefined;
    const wanted = join(this.root, path.endsWith('/') ? `${path}index.html` : path);
    try {
      const file = await realpath(wanted);
      if (file !== this.root && !file.startsWith(this.root === sep ? sep : this.root + sep)) {
        this.options.log.warn('http.link_leaves_root', { path });
        return undefined;
      }
      // Asked before it is opened: to open a pipe or a device may block or do something.
      const before = await stat(file);
      if (before.isDirectory()) return path.endsWith('/') ? undefined : 'folder';
      if (!before.isFile()) return undefined;
      const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      const stats = await handle.stat();
      if (stats.isFile()) return { info: describe(file, stats), handle };
      await handle.close();
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? '';
      if (!MISSING.has(code))
        this.options.log.warn('http.file_unreadable', { path, reason: reasonOf(error) });
    }
    return undefined;
  }

  private keep(path: string, entry: Entry): void {
    const cost = entry.size + path.length * 2 + ENTRY_COST;
    this.drop(path);
    if (cost > this.options.cacheSize) return;
    for (const oldest of this.cache.keys()) {
      if (this.cachedBytes + cost <= this.options.cacheSize) break;
      this.drop(oldest);
    }
    this.cache.set(path, entry);
    this.cachedBytes += cost;
  }

  private drop(path: string): void {
    const entry = this.cache.get(path);
    if (entry === undefined) return;
    this.cache.delete(path);
    this.cachedBytes -= entry.size + path.length * 2 + ENTRY_COST;
  }

  private async revalidate(path: string, entry: Entry): Promise<void> {
    try {
      const stats = await stat(entry.file);
      if (describe(entry.file, stats).etag === entry.etag) return;
    } catch {
      // gone or unreadable: the next request asks the disk and tells
    }
    if (this.cache.get(path) === entry) this.drop(path);
  }

  /** So that a first request, and one pipelined behind it, is answered at once. Bounded, whatever the folder holds. */
  private async readAhead(): Promise<void> {
    const folders = ['/'];
    let looked = 0;
    for (const folder of folders) {
      const items = await opendir(join(this.root, folder)).catch(() => undefined);
      if (items === undefined) continue;
      for await (const item of items) {
        if (++looked > MAX_READ_AHEAD || this.cachedBytes > this.options.cacheSize / 2) return;
        if (item.isDirectory()) folders.push(`${folder}${item.name}/`);
        else if (item.isFile()) await this.readOne(folder, item.name);
      }
    }
  }

  private async readOne(folder: string, name: string): Promise<void> {
    const found = await this.find(folder + name);
    if (found === undefined || found === 'folder') return;
    const { info, handle } = found;
    const entry = info.size <= SMALL ? await load(info, handle, this.tick) : undefined;
    await handle.close();
    if (entry === undefined) return;
    this.keep(folder + name, entry);
    if (name === 'index.html') this.keep(folder, entry);
  }
}

const MISSING: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG']);

/** Names with a leading dot are private (.git, .env), except the place the standards gave to /.well-known/. */
function isHidden(path: string): boolean {
  return path.replace(/^\/\.well-known\//, '/').includes('/.');
}

function describe(file: string, stats: Stats): FileInfo {
  const media = mime.getType(extname(file)) ?? 'application/octet-stream';
  const isText =
    media.startsWith('text/') || /^application\/(?:json|javascript|xml)$|\+(?:xml|json)$/.test(media);
  return {
    file,
    size: stats.size,
    type: isText ? `${media}; charset=utf-8` : media,
    modified: stats.mtimeMs,
    etag: `"${stats.mtimeMs.toString(36).replace('.', '-')}-${stats.size.toString(36)}-${stats.ino.toString(36)}"`,
  };
}

function fileHeaders(info: FileInfo, range?: { start: number; end: number }): Record<string, string> {
  return {
    'Content-Type': info.type,
    ETag: info.etag,
    'Last-Modified': new Date(info.modified).toUTCString(),
    'Accept-Ranges': 'bytes',
    'X-Content-Type-Options': 'nosniff',
    ...(range && { 'Content-Range': `bytes ${range.start}-${range.end - 1}/${info.size}` }),
  };
}

/** Reads a whole small file; undefined when it changed meanwhile, because then its bytes and its tag disagree. */
async function load(info: FileInfo, handle: FileHandle, tick: number): Promise<Entry | undefined> {
  const body = Buffer.alloc(info.size);
  let filled = 0;
  while (filled < body.length) {
    const { bytesRead } = await handle.read(body, filled, body.length - filled, filled);
    if (bytesRead === 0) return undefined;
    filled += bytesRead;
  }
  if (describe(info.file, await handle.stat()).etag !== info.etag) return undefined;
  return { ...info, body, head: new PreparedHead(fileHeaders(info)), seen: tick };
}

async function stream(exchange: HttpExchange, info: FileInfo, handle: FileHandle): Promise<void> {
  const { headers } = exchange;
  if (isUnchanged(headers, info)) {
    exchange.reply(304, new PreparedHead(fileHeaders(info)));
    return;
  }
  const range = exchange.method === 'GET' ? requestedRange(headers, info.size, info) : 'whole';
  if (range === 'unsatisfiable') {
    refuseRange(exchange, info.size);
    return;
  }
  const { start, end } = range === 'whole' ? { start: 0, end: info.size } : range;
  const given = fileHeaders(info, range === 'whole' ? undefined : range);
  exchange.head(range === 'whole' ? 200 : 206, { ...given, 'Content-Length': String(end - start) });
  if (exchange.method === 'HEAD') {
    exchange.end();
    return;
  }
  for (let at = start; at < end && !exchange.aborted;) {
    const piece = Buffer.allocUnsafe(Math.min(PIECE, end - at));
    const { bytesRead } = await handle.read(piece, 0, piece.length, at);
    if (bytesRead === 0) break; // cut short by another program: end() sees the difference and cuts the connection
    at += bytesRead;
    if (!exchange.write(piece.subarray(0, bytesRead))) await exchange.whenDrained();
  }
  exchange.end();
}

function refuseRange(exchange: HttpExchange, size: number): void {
  exchange.problem(416, 'the range lies outside the file', { 'Content-Range': `bytes */${size}` });
}
