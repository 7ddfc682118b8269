/**
 * Removes secrets from text that leaves the cluster. Pure. The bundle reads no Secret, but a log or a
 * configuration may contain one.
 */

const REDACTED = '[redacted]';

const SECRETS: readonly (readonly [RegExp, string])[] = [
  [/-{5}BEGIN [A-Z ]*PRIVATE KEY-{5}[\s\S]*?(-{5}END [A-Z ]*PRIVATE KEY-{5}|$)/g, REDACTED],
  // Signed tokens: three parts of base64url, the first of which begins with {"
  [/\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*/g, REDACTED],
  // Seeds of NATS keys.
  [/\bS[UAOXCNP][A-Z2-7]{56}\b/g, REDACTED],
  [/(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@"']+@/gi, `$1${REDACTED}@`],
  [/\b((?:bearer|basic)\s+)[\w+/=.~-]{8,}/gi, `$1${REDACTED}`],
  [
    /((?:password|passwd|secret|token|api[-_]?key|authorization|credential)s?\\?["']?\s*[:=]\s*\\?["']?)[^\s"',}\\]+/gi,
    `$1${REDACTED}`,
  ],
];

export const redact = (text: string): string =>
  SECRETS.reduce((left, [pattern, replacement]) => left.replace(pattern, replacement), text);
