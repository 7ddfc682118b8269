/**
 * The command line of a service: `--natsUrl`-like keys are written `--nats-url`, a nested key `--sampling.burst`. Pure.
 * Values stay text here; `config.ts` turns them into what the schema wants.
 */
import { ServiceError } from './errors.ts';

export interface ParsedFlags {
  help: boolean;
  version: boolean;
  checkConfig: boolean;
  printConfig: boolean;
  /** Path given by --config. */
  configFile: string | null;
  /** Dotted camelCase path to text; `true`/`false` for a flag without a value. */
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

const OWN: Record<string, 'help' | 'version' | 'checkConfig' | 'printConfig'> = {
  help: 'help',
  version: 'version',
  'check-config': 'checkConfig',
  'print-config': 'printConfig',
};

/**
 * Reads argv (without node and script). A flag takes the next word as its value unless it is written `--flag=value`, or
 * unless `isBoolean(path)` says it needs none (`--no-<flag>` is then false). A flag given twice: the last one holds.
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
    const own = OWN[flag];
    if (own && inline === null) result[own] = true;
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
