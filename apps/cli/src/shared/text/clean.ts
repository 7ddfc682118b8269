/**
 * Text from elsewhere made safe to print: a pod's name, a reason, a detail that somebody else wrote must not move the cursor, recolour
 * the terminal or begin a line of its own. Which characters those are, libs/service/src/printable.ts says; terminal.ts is the last step of all output.
 */
import { codeOf, escapeUnsafe, UNSAFE } from '@bailiff/service';

/** One line, each unsafe character shown as its code. */
export function clean(text: string): string {
  return text.replaceAll(UNSAFE, (c) => (c === '\n' || c === '\t' ? ' ' : codeOf(c)));
}

/** The same value as JSON that a terminal shows and does not obey, also in a file or a pipe: JSON itself escapes only what is below space. */
export function safeJson(value: unknown, indent?: number): string {
  return escapeUnsafe(JSON.stringify(value, null, indent), '\n');
}

/** Characters as a terminal counts them, near enough for names and sentences. */
export function widthOf(text: string): number {
  let width = 0;
  for (const _ of text) width += 1;
  return width;
}

/** Shortened to a width, with `…` as its last character. */
export function shorten(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  if (width <= 0) return '';
  return `${[...text].slice(0, width - 1).join('')}…`;
}

/** The same with the `…` within, nearer to the beginning: of generated names the end tells one from another. */
export function shortenWithin(text: string, width: number): string {
  if (widthOf(text) <= width || width < 4) return shorten(text, width);
  const letters = [...text];
  const tail = Math.ceil((width - 1) * 0.6);
  return `${letters.slice(0, width - 1 - tail).join('')}…${letters.slice(-tail).join('')}`;
}

/** Broken into lines of a width at spaces; a word that is longer is broken within. */
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
