/** Field assignments of `config set`: parses `field=value` and applies it to a value. Pure. */
import { CliError } from '../errors.ts';

export interface Assignment {
  path: string[];
  /** Undefined removes the field. */
  value: unknown;
}

const PATH = /^[A-Za-z0-9][-A-Za-z0-9_]*(\.[A-Za-z0-9][-A-Za-z0-9_]*)*$/;

/**
 * `modes.tunnel=audit`, `condition.gte=20`, `match.levels=["high"]`, or `modes.tunnel-` to remove.
 * @throws CliError CLI_USAGE
 */
export function parseAssignment(text: string): Assignment {
  const at = text.indexOf('=');
  const removal = at < 0 && text.endsWith('-');
  const path = removal ? text.slice(0, -1) : text.slice(0, Math.max(0, at));
  if (!PATH.test(path)) {
    throw new CliError('CLI_USAGE', `"${text}" is not an assignment`, {
      remedy: 'use field=value, such as modes.tunnel=audit; a value is JSON or plain text; field- removes a field',
    });
  }
  return { path: path.split('.'), value: removal ? undefined : parseValue(text.slice(at + 1)) };
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Anything that is not JSON is plain text.
    return text;
  }
}

/**
 * Applies the assignments to a copy. @throws CliError CLI_USAGE if a parent of a field is a scalar
 * or a list
 */
export function assign(base: Record<string, unknown>, assignments: readonly Assignment[]): Record<string, unknown> {
  const result = structuredClone(base);
  for (const { path, value } of assignments) {
    let at: Record<string, unknown> = result;
    for (const name of path.slice(0, -1)) {
      if (!Object.hasOwn(at, name)) {
        if (value === undefined) break;
        at[name] = {};
      }
      const next = at[name];
      if (typeof next !== 'object' || next === null || Array.isArray(next)) {
        throw new CliError('CLI_USAGE', `${path.join('.')}: "${name}" has no fields`, {
          remedy: 'set the whole field as JSON, or use a file (-f)',
        });
      }
      at = next as Record<string, unknown>;
    }
    const last = path.at(-1) as string;
    if (value === undefined) delete at[last];
    else at[last] = value;
  }
  return result;
}
