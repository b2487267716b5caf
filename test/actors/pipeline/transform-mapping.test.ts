import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileChecks } from '../../../src/actors/pipeline/transform/checks.js';
import { compileExpression } from '../../../src/actors/pipeline/transform/expression.js';
import { shift } from '../../../src/actors/pipeline/transform/functions.js';
import {
  compilePlan,
  FieldsError,
  inlineColumns,
  MappingError,
  parseMapping,
  wantedFields,
} from '../../../src/actors/pipeline/transform/mapping.js';

function evaluate(text: string, values: Readonly<Record<string, string>> = {}): string {
  const expression = compileExpression(text, { file: 'x.csv', condition: false });
  const given = Object.keys(values);
  const places = expression.fields.map((name) => given.indexOf(name));
  return expression.evaluate(Object.values(values), places, 7);
}

describe('an expression', () => {
  it.each([
    ['"cma"', 'cma'],
    ['t + "/" + u', '30.1/80'],
    ['`气温` + $2', '30.1$'],
    ['string(_line) + _file', '7x.csv'],
    ['u == "" ? "-" : u', '80'],
    ['shift(t, 1)', '301'],
    ['round(number(t) * 1.8 + 32.0, 1)', '86.2'],
    ['round(number("-0.04"), 1)', '0.0'],
    ['round(number("1.005"), 2)', '1.01'],
    ['number(u) > 79.5', 'true'],
    ['int(u) + 1', '81'],
    ['nvl(missing, "9999")', '9999'],
    ['digits("2023-07-06 15:43")', '202307061543'],
    ['pad(u, 5)', '00080'],
    ['replace("a-b-c", "-", "")', 'abc'],
    ['date(d, "yyyy-mm-dd hh24:mi", "yyyymmddhh24miss")', '20230706154300'],
    ['regex(t, "^[0-9.]+$") ? "n" : "x"', 'n'],
    ['t.substring(0, 2)', '30'],
    ['u in ["80", "81"] ? "1" : "0"', '1'],
  ])('%s', (text, result) => {
    expect(evaluate(text, { t: '30.1', u: '80', 气温: '30.1', $2: '$', d: '2023-07-06 15:43' })).toBe(result);
  });

  it.each([
    ['t +', /no expression/],
    ['t + 1', /no such overload/],
    ['[1, 2]', /which is no text/],
    ['t.matches("a+")', /use regex/],
    ['[1].map(x, x)[0]', /map is not allowed/],
    ['cel.bind(x, t, x + x)', /bind is not allowed/],
    ['nosuch(t)', /no such overload|nosuch/],
    [`${'('.repeat(50)}t${')'.repeat(50)} + ${'t+'.repeat(400)}t`, /no expression/],
  ])('%s is refused', (text, reason) => {
    expect(() => compileExpression(text, { file: '', condition: false })).toThrow(reason);
  });

  it('says what went wrong with a value', () => {
    expect(() => evaluate('date(d, "yyyy-mm-dd", "yyyymmdd")', { d: '2023-02-29' })).toThrow(
      '"2023-02-29" is no time of the form yyyy-mm-dd',
    );
    expect(() => evaluate('number(t)', { t: 'x' })).toThrow('"x" is no number');
    expect(() => evaluate('number(t) / 0.0', { t: '1' })).toThrow('the result is no number');
  });

  it('does not run away with a hostile pattern or text', () => {
    const long = 'a'.repeat(50_000) + 'b';
    expect(evaluate('string(regex(t, "(a+)+$"))', { t: long })).toBe('false');
    expect(() => evaluate('replace(replace(t, "a", t), "a", t)', { t: 'a'.repeat(5_000) })).toThrow(
      'longer than',
    );
  });

  it('moves the point exactly', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }),
        fc.integer({ min: 0, max: 20 }),
        (number, places) => {
          const moved = shift(String(number), BigInt(-places));
          expect(shift(moved, BigInt(places))).toBe(String(number));
        },
      ),
    );
    expect(['30.1', '0.05', '-0.00', '.5', '+7.'].map((text) => shift(text, 1n))).toEqual([
      '301',
      '0.5',
      '0',
      '5',
      '70',
    ]);
    expect(() => shift('1e5', 1n)).toThrow('is no number');
  });
});

