/** Hides what must not be shown when a configuration is printed. Secrets are file paths by rule; this catches the rest. Pure. */

const SECRET_KEY = /(password|passwd|secret|token|credential|apikey|privatekey)$/i;
const HIDDEN = '[redacted]';

/** A copy in which values under secret-like keys, and passwords within URLs, are replaced. Paths (`…File`) are shown. */
export function redact(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) return value.map((item) => redact(item, key));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, redact(item, name)]));
  }
  if (SECRET_KEY.test(key) && value !== '' && value !== undefined && value !== null) return HIDDEN;
  if (typeof value === 'string') return value.replaceAll(/([a-z][a-z0-9+.-]*:\/\/)[^/@\s,]*@/gi, `$1${HIDDEN}@`);
  return value;
}
