/** Parses the flags of one operation. Pure. */
import { isIP } from 'node:net';
import { CAPABILITIES } from '@bailiff/policy';
import {
  DRIFT_VALUES,
  FAMILY_NUMBERS,
  isAddressOperation,
  isPathOperation,
  KERNEL_VALUES,
  MOUNT_VALUES,
  OPERATIONS,
  type Operation,
  type OperationName,
  PROTOCOL_NUMBERS,
  socketValue,
  type TaskFacts,
  TYPE_NUMBERS,
} from '@bailiff/runtime';
import { oneOf, wholeNumber } from '../../shared/arguments.ts';
import { CliError } from '../../shared/errors.ts';

export interface OperationFlags {
  operation?: string;
  path?: string;
  abstract?: string;
  address?: string;
  port?: string;
  protocol?: string;
  value?: string;
  /** The program, then its ancestors. */
  executable?: string[];
}

const OPERATION_FLAGS = ['path', 'abstract', 'address', 'port', 'protocol', 'value', 'executable'] as const;
const needs = (op: string, flag: string, example: string) =>
  new CliError('CLI_USAGE', `--operation ${op} needs ${flag}`, { remedy: `such as --operation ${op} ${example}` });

/** `connect` with a path is `unix-connect`; policies call executable mappings `map`. */
function operationName(text: string, flags: OperationFlags): OperationName {
  const onName = flags.path !== undefined || flags.abstract !== undefined;
  if (onName && ['connect', 'send', 'bind'].includes(text)) return `unix-${text}` as OperationName;
  return text === 'map' ? 'map-execute' : oneOf(text, OPERATIONS, '--operation');
}

function number(words: Readonly<Record<string, number>>, text: string, what: string, flag: string): number {
  const known = Object.hasOwn(words, text) ? words[text] : undefined;
  if (known !== undefined) return known;
  if (/^\d{1,5}$/.test(text) && Number(text) < 0xffff) return Number(text);
  throw new CliError('CLI_USAGE', `${flag}: "${text}" is not a known ${what}`, {
    remedy: `use one of ${Object.keys(words).join(', ')}, or a number`,
  });
}

/** `inet/raw/icmp`. The protocol defaults to 0, the family's default. */
function parseSocket(text: string): bigint {
  const [family = '', type, protocol = '0', ...rest] = text.split('/');
  if (type === undefined || rest.length > 0)
    throw needs('socket', '--value family/type[/protocol]', '--value inet/raw/icmp');
  return socketValue(
    number(FAMILY_NUMBERS, family, 'family', '--value'),
    number(TYPE_NUMBERS, type, 'type', '--value'),
    number(PROTOCOL_NUMBERS, protocol, 'protocol', '--value'),
  );
}

function parseValue(op: OperationName, text: string): bigint {
  if (op === 'socket') return parseSocket(text);
  const words: Partial<Record<OperationName, readonly string[]>> = {
    capability: CAPABILITIES,
    mount: MOUNT_VALUES,
    kernel: KERNEL_VALUES,
    drift: DRIFT_VALUES,
  };
  const list = words[op] ?? [];
  const word = op === 'capability' ? text.toLowerCase().replace(/^cap_/, '') : text;
  return BigInt(list.indexOf(oneOf(word, list, '--value')));
}

function pathOperation(op: OperationName, { path, abstract }: OperationFlags): Operation {
  if (abstract !== undefined) {
    if (!op.startsWith('unix-')) throw new CliError('CLI_USAGE', `--abstract is for unix sockets, not for ${op}`);
    return { kind: 'abstract', op, name: abstract.replace(/^@/, '') };
  }
  if (path === undefined) throw needs(op, '--path', '--path /etc/shadow');
  if (!path.startsWith('/')) throw new CliError('CLI_USAGE', `--path: "${path}" does not start with "/"`);
  return { kind: 'path', op, path };
}

function addressOperation(op: OperationName, { address, port, protocol }: OperationFlags): Operation {
  if (address === undefined) throw needs(op, '--address', '--address 169.254.169.254 --port 80');
  if (isIP(address) === 0) throw new CliError('CLI_USAGE', `--address: "${address}" is not an IP address`);
  return {
    kind: 'address',
    op,
    address,
    port: port === undefined ? 0 : wholeNumber(port, '--port', 0, 65535),
    protocol: number(PROTOCOL_NUMBERS, protocol ?? 'tcp', 'protocol', '--protocol'),
  };
}

/** Null without --operation. @throws CliError CLI_USAGE */
export function parseOperation(flags: OperationFlags): { operation: Operation; task: TaskFacts } | null {
  const { operation: text, value, executable = [] } = flags;
  if (text === undefined) {
    const flag = OPERATION_FLAGS.find((name) => flags[name] !== undefined);
    if (flag) throw new CliError('CLI_USAGE', `--${flag} needs an operation`, { remedy: 'pass --operation' });
    return null;
  }
  const op = operationName(text, flags);
  const task = { chain: executable, cut: false };
  if (isPathOperation(op)) return { operation: pathOperation(op, flags), task };
  if (isAddressOperation(op)) return { operation: addressOperation(op, flags), task };
  if (value === undefined) throw needs(op, '--value', op === 'socket' ? '--value inet/raw/icmp' : '--value <name>');
  return { operation: { kind: 'value', op, value: parseValue(op, value) }, task };
}