describe('checks', () => {
  it.each([
    ['decimal min=-80 max=60', '60.5', 'is above 60'],
    ['decimal min=-80 max=60', '-80', undefined],
    ['decimal', '1e5', 'is no number'],
    ['int', '1.0', 'is no whole number'],
    ['required', '', 'is empty'],
    ['int min=1', '', undefined],
    ['length=5', '5801', 'has 4 characters instead of 5'],
    ['length=1..3', '砀山𠮷', undefined],
    ['date', '20230231000000', 'is no time of the form yyyymmddhh24miss'],
    ['date="yyyy-mm-dd hh24:mi" required', '2024-02-29 23:59', undefined],
    ['in=a|b', 'c', 'is none of a|b'],
    ['pattern=[0-9]{5}', '58015x', 'does not fit [0-9]{5}'],
    ['pattern="a b\\"c"', 'a b"c', undefined],
  ])('%s of "%s"', (text, value, reason) => {
    const result = compileChecks(text)(value);
    if (reason === undefined) expect(result).toBeUndefined();
    else expect(result).toContain(reason);
  });

  it.each(['nosuch', 'min', 'min=x', 'length=5..2', 'pattern=(', 'date=dd', 'int, required'])(
    '%s is refused',
    (text) => {
      expect(() => compileChecks(text)).toThrow();
    },
  );
});

describe('a mapping', () => {
  const text = `
# observations
[columns]
obtid = 站点代码
t = shift(气温, 1)
source = "cma"
[checks]
obtid = required length=5
t = int min=-800 max=600
[filter]
\`气温\` != ""
`;

  it('copies, computes, checks and filters', () => {
    const mapping = parseMapping(text.replace('shift(气温, 1)', 'shift(`气温`, 1)'));
    expect(wantedFields(mapping)).toEqual(['站点代码', '气温']);
    const plan = compilePlan(mapping, ['气温', 'x', '站点代码'], 'f');
    const out: string[] = [];
    expect(plan.columns).toEqual(['obtid', 't', 'source']);
    expect(plan.apply(['30.1', '', '58015'], 2, out)).toBeUndefined();
    expect(out).toEqual(['58015', '301', 'cma']);
    expect(plan.apply(['', '', '58015'], 3, out)).toBe('');
    expect(plan.apply(['30.1', '', '5801'], 4, out)).toBe('obtid "5801" has 4 characters instead of 5');
    expect(plan.apply(['99', '', '58015'], 5, out)).toBe('t "990" is above 600');
    expect(plan.apply(['x', '', '58015'], 6, out)).toContain('"x" is no number');
  });

  it('needs its fields in the file, and says which are there', () => {
    const mapping = parseMapping('a = b\n');
    expect(() => compilePlan(mapping, ['x', 'y'], 'f')).toThrow(FieldsError);
    expect(() => compilePlan(mapping, ['x', 'y'], 'f')).toThrow(
      'column a needs the field b, which the file does not have; found: x, y',
    );
    expect(() => compilePlan(parseMapping(''), ['气温'], 'f')).toThrow(/cannot be the name of an XML tag/);
    expect(() => compilePlan(parseMapping('a = $3'), ['x', 'y'], 'f')).toThrow(FieldsError);
  });

  it.each([
    ['[nosuch]\n', 'line 1: there is no section [nosuch]'],
    ['[columns]\n1a = x', '"1a" cannot be the name of an XML tag'],
    ['a = x\na = y', 'the column a is there twice'],
    ['a = x\n[checks]\nb = int', 'checks for b, which is no column'],
    ['a = x +', 'no expression'],
    ['[filter]\n"x"', 'not true or false'],
    ['[checks]\na = int\na = int', 'line 3: a has its checks twice'],
  ])('%j is refused', (wrong, reason) => {
    expect(() => parseMapping(wrong)).toThrow(MappingError);
    expect(() => parseMapping(wrong)).toThrow(reason);
  });

  it('may stand in one line', () => {
    expect(inlineColumns('obtid:站点代码, t:date(x, "a,b", "c") , u')).toEqual([
      { name: 'obtid', source: '站点代码' },
      { name: 't', source: 'date(x, "a,b", "c")' },
      { name: 'u', source: 'u' },
    ]);
    expect(inlineColumns(' ')).toBeUndefined();
  });
});
