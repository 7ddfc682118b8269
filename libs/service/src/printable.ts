/**
 * Characters that a terminal obeys or does not show, written as their codes: what a tenant, a node or a person wrote must not move the cursor,
 * recolour or reorder text, hide a part of it, or look like another name.
 *
 * Place in the path: every log line (run.ts) and all that the `bailiff` command writes (apps/cli/src/text). Pure. Invariant: the result of `escapeUnsafe`
 * has no control or format character, no default-ignorable one (Hangul fillers, variation selectors, tags), no line or paragraph separator, no lone
 * surrogate and no blank Braille pattern.
 */

/** Cc, Cf, surrogates without a partner, line and paragraph separators, Default_Ignorable_Code_Point, U+2800. */
export const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{DI}\u2800]/gu;
const ANY_UNSAFE = new RegExp(UNSAFE.source, 'u');

/** `\u202e`; beyond the first plane two of them, as JSON writes it. */
export function codeOf(character: string): string {
  let code = '';
  for (let i = 0; i < character.length; i++) code += `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`;
  return code;
}

/** @param kept characters that stay as they are; default: none */
export function escapeUnsafe(text: string, kept = ''): string {
  if (!ANY_UNSAFE.test(text)) return text;
  return text.replaceAll(UNSAFE, (character) => (kept.includes(character) ? character : codeOf(character)));
}
