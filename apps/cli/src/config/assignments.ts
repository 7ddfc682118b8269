/** Values of the configuration as they are given: a file of JSON or YAML, stdin, or single fields. Pure but for the reading. */
import { CliError } from '../shared/errors.ts';

export interface Assignment {
  path: string[];
  /** Undefined: the field is taken out. */
  value: unknown;
}

const PATH = /^[A-Za-z0-9][-A-Za-z0-9_]*(\.[A-Za-z0-9][-A-Za-z0-9_]*)*$/;

/** `modes.tunnel=audit`, `condition.gte=20`, `match.levels=["high"]`, `modes.tunnel-` (takes it out). @throws CliError CLI_USAGE */
export function parseAssignment(text: string): Assignment {
  const at = text.indexOf('=');
  const removal = at < 0 && text.endsWith('-');
  const path = removal ? text.slice(0, -1) : text.slice(0, Math.max(0, at));
  if (!PATH.test(path)) {
    throw new CliError('CLI_USAGE', `"${text}" is not a field and its value`, {
      remedy: 'write field=value, such as modes.tunnel=audit; a value is JSON or plain text; field- takes one out',
    });
  }
  return { path: path.split('.'), value: removal ? undefined : parseValue(text.slice(at + 1)) };
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON: it is the text itself, as it is meant to be written.
    return text;
  }
}

/** A copy with the fields set. @throws CliError CLI_USAGE when a field lies within something that has none */
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
          remedy: 'set it whole, as JSON, or use a file (-f)',
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
