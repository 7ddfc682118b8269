/**
 * Makes foreign text safe to print: pod names, reasons and details must not move the cursor,
 * recolour the terminal or start a new line. libs/service/src/printable.ts defines the unsafe
 * characters; terminal.ts is the last step of all output.
 */
import { codeOf, escapeUnsafe, UNSAFE } from '@bailiff/service';

/** One line, with each unsafe character as its code. */
export function clean(text: string): string {
  return text.replaceAll(UNSAFE, (c) => (c === '\n' || c === '\t' ? ' ' : codeOf(c)));
}

/**
 * JSON without characters that a terminal interprets, also in files and pipes. JSON itself escapes
 * only characters below space.
 */
export function safeJson(value: unknown, indent?: number): string {
  return escapeUnsafe(JSON.stringify(value, null, indent), '\n');
}

/** Width in terminal columns, approximated as one column per character. */
export function widthOf(text: string): number {
  let width = 0;
  for (const _ of text) width += 1;
  return width;
}

/** Shortens text to a width, ending with `…`. */
export function shorten(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  if (width <= 0) return '';
  return `${[...text].slice(0, width - 1).join('')}…`;
}

/** Shortens text in the middle: generated names differ at their end. */
export function shortenWithin(text: string, width: number): string {
  if (widthOf(text) <= width || width < 4) return shorten(text, width);
  const letters = [...text];
  const tail = Math.ceil((width - 1) * 0.6);
  return `${letters.slice(0, width - 1 - tail).join('')}…${letters.slice(-tail).join('')}`;
}

/** Breaks text into lines at spaces. A word longer than the width is broken. */
export function wrap(text: string, width: number): string[] {
  if (width <= 0) return [text];
  const lines: string[] = [];
  let line = '';
  for (let word of text.split(' ')) {
    if (line !== '' && widthOf(line) + 1 + widthOf(word) <= width) {
      line += ` ${word}`;
      continue;
    }
    if (line !== '') lines.push(line);
    while (widthOf(word) > width) {
      lines.push([...word].slice(0, width).join(''));
      word = [...word].slice(width).join('');
    }
    line = word;
  }
  if (line !== '' || lines.length === 0) lines.push(line);
  return lines;
}

/**
 * `wrap`, with `lead` before the first line, and `indent` spaces before the others. All lines are as short as these, so
 * that no word is broken to fill the first.
 */
export function wrapAfter(lead: string, text: string, width: number, indent: number): string[] {
  const lines = wrap(text, width > 0 ? width - indent : 0);
  return lines.map((line, index) => (index === 0 ? lead : ' '.repeat(indent)) + line);
}
