/**
 * Writes types.gen.ts and schemas.gen.ts: `npx tsx libs/schemas/src/generate/main.ts`. With
 * `--release`, first copies the current schemas and a message of each to history/<version of
 * package.json>/. This is done once for a version and never changed.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT, readCurrent, readHistory, SCHEMA_FILES } from './files.ts';
import { generateSchemas, generateTypes } from './generate.ts';

function write(): void {
  writeFileSync(path.join(ROOT, 'src/generated/types.gen.ts'), generateTypes(readCurrent()));
  writeFileSync(path.join(ROOT, 'src/generated/schemas.gen.ts'), generateSchemas(readCurrent(), readHistory()));
}

async function release(): Promise<void> {
  const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const directory = path.join(ROOT, 'history', version);
  if (existsSync(directory)) throw new Error(`${version} is released already: raise the version in package.json first`);
  // The generated files must be current before the codec loads them.
  write();
  const { encodeResponse, encodeVerdict, encodeViolationFrame } = await import('../codec/codec.ts');
  const { sampleFrame, sampleResponse, sampleVerdict } = await import('../testing.ts');
  mkdirSync(directory, { recursive: true });
  for (const file of SCHEMA_FILES) copyFileSync(path.join(ROOT, 'avro', file), path.join(directory, file));
  const messages = {
    ViolationFrame: encodeViolationFrame(sampleFrame()).toString('base64'),
    Verdict: encodeVerdict(sampleVerdict()).toString('base64'),
    Response: encodeResponse(sampleResponse()).toString('base64'),
  };
  writeFileSync(path.join(directory, 'messages.json'), `${JSON.stringify(messages, null, 2)}\n`);
}

if (process.argv.includes('--release')) await release();
write();
