// `npm run wasm`: compiles src/store/mysql/xml-rows.as.ts and what it imports into the module xml-rows-wasm.ts, which is committed, so
// that neither a build nor the program needs the compiler.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import prettier from 'prettier';

const path = (name) => fileURLToPath(new URL(`../../src/store/mysql/${name}`, import.meta.url));
export const target = path('xml-rows-wasm.ts');

/** @returns the text of the module. @throws what the compiler says */
export async function compile() {
  // A decorator of a function is a syntax error to everybody else.
  const source = (name) => readFileSync(path(`${name}.as.ts`), 'utf8').replaceAll('/* @inline */', '@inline');
  const names = ['xml-rows', 'xml-print', 'xml-write'];
  const files = Object.fromEntries(names.map((name) => [`${name}.ts`, source(name)]));
  const made = {};
  const { error, stderr } = await asc.main(
    ['xml-rows.ts', '-O3', '--noAssert', '--runtime', 'stub', '--enable', 'simd', '--importMemory', '-o', 'xml-rows.wasm'], // prettier-ignore
    {
      readFile: (name) => files[name] ?? null,
      writeFile: (name, content) => void (made[name] = content),
      listFiles: () => [],
    },
  );
  if (error) throw new Error(`${error.message}\n${stderr.toString()}`);
  const code = Buffer.from(made['xml-rows.wasm']).toString('base64');
  const lines = code.match(/.{1,100}/g).map((line) => `'${line}'`);
  const text = `/** Made out of xml-rows.as.ts by \`npm run wasm\`. */\nexport const XML_ROWS =\n${lines.join(' +\n')};\n`;
  return prettier.format(text, { ...(await prettier.resolveConfig(target)), parser: 'typescript' });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(target, await compile());
