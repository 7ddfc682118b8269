/** Colour, only where a person sees it: on a terminal, without NO_COLOR (no-color.org) and not on a dumb one. */
import type { CliIo } from '../io.ts';
import { styleMark } from './terminal.ts';

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
export type Style = keyof typeof CODES;

/** Colours a text that has been padded already; the plain painter leaves it as it is. terminal.ts makes escape sequences of its marks. */
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
