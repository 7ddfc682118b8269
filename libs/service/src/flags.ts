/**
 * Parses the command line of a service. A key like `natsUrl` is written `--nats-url`, a nested key
 * `--sampling.burst`. Pure. Values stay text; `config.ts` converts them by the schema.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { ServiceError } from './errors.ts';

export interface ParsedFlags {
  help: boolean;
  version: boolean;
  checkConfig: boolean;
  printConfig: boolean;
  /** Value of --config. */
  configFile: string | null;
  /** Values by dotted camelCase path; `true`/`false` for a flag without a value. */
  values: Map<string, string>;
}

/** `natsUrl` → `nats-url`, `a.bigThing` → `a.big-thing`. */
export function flagName(path: string): string {
  return path.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
/** `nats-url` → `natsUrl`. */
export function pathOfFlag(flag: string): string {
  return flag.replaceAll(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Flags of every service that are not configuration keys. */
const COMMON: Record<string, 'help' | 'version' | 'checkConfig' | 'printConfig'> = {
  help: 'help',
  version: 'version',
  'check-config': 'checkConfig',
  'print-config': 'printConfig',
};

/**
 * Parses argv (without node and script). The value of a flag is the next word, or follows `=`. A
 * boolean flag without `=` is true, and `--no-<flag>` is false. The last of several values applies.
 * @throws ServiceError SERVICE_BAD_FLAGS for an unknown flag, a missing value, or a stray word
 */
export function parseFlags(argv: readonly string[], known: ReadonlyMap<string, { boolean: boolean }>): ParsedFlags {
  const result: ParsedFlags = {
    help: false,
    version: false,
    checkConfig: false,
    printConfig: false,
    configFile: null,
    values: new Map(),
  };
  const kinds = [...known].map(([path, { boolean }]) => [flagName(path), boolean] as const);
  const options = Object.fromEntries(
    [...kinds, ['config', false] as const].map(([flag, boolean]) => [flag, { type: boolean ? 'boolean' : 'string' }]),
  ) as NonNullable<ParseArgsConfig['options']>;
  for (const token of parseArgs({ args: [...argv], options, strict: false, tokens: true }).tokens) {
    const word = argv[token.index] as string;
    if (word === '-h') result.help = true;
    else if (token.kind !== 'option' || !word.startsWith('--')) throw badFlags(`"${word}" is not a flag`);
    else {
      const common = COMMON[token.name];
      if (common && token.value === undefined) result[common] = true;
      else if (token.name === 'config') result.configFile = needed(token);
      else setValue(result.values, token, known);
    }
  }
  return result;
}

interface Flag {
  name: string;
  /** Undefined: the last word, or a boolean flag without `=`. */
  value?: string | undefined;
}

function needed({ name, value }: Flag): string {
  if (value === undefined) throw badFlags(`--${name} needs a value`);
  return value;
}

function setValue(values: Map<string, string>, flag: Flag, known: ReadonlyMap<string, { boolean: boolean }>): void {
  const { name, value } = flag;
  const path = pathOfFlag(name);
  const entry = flagName(path) === name ? known.get(path) : undefined;
  const negated = name.startsWith('no-') ? pathOfFlag(name.slice(3)) : '';
  if (entry) values.set(path, entry.boolean ? (value ?? 'true') : needed(flag));
  else if (value === undefined && known.get(negated)?.boolean) values.set(negated, 'false');
  else throw badFlags(`unknown flag --${name}`);
}

function badFlags(message: string): ServiceError {
  return new ServiceError('SERVICE_BAD_FLAGS', message);
}
