/**
 * The form of a row of docs/reference/shares.md, and the values of the constants that it names, read
 * from the source. Pure except reading files.
 */
import path from 'node:path';
import { readSource } from '../source-text.ts';

export interface Share {
  readonly what: string;
  /** The file that holds it. */
  readonly file: string;
  /** Constants of `file` by name, those of other files as `path#NAME`, flags as `app.key`, or text. */
  readonly limits: readonly string[];
  readonly filledBy: string;
  /** Whose share is whose. Begins with OPEN where one can use up the part of another. */
  readonly share: string;
  readonly whenFull: string;
  /** Metrics and other places that show it, in backquotes where they are metrics. */
  readonly counter: string;
  /** Test files that show that a neighbour is unaffected, or the behaviour at the limit. */
  readonly tests: readonly string[];
}

/** The reference of kernel maps, as rows name it. */
export const KERNEL_MAPS = '[kernel maps](kernel-maps.md)';

/** Marks a share that is missing. */
export const OPEN = '**Open:** ';

const NAME = /^[A-Z][A-Z0-9_]+$/;

/** A constant that a limit names; null: it is text. */
export function constantOf(file: string, limit: string): { file: string; name: string } | null {
  const [at = '', name] = limit.split('#');
  if (name !== undefined) return { file: at, name };
  return NAME.test(limit) ? { file, name: limit } : null;
}

/** The flag that a limit names; null: it is another limit. */
export function flagOf(limit: string): { app: string; key: string } | null {
  const [, app, key] = /^([a-z-]+)\.([a-z][A-Za-z]+)$/.exec(limit) ?? [];
  return app !== undefined && key !== undefined ? { app, key } : null;
}

/** Names of arithmetic and of other constants in an expression. */
const IDENTIFIER = /\b[A-Za-z]\w*/g;
const ARITHMETIC = /^[\d_+\-*/().\s]*$/;

/**
 * The value of a numeric constant in TypeScript or C. It may name other constants of its file, and
 * those that it imports by a relative path.
 * @throws Error if there is none, or its expression is not arithmetic
 */
export function numberOf(file: string, name: string): number {
  const text = readSource(file);
  const found =
    new RegExp(`^(?:export )?const ${name}(?:: [^=]+)? = ([^;]+);`, 'm').exec(text) ??
    new RegExp(`^#define ${name}\\s+(.+)$`, 'm').exec(text);
  if (!found) return numberOf(importOf(file, text, name), name);
  const expression = (found[1] as string).replaceAll(IDENTIFIER, (other) => String(numberOf(file, other)));
  if (!ARITHMETIC.test(expression)) throw new Error(`${file}: ${name} is not a number: ${found[1]}`);
  return Number(new Function(`return ${expression}`)());
}

function importOf(file: string, text: string, name: string): string {
  const from = new RegExp(`import [^;]*\\b${name}\\b[^;]*? from '(\\.[^']+)'`).exec(text)?.[1];
  if (from === undefined) throw new Error(`${file} has no constant ${name}`);
  return path.join(path.dirname(file), from);
}
