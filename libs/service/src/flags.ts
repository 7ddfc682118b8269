/**
 * Parses the command line of a service. A key like `natsUrl` is written `--nats-url`, a nested key
 * `--sampling.burst`. Pure. Values stay text; `config.ts` converts them by the schema.
 */
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
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] as string;
    if (word === '-h') {
      result.help = true;
      continue;
    }
    if (!word.startsWith('--') || word === '--') throw badFlags(`"${word}" is not a flag`);
    const equals = word.indexOf('=');
    const flag = equals < 0 ? word.slice(2) : word.slice(2, equals);
    const inline = equals < 0 ? null : word.slice(equals + 1);
    const next = () => {
      const value = inline ?? argv[++i];
      if (value === undefined) throw badFlags(`--${flag} needs a value`);
      return value;
    };
    const common = COMMON[flag];
    if (common && inline === null) result[common] = true;
    else if (flag === 'config') result.configFile = next();
    else setValue(result.values, flag, inline, next, known);
  }
  return result;
}

function setValue(
  values: Map<string, string>,
  flag: string,
  inline: string | null,
  next: () => string,
  known: ReadonlyMap<string, { boolean: boolean }>,
): void {
  const path = pathOfFlag(flag);
  const entry = flagName(path) === flag ? known.get(path) : undefined;
  if (entry) {
    values.set(path, entry.boolean && inline === null ? 'true' : next());
    return;
  }
  const negated = flag.startsWith('no-') ? pathOfFlag(flag.slice(3)) : '';
  if (inline === null && known.get(negated)?.boolean) values.set(negated, 'false');
  else throw badFlags(`unknown flag --${flag}`);
}

function badFlags(message: string): ServiceError {
  return new ServiceError('SERVICE_BAD_FLAGS', message);
}
