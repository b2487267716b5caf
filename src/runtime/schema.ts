/**
 * How conf keys are declared. One declaration gives the parser, the help, the generated
 * docs/configuration.md, the shipped samples' check and the reload rule. Pure data; any thread.
 */

/**
 * string, int, number: as written; bool: yes/no/true/false/on/off/1/0; duration: `500ms 30s 5m 2h 1d` -> ms
 * (bare number = seconds); size: `512 64k 4m 1g` -> bytes; enum: one of `values`; list: comma separated -> string[];
 * path: file or folder; secret: string never logged or dumped; address: `port`, `host:port`, `[v6]:port`.
 */
export type KeyType =
  | 'string' | 'int' | 'number' | 'bool' | 'duration' | 'size'
  | 'enum' | 'list' | 'path' | 'secret' | 'address'; // prettier-ignore

/** What a changed value needs at reload: nothing, a restart of its child, or a new process. */
export type ReloadRule = 'live' | 'child' | 'process';

export interface KeySpec {
  readonly type: KeyType;
  /** As it would be written in the conf. Absent and not required: the value is undefined. */
  readonly default?: string;
  readonly required?: boolean;
  readonly values?: readonly string[];
  /** Bounds of int, number, duration (ms) and size (bytes). */
  readonly min?: number;
  readonly max?: number;
  /** One line, ends without a full stop. */
  readonly help: string;
  readonly reload: ReloadRule;
  /** Reference systems' names for the same key, compared without case. */
  readonly aliases?: readonly string[];
}

export type Keys = Readonly<Record<string, KeySpec>>;

/** A kind of section: `[process]`, or with `named`: `[listener packet]`. */
export interface SectionSpec {
  readonly section: string;
  readonly named: boolean;
  readonly help: string;
  readonly keys: Keys;
}

/** Keeps literal types so that `ValuesOf` can infer. */
export function defineKeys<const K extends Keys>(keys: K): K {
  return keys;
}

type RawValue<S extends KeySpec> = S['type'] extends 'int' | 'number' | 'duration' | 'size'
  ? number
  : S['type'] extends 'bool'
    ? boolean
    : S['type'] extends 'list'
      ? readonly string[]
      : S['type'] extends 'enum'
        ? S extends { values: readonly (infer V)[] }
          ? V
          : string
        : string;

/** Typed values of a section, keyed by conf key. */
export type ValuesOf<K extends Keys> = {
  readonly [N in keyof K]: K[N] extends { default: string } | { required: true }
    ? RawValue<K[N]>
    : RawValue<K[N]> | undefined;
};
