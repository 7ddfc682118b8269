/** Colours, only on a terminal that is not `dumb`, and without NO_COLOR (no-color.org). */
import type { CliIo } from '../io.ts';
import { styleMark } from './terminal.ts';

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
export type Style = keyof typeof CODES;

/**
 * Colours padded text; the plain painter returns it unchanged. terminal.ts turns the marks into
 * escape sequences.
 */
export type Paint = (text: string, ...styles: Style[]) => string;

export const plain: Paint = (text) => text;

export const coloured: Paint = (text, ...styles) =>
  text === '' || styles.length === 0
    ? text
    : `${styleMark(styles.map((style) => CODES[style]).join(';'))}${text}${styleMark('0')}`;

export function painterFor(io: Pick<CliIo, 'env' | 'stdout'>): Paint {
  const refused = (io.env['NO_COLOR'] ?? '') !== '' || io.env['TERM'] === 'dumb';
  return io.stdout.isTty && !refused ? coloured : plain;
}
