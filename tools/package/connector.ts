/**
 * Packs `@bailiff/connector` as an npm package: one bundle without dependencies, so that it installs
 * without a network, and its declarations. Usage: tsx tools/package/connector.ts --out DIR
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { pack, ROOT } from './pack.ts';

const { values } = parseArgs({ options: { out: { type: 'string' } } });
if (!values.out) throw new Error('usage: tsx tools/package/connector.ts --out DIR');

const source = (file: string) => readFileSync(path.join(ROOT, 'libs', file), 'utf8');
/** Packages in the bundle that are CommonJS use these. */
const BANNER = [
  "import { createRequire as __createRequire } from 'node:module';",
  'const require = __createRequire(import.meta.url);',
].join('\n');

async function stage(directory: string): Promise<void> {
  await build({
    entryPoints: [path.join(ROOT, 'libs/connector/src/index.ts')],
    outfile: path.join(directory, 'dist/index.mjs'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
    legalComments: 'none',
    banner: { js: BANNER },
  });
  // Both files have types alone, so they are declarations already.
  const api = source('connector/src/api.ts').replaceAll("'@bailiff/schemas'", "'./schemas.d.mts'");
  const entry = "export type * from './api.d.mts';\nexport declare const connect: import('./api.d.mts').Connect;\n";
  const declarations = { index: entry, api, schemas: source('schemas/src/generated/types.gen.ts') };
  for (const [name, text] of Object.entries(declarations))
    writeFileSync(path.join(directory, `dist/${name}.d.mts`), text);
}

const exports = { '.': { types: './dist/index.d.mts', default: './dist/index.mjs' } };
const description = "Connects SIEMs and other programs to Bailiff's bus";
const manifest = { name: '@bailiff/connector', description, exports };
process.stdout.write(`${await pack(path.resolve(values.out), 'libs/connector', manifest, stage)}\n`);
