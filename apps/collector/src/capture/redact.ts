/**
 * Arguments without what looks like a secret. Pure. Names are believed, values are not understood: a password that stands alone, or
 * glued to a short option, is told. Who cannot have that asks for no arguments.
 */

/** What a secret is called, in the name of an option, a variable or a header. */
const NAME =
  '[\\w.-]*(?:pass(?:w(?:or)?d|phrase)?|pwd|secret|token|credential|api-?_?key|private-?_?key|auth|bearer|cookie)[\\w.-]*';
const HIDDEN = '***';

const SECRET_OPTION = new RegExp(`^-{1,2}${NAME}$`, 'i');
/** `name=value` and `name: value`, in an argument or within a line of shell. */
const ASSIGNED = new RegExp(
  `(${NAME}["']?\\s*(?:=|:\\s)\\s*)(?:Bearer\\s+|Basic\\s+)?(?:"[^"]*"|'[^']*'|[^\\s"'&;]+)`,
  'gi',
);
/** The user's part of a URL. */
const USER_INFO = /(\b[a-z][a-z0-9+.-]*:\/\/)[^/@\s]+@/gi;

/** The same number of arguments. */
export function redact(args: readonly string[]): string[] {
  return args.map((text, index) => {
    const before = args[index - 1];
    if (before !== undefined && SECRET_OPTION.test(before) && !text.startsWith('-')) return HIDDEN;
    return text.replace(USER_INFO, `$1${HIDDEN}@`).replace(ASSIGNED, `$1${HIDDEN}`);
  });
}
