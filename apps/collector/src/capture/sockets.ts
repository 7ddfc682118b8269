/**
 * Parses the sockets of a network namespace from the files of /proc/<pid>/net. Pure. Lines that
 * cannot be parsed are omitted.
 */
import { formatAddress } from '@bailiff/bpf';

export const NET_FILES = ['tcp', 'tcp6', 'udp', 'udp6', 'raw', 'raw6', 'packet', 'unix'] as const;
export type NetFile = (typeof NET_FILES)[number];

export interface NetSocket {
  protocol: string;
  local: string;
  remote: string;
  state: string;
  inode: number;
}

/** include/net/tcp_states.h, from 1. */
const STATES = [
  ...['established', 'syn-sent', 'syn-received', 'fin-wait-1', 'fin-wait-2', 'time-wait', 'closed', 'close-wait'],
  ...['last-ack', 'listen', 'closing', 'new-syn-received'],
];
/** include/uapi/linux/net.h, for unix sockets. */
const UNIX_STATES: Readonly<Record<string, string>> = { '01': 'unconnected', '03': 'connected' };
const UNIX_LISTENS = 0x10000;

/**
 * `0100007F:1F90` → `127.0.0.1:8080`: 32-bit words in host order (little endian), the port as a
 * number.
 */
function endpoint(text: string): { address: string; port: number } | null {
  const match = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(text);
  if (!match) return null;
  const words = Buffer.from(match[1] as string, 'hex');
  for (let at = 0; at < words.length; at += 4) words.subarray(at, at + 4).reverse();
  const bytes = words.length === 16 ? words : Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), words]);
  return { address: formatAddress(bytes), port: Number.parseInt(match[2] as string, 16) };
}

const format = ({ address, port }: { address: string; port: number }): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
const isAny = ({ address, port }: { address: string; port: number }): boolean =>
  port === 0 && (address === '0.0.0.0' || address === '::');

function internet(protocol: string, fields: readonly string[]): NetSocket | null {
  const [local, remote] = [endpoint(fields[1] ?? ''), endpoint(fields[2] ?? '')];
  if (!local || !remote) return null;
  const state = STATES[Number.parseInt(fields[3] ?? '', 16) - 1] ?? '';
  return {
    protocol,
    local: format(local),
    remote: isAny(remote) ? '' : format(remote),
    // For udp and raw sockets, `closed` only means that they have no peer.
    state: protocol === 'tcp' || state === 'established' ? state : '',
    inode: Number(fields[9]),
  };
}

function unix(line: string): NetSocket | null {
  const match = /^\S+ \S+ \S+ ([0-9A-F]{8}) \S+ ([0-9A-F]{2})\s+(\d+)(?: (.*))?$/.exec(line.trim());
  const name = match?.[4] ?? '';
  // Unnamed sockets are the ends of pairs, and the peers of named ones.
  if (!match || name === '') return null;
  const listens = (Number.parseInt(match[1] as string, 16) & UNIX_LISTENS) !== 0;
  const state = listens ? 'listen' : (UNIX_STATES[match[2] as string] ?? '');
  return { protocol: 'unix', local: name, remote: '', state, inode: Number(match[3]) };
}

function packet(fields: readonly string[]): NetSocket {
  return { protocol: 'packet', local: `ethertype 0x${fields[3]}`, remote: '', state: '', inode: Number(fields[8]) };
}

/** @param text content of /proc/<pid>/net/<file>, with its header line */
export function parseSockets(file: NetFile, text: string): NetSocket[] {
  const found = text
    .split('\n')
    .slice(1)
    .filter((line) => line.trim() !== '')
    .map((line) => {
      if (file === 'unix') return unix(line);
      const fields = line.trim().split(/\s+/);
      return file === 'packet' ? packet(fields) : internet(file.replace('6', ''), fields);
    });
  return found.filter((one): one is NetSocket => one !== null && Number.isSafeInteger(one.inode));
}
