/**
 * The last step of all output: no character of foreign text reaches a terminal that would interpret
 * or hide it. Only the styles of paint.ts become escape sequences.
 *
 * Commands write through Out (session.ts), which writes here. Invariant: styles carry a random mark
 * of this process, so foreign text cannot contain one. Lines of Out stay one line; documents (help,
 * YAML, HTML) keep their line ends.
 */
import { randomBytes } from 'node:crypto';
import { escapeUnsafe } from '@bailiff/service';
import type { CliIo, Output } from '../io.ts';
import { clean } from './clean.ts';

/** Precedes the code of a style; the sink replaces both by an escape sequence. */
const MARK = `\u001b<${randomBytes(8).toString('hex')}`;
const MARKED = new RegExp(`${MARK}((?:\\d+;)*\\d+m|K|T|J)`, 'g');

/** A style by its SGR codes: `31`, `1;32`; `0` resets. */
export const styleMark = (codes: string): string => `${MARK}${codes}m`;
/** Returns to the start of the line and clears it. */
export const CLEAR_LINE = `${MARK}K`;
/** Clears the screen. */
export const CLEAR_SCREEN = `${MARK}J`;
/** Placeholder of a tab in a user's template. Foreign text cannot contain it. */
export const TAB = `${MARK}T`;

/** Applies `safe` to the text between styles, and `style` to the styles. */
function eachPart(text: string, safe: (part: string) => string, style: (code: string) => string): string {
  if (!text.includes(MARK)) return safe(text);
  return text
    .split(MARKED)
    .map((part, index) => (index % 2 === 0 ? safe(part) : style(part)))
    .join('');
}

/** Makes text one line; style marks stay. */
export const oneLine = (text: string): string => eachPart(text, clean, (code) => `${MARK}${code}`);

const SEQUENCES: Readonly<Record<string, string>> = { K: '\r\u001b[K', T: '\t', J: '\u001b[H\u001b[J' };
const sequenceOf = (code: string): string => SEQUENCES[code] ?? `\u001b[${code}`;

function sink(output: Output): Output {
  const keepLines = (part: string) => escapeUnsafe(part, '\n');
  return {
    write: (text) => output.write(eachPart(text, keepLines, sequenceOf)),
    writeBytes: (bytes) => output.writeBytes(bytes),
    drained: () => output.drained(),
    get isTty() {
      return output.isTty;
    },
    get columns() {
      return output.columns;
    },
  };
}

/** The same CliIo with safe outputs and questions. */
export function terminalSafe(io: CliIo): CliIo {
  return Object.create(io, {
    stdout: { value: sink(io.stdout) },
    stderr: { value: sink(io.stderr) },
    ask: { value: (question: string) => io.ask(eachPart(question, (part) => escapeUnsafe(part, '\n'), sequenceOf)) },
    exitCode: { value: io.exitCode, writable: true },
  }) as CliIo;
}
