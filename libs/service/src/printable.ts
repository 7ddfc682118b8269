/**
 * Escapes characters that a terminal interprets or hides. Text from tenants, nodes or users must
 * not move the cursor, recolour or reorder text, hide parts of it, or imitate another name.
 *
 * Used for every log line (run.ts) and all output of the CLI (apps/cli/src/shared/text). Pure. The result
 * has no control, format or default-ignorable characters, no line or paragraph separators, no lone
 * surrogates and no blank Braille pattern.
 */

/** Cc, Cf, lone surrogates, line and paragraph separators, Default_Ignorable_Code_Point, U+2800. */
export const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{DI}\u2800]/gu;
const ANY_UNSAFE = new RegExp(UNSAFE.source, 'u');

/** Escape of a character, such as `\u202e`. Above U+FFFF two escapes (surrogates), as in JSON. */
export function codeOf(character: string): string {
  let code = '';
  for (let i = 0; i < character.length; i++) code += `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`;
  return code;
}

/** @param kept characters that are not escaped; default: none */
export function escapeUnsafe(text: string, kept = ''): string {
  if (!ANY_UNSAFE.test(text)) return text;
  return text.replaceAll(UNSAFE, (character) => (kept.includes(character) ? character : codeOf(character)));
}
