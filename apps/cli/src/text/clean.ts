/**
 * Text from elsewhere made safe to print: a pod's name, a reason, a detail that somebody else wrote must not move the cursor, recolour
 * the terminal or begin a line of its own.
 */

/** Control characters, and those that reorder or hide text. */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/** One line, each unsafe character shown as its code. */
export function clean(text: string): string {
  return text.replaceAll(UNSAFE, (c) =>
    c === '\n' || c === '\t' ? ' ' : `\\u${c.codePointAt(0)?.toString(16).padStart(4, '0')}`,
  );
}

/** The same value as JSON that a terminal shows and does not obey: JSON itself leaves DEL, C1 and what reorders or hides text as they are. */
export function safeJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replaceAll(UNSAFE, (c) =>
    c === '\n' ? c : `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
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
