/**
 * Redacts arguments that look like secrets. Pure. It recognizes names, not values: a password
 * without a name, or attached to a short option, is not redacted. Operators who cannot accept that
 * request captures without arguments. Each pattern takes linear time: the pod chooses the text.
 */

/** What names of options, variables and headers have that contain secrets. */
const TELLING =
  '(?:pass(?:w(?:or)?d|phrase)?|pwd|secret|token|credential|api-?_?key|private-?_?key|auth|bearer|cookie)';
const HIDDEN = '***';

const TELLING_NAME = new RegExp(TELLING, 'i');
const OPTION = /^-[\w.-]+$/;
/** `name=value` and `name: value`, in an argument or in a shell command. A name is looked at from its start only. */
const ASSIGNED = new RegExp(
  `((?<![\\w.-])(?=[\\w.-]*${TELLING})[\\w.-]+["']?\\s*(?:=|:\\s)\\s*)(?:Bearer\\s+|Basic\\s+)?(?:"[^"]*"|'[^']*'|[^\\s"'&;]+)`,
  'gi',
);
/** The user part of a URL. */
const USER_INFO = /((?<![a-z0-9+.-])[a-z0-9+.-]+:\/\/)[^/@\s]+@/gi;

/** @returns the same number of arguments */
export function redact(args: readonly string[]): string[] {
  return args.map((text, index) => {
    const before = args[index - 1];
    if (before !== undefined && isSecretOption(before) && !text.startsWith('-')) return HIDDEN;
    return text.replace(USER_INFO, `$1${HIDDEN}@`).replace(ASSIGNED, `$1${HIDDEN}`);
  });
}

const isSecretOption = (text: string): boolean => OPTION.test(text) && TELLING_NAME.test(text);
