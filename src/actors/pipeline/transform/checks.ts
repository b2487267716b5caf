/** Checks of values in a mapping: `decimal min=-80 max=60 required`. Pure; any thread. */
import { dateReader, patternOf } from './functions.js';

/** @returns what is wrong with the value, to be read behind its name; undefined when it is good */
export type Check = (value: string) => string | undefined;

const TOKEN = /\s*([a-z_]+)(?:=("(?:[^"\\]|\\.)*"|\S+))?(?=\s|$)/y;

/** An empty value passes everything but `required`. @throws RangeError that says what is wrong with the text */
export function compileChecks(text: string): Check {
  const checks: Check[] = [];
  let required = false;
  TOKEN.lastIndex = 0;
  for (let at = 0; text.slice(at).trim() !== ''; at = TOKEN.lastIndex) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) throw new RangeError(`"${text.slice(at).trim()}" is no check`);
    const [, name = '', raw] = match;
    const value = raw?.startsWith('"') === true ? raw.slice(1, -1).replace(/\\(["\\])/g, '$1') : raw;
    if (name === 'required') required = true;
    else checks.push(make(name, value));
  }
  return (value) => {
    if (value === '') return required ? 'is empty' : undefined;
    for (const check of checks) {
      const reason = check(value);
      if (reason !== undefined)
        return `"${value.length > 60 ? `${value.slice(0, 60)}...` : value}" ${reason}`;
    }
    return undefined;
  };
}

function make(name: string, value: string | undefined): Check {
  const need = (): string => {
    if (value === undefined) throw new RangeError(`the check ${name} needs a value: ${name}=...`);
    return value;
  };
  const number = (): number => {
    const result = Number(need());
    if (value === '' || !Number.isFinite(result)) throw new RangeError(`${name}=${value} is no number`);
    return result;
  };
  switch (name) {
    case 'int':
      return (text) => (/^[+-]?\d+$/.test(text) ? undefined : 'is no whole number');
    case 'decimal':
      return (text) => (isDecimal(text) ? undefined : 'is no number');
    case 'date': {
      const format = value ?? 'yyyymmddhh24miss';
      const read = dateReader(format);
      return (text) => (read(text) === undefined ? `is no time of the form ${format}` : undefined);
    }
    case 'min': {
      const bound = number();
      return (text) => (!isDecimal(text) || Number(text) >= bound ? undefined : `is below ${bound}`);
    }
    case 'max': {
      const bound = number();
      return (text) => (!isDecimal(text) || Number(text) <= bound ? undefined : `is above ${bound}`);
    }
    case 'length': {
      const [least = 0, most = least] = need().split('..').map(Number);
      if (!(least >= 0 && most >= least)) throw new RangeError(`length=${value} is neither N nor N..M`);
      return (text) => {
        const length = lengthOf(text);
        return length >= least && length <= most ? undefined : `has ${length} characters instead of ${value}`;
      };
    }
    case 'in': {
      const allowed = new Set(need().split('|'));
      return (text) => (allowed.has(text) ? undefined : `is none of ${value}`);
    }
    case 'pattern': {
      const pattern = patternOf(need());
      return (text) => (pattern.matches(text) ? undefined : `does not fit ${value}`);
    }
    default:
      throw new RangeError(
        `there is no check "${name}"; there are required, int, decimal, date, min, max, length, in, pattern`,
      );
  }
}

function isDecimal(text: string): boolean {
  return /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)$/.test(text);
}

/** In characters, not in units of a string. */
function lengthOf(text: string): number {
  return /[\ud800-\udbff]/.test(text) ? Array.from(text).length : text.length;
}
