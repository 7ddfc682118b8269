/**
 * Flags of the lab's and the demo's command lines. Pure. `parseArgs` runs in non-strict mode and
 * errors are worded here, because Node's own messages describe its API instead of the command.
 */
import { parseArgs } from 'node:util';
import { LabError } from '../errors.ts';

export type FlagTable = Readonly<Record<string, { readonly type: 'string' | 'boolean'; readonly short?: string }>>;
export type FlagValues<T extends FlagTable> = {
  [K in keyof T]?: T[K]['type'] extends 'string' ? string : boolean;
};

/** @param command name in the hint of an error, such as `bailiff lab` @throws LabError LAB_USAGE */
export function parseFlags<T extends FlagTable>(
  argv: readonly string[],
  table: T,
  command: string,
): { values: FlagValues<T>; positionals: string[] } {
  const { tokens } = parseArgs({
    args: [...argv],
    options: table,
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const values: Record<string, string | boolean> = {};
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const type = Object.hasOwn(table, token.name) ? table[token.name]?.type : undefined;
    if (type === undefined) throw wrongUse(`there is no flag ${token.rawName}`, command);
    const missing = token.value === undefined || (!token.inlineValue && token.value.startsWith('-'));
    if (type === 'string' && missing) throw wrongUse(`${token.rawName} needs a value`, command);
    if (type === 'boolean' && token.value !== undefined) throw wrongUse(`${token.rawName} takes no value`, command);
    values[token.name] = token.value ?? true;
  }
  return { values: values as FlagValues<T>, positionals };
}

/** A usage error with the command that shows the help. */
export const wrongUse = (message: string, command: string) =>
  new LabError('LAB_USAGE', `${message}\n(see ${command} --help)`);
