/**
 * Removes secrets from what leaves the cluster. Pure. The bundle reads no Secret; this is for what a
 * log or a configuration may repeat.
 *
 * Objects and JSON lines lose the values of fields with telling names, whole. Other text loses what
 * has the form of a secret. Each pattern takes linear time: pods of others choose parts of a log.
 */

const REDACTED = '[redacted]';
/** Deeper values are removed. */
const MAX_DEPTH = 64;

const WORDS =
  '(?:password|passwd|passphrase|pwd|secret|token|(?:api|access|private|secret)[-_]?key|authorization|credential|cookie)(?:s|[-_]?hash)?|(?<![a-z])(?:pass|sig|signature)';
const SECRET_FIELD = new RegExp(`(?:${WORDS})$`, 'i');
/** In quotes of either kind, in escaped quotes, a block of YAML, a list or object, or up to a space. */
const VALUE = String.raw`(?:\\+"(?:[^\\\n\r\u2028\u2029]|\\+(?!["\\]))*(?:\\+")?|"(?:\\.|[^"\\])*"?|'[^']*'?|[|>][+-]?\s+.*|[[{].*|\S+)`;

const KEY_BLOCK = /-{5}BEGIN [A-Z ]{0,40}PRIVATE KEY-{5}[\s\S]*?(?:-{5}END [A-Z ]{0,40}PRIVATE KEY-{5}|$)/g;
/** A log whose first lines are the rest of a key. */
const KEY_REST = /^(?:[\w+/=]{1,76}\r?\n){1,100}-{5}END [A-Z ]{0,40}PRIVATE KEY-{5}/;

const SECRETS: readonly (readonly [RegExp, string])[] = [
  [KEY_BLOCK, REDACTED],
  [KEY_REST, REDACTED],
  // PEM in base64, as in Secrets and kubeconfigs.
  [/LS0tLS1CRUdJTi[\w+/=-]*/g, REDACTED],
  // Signed tokens: three parts of base64url, the first of which begins with {"
  [/(?:(?<![\w-])|(?<=\\[nrt]))eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?/g, REDACTED],
  // Seeds of NATS keys, and hashes of passwords in the configuration of a server.
  [/(?<![A-Z2-7])S[UAOXCNP][A-Z2-7]{56}(?![A-Z2-7])/g, REDACTED],
  [/\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}/g, REDACTED],
  // A password may have any character, so up to the last @.
  [/((?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,31}:\/\/)[^\s"'<>]{0,512}@/gi, `$1${REDACTED}@`],
  [/\b((?:authorization|cookie)\\*["']?\s*[:=]).*/gi, `$1 ${REDACTED}`],
  [/\b((?:bearer|basic)\s+)[\w+/=.~-]{8,}/gi, `$1${REDACTED}`],
  [new RegExp(`(--[a-z-]{0,32}(?:${WORDS})\\s+)${VALUE}`, 'gi'), `$1${REDACTED}`],
  [new RegExp(`((?:${WORDS})\\\\*["']?\\s*(?:=>|[:=])\\s*)${VALUE}`, 'gi'), `$1${REDACTED}`],
];

const withoutSecrets = (text: string): string =>
  SECRETS.reduce((left, [pattern, replacement]) => left.replace(pattern, replacement), text);

/** A copy of a JSON value. Numbers, booleans and null are no secrets. */
export function redactValue(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return withoutSecrets(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth > MAX_DEPTH) return REDACTED;
  if (Array.isArray(value)) return value.map((one) => redactValue(one, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => {
      const isSecret = SECRET_FIELD.test(name) && (typeof field === 'string' || typeof field === 'object');
      const isNone = field === null || field === '';
      return [name, isSecret && !isNone ? REDACTED : redactValue(field, depth + 1)];
    }),
  );
}

/** Null if the line is not JSON, such as one that was cut. */
function redactedObject(line: string): string | null {
  if (!line.startsWith('{')) return null;
  try {
    return JSON.stringify(redactValue(JSON.parse(line)));
  } catch {
    return null;
  }
}

/** A log. */
export function redact(text: string): string {
  const parts: string[] = [];
  let plain: string[] = [];
  const endPlain = () => {
    if (plain.length > 0) parts.push(withoutSecrets(plain.join('\n')));
    plain = [];
  };
  for (const line of text.split('\n')) {
    const object = redactedObject(line);
    if (object === null) plain.push(line);
    else {
      endPlain();
      parts.push(object);
    }
  }
  endPlain();
  return parts.join('\n');
}
