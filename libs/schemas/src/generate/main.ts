/**
 * Writes types.gen.ts and schemas.gen.ts: `npx tsx libs/schemas/src/generate/main.ts`. With `--release`, first copies the current
 * schemas to history/<version of package.json>/, which is done once a version and never changed afterwards.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT, readCurrent, readHistory, SCHEMA_FILES } from './files.ts';
import { generateSchemas, generateTypes } from './generate.ts';

if (process.argv.includes('--release')) {
  const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const directory = path.join(ROOT, 'history', version);
  if (existsSync(directory)) throw new Error(`${version} is released already: raise the version in package.json first`);
  mkdirSync(directory, { recursive: true });
  for (const file of SCHEMA_FILES) copyFileSync(path.join(ROOT, 'avro', file), path.join(directory, file));
}
writeFileSync(path.join(ROOT, 'src/types.gen.ts'), generateTypes(readCurrent()));
writeFileSync(path.join(ROOT, 'src/schemas.gen.ts'), generateSchemas(readCurrent(), readHistory()));
