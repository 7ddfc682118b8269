/**
 * The last step of everything that the command writes: whatever text came here, no character of it reaches a terminal that the terminal would obey or
 * hide, but for the styles of paint.ts.
 *
 * Place in the path: commands → Out (session.ts) → here → stdout and stderr. Invariant: a style is marked with a word that this process chose at
 * random, so no text from elsewhere can hold one. Lines of Out are one line each; what is written as a whole (help, YAML, HTML) keeps its line ends.
 */
import { randomBytes } from 'node:crypto';
import { escapeUnsafe } from '@bailiff/service';
import type { CliIo, Output } from '../io.ts';
import { clean } from './clean.ts';

/** Stands before the number of a style; the sink writes the escape sequence. */
const MARK = `\u001b<${randomBytes(8).toString('hex')}`;
const MARKED = new RegExp(`${MARK}((?:\\d+;)*\\d+m|K)`, 'g');

/** A style as paint.ts names it: `31`, `1;32`; 0 ends it. */
export const styleMark = (codes: string): string => `${MARK}${codes}m`;
/** Goes to the beginning of the line and empties it. */
export const CLEAR_LINE = `${MARK}K`;

/** Calls `safe` for what is between styles, and writes the styles. */
function eachPart(text: string, safe: (part: string) => string, style: (code: string) => string): string {
  if (!text.includes(MARK)) return safe(text);
  return text
    .split(MARKED)
    .map((part, index) => (index % 2 === 0 ? safe(part) : style(part)))
    .join('');
}

/** One line of a person's or a program's words; styles stay marked. */
export const oneLine = (text: string): string => eachPart(text, clean, (code) => `${MARK}${code}`);

const sequenceOf = (code: string): string => (code === 'K' ? '\r\u001b[K' : `\u001b[${code}`);

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

/** The same world, whose outputs and questions show what others wrote and obey nothing of it. */
export function terminalSafe(io: CliIo): CliIo {
  return Object.create(io, {
    stdout: { value: sink(io.stdout) },
    stderr: { value: sink(io.stderr) },
    ask: { value: (question: string) => io.ask(eachPart(question, (part) => escapeUnsafe(part, '\n'), sequenceOf)) },
    exitCode: { value: io.exitCode, writable: true },
  }) as CliIo;
}
