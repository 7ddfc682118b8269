/**
 * Comments of the source as text, for descriptions that exist only there. Pure except reading
 * files.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { listed } from '../listed.ts';

export const ROOT = path.resolve(import.meta.dirname, '../..');

export const readSource = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8');

/** TypeScript of apps and libraries without tests, by path. */
export function sourceFiles(): string[] {
  return listed('apps', 'libs').filter(
    (file) => /\/src\/.*\.ts$/.test(file) && !/\.test\.ts$|\/testing(\.ts$|\/)/.test(file),
  );
}

/** The text of a comment as one line. */
export function commentText(comment: string): string {
  return comment
    .replace(/^\s*\/\*\*?/, '')
    .replace(/\*\/\s*$/, '')
    .replaceAll(/^\s*\*? ?/gm, '')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

/** First letter in lower case. */
export const uncapped = (text: string): string =>
  /^[A-Z][a-z ]/.test(text) ? text[0]?.toLowerCase() + text.slice(1) : text;
