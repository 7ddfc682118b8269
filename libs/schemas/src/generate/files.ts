/** Reads schema files: avro/<name>.avsc is current, history/<version>/<name>.avsc was released. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { HistoricSchema } from './generate.ts';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
/** In declaration order: the first schema that uses a type declares it. */
export const SCHEMA_FILES = ['violation-frame.avsc', 'verdict.avsc', 'response.avsc'] as const;

const readJson = (file: string): unknown => JSON.parse(readFileSync(file, 'utf8'));

export function readCurrent(): unknown[] {
  return SCHEMA_FILES.map((file) => readJson(path.join(ROOT, 'avro', file)));
}

/** Released versions, oldest first. */
export function releasedVersions(): string[] {
  const root = path.join(ROOT, 'history');
  if (!existsSync(root)) return [];
  return readdirSync(root).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

export function readHistory(): (HistoricSchema & { file: string })[] {
  return releasedVersions().flatMap((version) =>
    readdirSync(path.join(ROOT, 'history', version))
      .filter((file) => file.endsWith('.avsc'))
      .sort()
      .map((file) => ({ version, file, schema: readJson(path.join(ROOT, 'history', version, file)) })),
  );
}
