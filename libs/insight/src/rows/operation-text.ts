/** Texts about operations that runtime policies judged: operation, program and outcome. Pure. */
import type { Evidence, OperationSample, Violation } from '@bailiff/schemas';

const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'icmp',
  4: 'ipip',
  6: 'tcp',
  17: 'udp',
  41: '6in4',
  47: 'gre',
  58: 'icmp6',
  132: 'sctp',
};

/** `10.1.0.5:53`, `[fd00::1]:53`; without a port, only the address. */
export function endpoint(address: string, port: number): string {
  if (port === 0) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** `udp`; empty for 0. */
export function protocolName(protocol: number): string {
  return PROTOCOLS[protocol] ?? (protocol === 0 ? '' : `proto ${protocol}`);
}

type Done = Pick<OperationSample, 'operation' | 'subject' | 'address' | 'port' | 'protocol'>;

/** `write /etc/passwd`, `connect 169.254.169.254:80 tcp`, `capability net_raw`. */
export function operationText({ operation, subject, address, port, protocol }: Done): string {
  const peer = address === '' ? '' : [endpoint(address, port), protocolName(protocol)].filter(Boolean).join(' ');
  return [operation, subject, peer].filter(Boolean).join(' ');
}

type Program = Pick<OperationSample, 'executable' | 'comm' | 'uid' | 'parentExecutable'> & { arguments?: string[] };

/** `/bin/sh -c id, uid 0, from /usr/bin/node`: the program and its parent. */
export function programText({ executable, comm, uid, parentExecutable, arguments: args = [] }: Program): string {
  const program = [executable || comm || '?', ...args.slice(1)].join(' ');
  return [program, `uid ${uid}`, ...(parentExecutable === '' ? [] : [`from ${parentExecutable}`])].join(', ');
}

/**
 * Operation and program from a verdict's evidence, for violations that are no longer stored; empty
 * without a process.
 */
export function evidenceText({ process }: Evidence): { did: string; program: string } {
  if (!process) return { did: '', program: '' };
  const { operation, subject } = process;
  return { did: [operation, subject].filter(Boolean).join(' '), program: programText(process) };
}

/**
 * `drop` or `audit` for packets. `block`, `kill` or `audit` for operations, or `denied` without a
 * sample.
 */
export function outcomeOf({ kind, action, operation }: Violation): { text: string; style: 'red' | 'yellow' } {
  if (kind === 'spoof') return { text: action, style: action === 'drop' ? 'red' : 'yellow' };
  const text = operation?.outcome ?? (action === 'drop' ? 'denied' : 'audit');
  return { text, style: text === 'audit' ? 'yellow' : 'red' };
}
