import { describe, expect, it } from 'vitest';
import { escapeUnsafe, UNSAFE } from './printable.ts';

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
/** Characters that must never reach a terminal, by kind. */
const HOSTILE: Record<string, number[]> = {
  'control characters': [...range(0x00, 0x1f), 0x7f, ...range(0x80, 0x9f)],
  'soft hyphen': [0xad],
  'Arabic letter mark': [0x61c],
  'Hangul fillers': [0x115f, 0x1160, 0x3164, 0xffa0],
  'Mongolian vowel separator': [0x180e],
  'zero width, marks of direction': range(0x200b, 0x200f),
  'separators of lines and paragraphs': [0x2028, 0x2029],
  'embeddings, overrides, isolates': [...range(0x202a, 0x202e), ...range(0x2066, 0x2069)],
  'invisible operators': range(0x2060, 0x2064),
  'deprecated format characters': range(0x206a, 0x206f),
  'blank Braille': [0x2800],
  'variation selectors': [...range(0xfe00, 0xfe0f), ...range(0xe0100, 0xe01ef)],
  'byte order mark': [0xfeff],
  annotations: range(0xfff9, 0xfffb),
  tags: range(0xe0000, 0xe007f),
  'lone surrogates': [0xd800, 0xdbff, 0xdc00, 0xdfff],
};

describe('printable', () => {
  it.each(Object.entries(HOSTILE))('%s - are written as their codes', (_, points) => {
    for (const point of points) {
      const character = String.fromCodePoint(point);
      const escaped = escapeUnsafe(`a${character}b`);
      expect(escaped).toMatch(/^a(\\u[0-9a-f]{4}){1,2}b$/);
      expect(escaped.match(UNSAFE)).toBeNull();
      // JSON decodes it to the same character.
      expect(JSON.parse(`"${escaped}"`)).toBe(`a${character}b`);
      // Escaping is idempotent.
      expect(escapeUnsafe(escaped)).toBe(escaped);
    }
  });

  it.each(['web-0', 'Straße', '名前', 'naïve é', '👾', '…·│ ─', 'a\u00a0b'])('%s - stays', (text) => {
    expect(escapeUnsafe(text)).toBe(text);
  });

  it('keeps printable characters only', () => {
    expect(escapeUnsafe('a\nb\r\u001b[2J', '\n')).toBe('a\nb\\u000d\\u001b[2J');
  });
});
