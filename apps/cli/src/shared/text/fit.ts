/** Lines that were written for no terminal in particular, fitted to the one that is there: broken at spaces, never within a word. Pure. */
import { widthOf, wrap } from './clean.ts';

/** A line broken at spaces, those after the first further in. @param width 0: as it is */
export function fitLine(line: string, width: number, hang = ''): string[] {
  const indent = /^ */.exec(line)?.[0] ?? '';
  const room = width - indent.length - hang.length;
  if (width <= 0 || room <= 0) return [line];
  // The first has the room of the others, so that a word in it is never broken to fill it.
  return wrap(line.slice(indent.length), room).map((part, index) => `${indent}${index === 0 ? '' : hang}${part}`);
}

/** Room beside a command in which its description is still broken into readable lines. */
const MIN_BESIDE = 24;
/** `  bailiff events --follow     whatever comes`: a command and what it does. */
const DESCRIBED = /^( +\S.*?\S {2,})(\S.*)$/;

function fitExample(line: string, width: number): string[] {
  const [, command = '', description = ''] = DESCRIBED.exec(line) ?? [];
  const room = width - widthOf(command);
  if (command === '') return [line];
  if (room >= MIN_BESIDE) {
    const hang = ' '.repeat(widthOf(command));
    return wrap(description, room).map((part, index) => `${index === 0 ? command : hang}${part}`);
  }
  const hang = `${/^ */.exec(line)?.[0]}    `;
  return [command.trimEnd(), ...wrap(description, width - hang.length).map((part) => `${hang}${part}`)];
}

/**
 * The words of a help text. Lines that begin at the margin are prose and flow together; an indented one is a command, which is never
 * broken (it is there to be copied), with what it does beside it, or below where there is no room.
 */
export function fitHelp(text: string, width: number): string {
  const lines = text.split('\n');
  if (width <= 0 || lines.every((line) => widthOf(line) <= width)) return text;
  const fitted: string[] = [];
  let prose: string[] = [];
  const flow = () => {
    if (prose.every((line) => widthOf(line) <= width)) fitted.push(...prose);
    else fitted.push(...wrap(prose.join(' '), width));
    prose = [];
  };
  for (const line of lines) {
    if (/^\S/.test(line)) {
      prose.push(line);
      continue;
    }
    if (prose.length > 0) flow();
    fitted.push(...(widthOf(line) <= width ? [line] : fitExample(line, width)));
  }
  if (prose.length > 0) flow();
  return fitted.join('\n');
}
