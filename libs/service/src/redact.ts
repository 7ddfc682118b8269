/**
 * Redacts secrets in a printed configuration. Secrets are file paths by rule; this covers mistakes.
 * Pure.
 */

const SECRET_KEY = /(password|passwd|secret|token|credential|apikey|privatekey)$/i;
const HIDDEN = '[redacted]';

/**
 * Returns a copy with redacted values of secret-like keys and redacted passwords in URLs. File
 * paths (`…File`) stay.
 */
export function redact(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) return value.map((item) => redact(item, key));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, redact(item, name)]));
  }
  if (SECRET_KEY.test(key) && value !== '' && value !== undefined && value !== null) return HIDDEN;
  if (typeof value === 'string') return value.replaceAll(/([a-z][a-z0-9+.-]*:\/\/)[^/@\s,]*@/gi, `$1${HIDDEN}@`);
  return value;
}
