/** Fits fixed texts to the width of the terminal: breaks at spaces, never within a word. Pure. */
import { widthOf, wrap } from './clean.ts';

/**
 * Breaks a line at spaces, with continuation lines indented by `hang`. @param width 0: unchanged
 */
export function fitLine(line: string, width: number, hang = ''): string[] {
  const indent = /^ */.exec(line)?.[0] ?? '';
  const room = width - indent.length - hang.length;
  if (width <= 0 || room <= 0) return [line];
  // The first line is as short as the others, so that no word is broken to fill it.
  return wrap(line.slice(indent.length), room).map((part, index) => `${indent}${index === 0 ? '' : hang}${part}`);
}

/** Narrowest space for a description beside its command. */
const MIN_BESIDE = 24;
/** `  bailiff events --follow     prints new rows`: a command and its description. */
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
 * Fits a help text. Lines at the margin are prose and are reflowed. Indented lines are commands,
 * which are never broken so that they can be copied; the description is beside the command, or
 * below it if there is no room.
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
