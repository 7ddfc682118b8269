/**
 * Redacts arguments that look like secrets. Pure. It recognizes names, not values: a password
 * without a name, or attached to a short option, is not redacted. Operators who cannot accept that
 * request captures without arguments.
 */

/** Names of options, variables and headers that contain secrets. */
const NAME =
  '[\\w.-]*(?:pass(?:w(?:or)?d|phrase)?|pwd|secret|token|credential|api-?_?key|private-?_?key|auth|bearer|cookie)[\\w.-]*';
const HIDDEN = '***';

const SECRET_OPTION = new RegExp(`^-{1,2}${NAME}$`, 'i');
/** `name=value` and `name: value`, in an argument or in a shell command. */
const ASSIGNED = new RegExp(
  `(${NAME}["']?\\s*(?:=|:\\s)\\s*)(?:Bearer\\s+|Basic\\s+)?(?:"[^"]*"|'[^']*'|[^\\s"'&;]+)`,
  'gi',
);
/** The user part of a URL. */
const USER_INFO = /(\b[a-z][a-z0-9+.-]*:\/\/)[^/@\s]+@/gi;

/** @returns the same number of arguments */
export function redact(args: readonly string[]): string[] {
  return args.map((text, index) => {
    const before = args[index - 1];
    if (before !== undefined && SECRET_OPTION.test(before) && !text.startsWith('-')) return HIDDEN;
    return text.replace(USER_INFO, `$1${HIDDEN}@`).replace(ASSIGNED, `$1${HIDDEN}`);
  });
}
