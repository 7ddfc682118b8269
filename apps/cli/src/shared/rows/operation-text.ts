/** Operations that runtime policies judged, in words: what was done to what, by which program, and what came of it. Pure. */
import type { Evidence, OperationSample, Violation } from '@bailiff/schemas';
import type { Style } from '../text/paint.ts';

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

/** `10.1.0.5:53`, `[fd00::1]:53`; without a port the address alone. */
export function endpoint(address: string, port: number): string {
  if (port === 0) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** `udp`; empty for none. */
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

/** `/bin/sh -c id, uid 0, from /usr/bin/node`: who did it, and who started that. */
export function programText({ executable, comm, uid, parentExecutable, arguments: args = [] }: Program): string {
  const program = [executable || comm || '?', ...args.slice(1)].join(' ');
  return [program, `uid ${uid}`, ...(parentExecutable === '' ? [] : [`from ${parentExecutable}`])].join(', ');
}

/** What the process of a piece of evidence did, where the violation itself is gone; empty when none is named. */
export function evidenceText({ process }: Evidence): { did: string; program: string } {
  if (!process) return { did: '', program: '' };
  const { operation, subject } = process;
  return { did: [operation, subject].filter(Boolean).join(' '), program: programText(process) };
}

/** What came of it: `drop` and `audit` of packets; of operations `block`, `kill` and `audit`, or `denied` when none was sampled. */
export function outcomeOf({ kind, action, operation }: Violation): { text: string; style: Style } {
  if (kind === 'spoof') return { text: action, style: action === 'drop' ? 'red' : 'yellow' };
  const text = operation?.outcome ?? (action === 'drop' ? 'denied' : 'audit');
  return { text, style: text === 'audit' ? 'yellow' : 'red' };
}
