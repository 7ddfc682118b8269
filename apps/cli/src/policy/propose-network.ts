/** Addresses and sockets that a pod used → rules. Pure. Addresses become CIDRs of their own, or a network where many of it were used. */
import { isIP } from 'node:net';
import { PROTOCOL_NAMES, SOCKET_FAMILIES, SOCKET_TYPES } from '@bailiff/policy';
import { PROTOCOL_NUMBERS } from '@bailiff/runtime';
import { allRule, type Learned, type ProposedRule, programOf, type RuleInput, saidOf } from './propose.ts';

interface Entry {
  op: string;
  subject: string;
  learned: Learned[];
  times: number;
}

/** Addresses of one /24 (/64) that are named one by one; more are named as their network. */
const MANY_ADDRESSES = 8;
/** As Linux gives them out (ip_local_port_range); what is seen there differs each time. */
const EPHEMERAL = { first: 32768, last: 60999 };
/** What a rule takes. */
const MAX_CIDRS = 256;

const hostCidr = (address: string) => `${address}/${isIP(address) === 4 ? 32 : 128}`;

/** The /24 or /64 of an address. */
function networkOf(address: string): string {
  if (isIP(address) === 4) return `${address.split('.').slice(0, 3).join('.')}.0/24`;
  const [head = '', tail = ''] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === '' ? [] : tail.split(':');
  const groups = address.includes('::')
    ? [...left, ...new Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right]
    : left;
  return `${groups.slice(0, 4).join(':')}::/64`;
}

/** Addresses as CIDRs; with a note where they were widened. */
export function cidrsOf(addresses: readonly string[]): { cidr: string; of: string[]; note: string }[] {
  const networks = new Map<string, string[]>();
  for (const address of [...new Set(addresses)].sort()) {
    const network = networkOf(address);
    networks.set(network, [...(networks.get(network) ?? []), address]);
  }
  return [...networks].flatMap(([network, of]) =>
    of.length > MANY_ADDRESSES
      ? [{ cidr: network, of, note: `${of.length} addresses of it were used` }]
      : of.map((address) => ({ cidr: hostCidr(address), of: [address], note: '' })),
  );
}

const isEphemeral = (port: number) => port >= EPHEMERAL.first && port <= EPHEMERAL.last;
const portText = (port: number) => (isEphemeral(port) ? 'ephemeral' : String(port));

function protocolWord(protocol: number): string | number {
  const word = Object.keys(PROTOCOL_NUMBERS).find((name) => PROTOCOL_NUMBERS[name] === protocol);
  return word !== undefined && (PROTOCOL_NAMES as readonly string[]).includes(word) ? word : protocol;
}

/** A rule for each operation, protocol and port. */
export function networkRules(entries: readonly Entry[]): ProposedRule[] {
  const groups = new Map<string, Entry[]>();
  for (const entry of entries) {
    const { address, port, protocol } = entry.learned[0]?.operation ?? { address: '', port: 0, protocol: 0 };
    if (isIP(address) === 0) continue;
    const key = [entry.op, String(protocolWord(protocol)), portText(port)].join('-');
    groups.set(key, [...(groups.get(key) ?? []), entry]);
  }
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([name, of]) => networkRule(name, of));
}

function networkRule(name: string, entries: readonly Entry[]): ProposedRule[] {
  const [{ port = 0, protocol = 0 } = {}] = entries.map(({ learned }) => learned[0]?.operation ?? {});
  const cidrs = cidrsOf(entries.map(({ learned }) => learned[0]?.operation.address ?? ''));
  const rules: ProposedRule[] = [];
  for (let at = 0; at < cidrs.length; at += MAX_CIDRS) {
    const part = cidrs.slice(at, at + MAX_CIDRS);
    const network = {
      operations: [entries[0]?.op],
      cidrs: part.map(({ cidr }) => cidr),
      ports: [isEphemeral(port) ? `${EPHEMERAL.first}-${EPHEMERAL.last}` : port],
      ...(protocol === 0 ? {} : { protocols: [protocolWord(protocol)] }),
    };
    const rule = allRule(at === 0 ? name : `${name}-${at / MAX_CIDRS + 1}`, { network } as Partial<RuleInput>, entries);
    rule.comments.length = 0;
    if (isEphemeral(port)) rule.comments.push('ports that are given out at random');
    for (const { cidr, of, note } of part) {
      const mine = entries.filter(({ learned }) => of.includes(learned[0]?.operation.address ?? ''));
      const times = mine.reduce((sum, entry) => sum + entry.times, 0);
      const programs = mine.flatMap(({ learned }) => learned.map((one) => programOf(one.operation)));
      rule.beside.set(cidr, [saidOf(times, programs), note].filter(Boolean).join('; '));
    }
    rules.push(rule);
  }
  return rules;
}

/** `inet/stream/0` → a rule for its family and type. */
export function socketRules(entries: readonly Entry[], left: string[]): ProposedRule[] {
  const groups = new Map<
    string,
    { family: string | number; type: string; protocols: Set<string | number>; of: Entry[] }
  >();
  for (const entry of entries) {
    const [family = '', type = '', protocol = '0'] = entry.subject.split('/');
    const known = (SOCKET_FAMILIES as readonly string[]).includes(family) || /^\d{1,3}$/.test(family);
    if (!known || !(SOCKET_TYPES as readonly string[]).includes(type)) {
      left.push(`socket ${entry.subject} (${entry.times}): not known`);
      continue;
    }
    const key = `socket-${family}-${type}`;
    const group = groups.get(key) ?? {
      family: /^\d+$/.test(family) ? Number(family) : family,
      type,
      protocols: new Set(),
      of: [],
    };
    group.protocols.add(/^\d+$/.test(protocol) ? Number(protocol) : protocol);
    group.of.push(entry);
    groups.set(key, group);
  }
  return [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { family, type, protocols, of }]) => {
      const socket = { families: [family], types: [type], protocols: [...protocols].slice(0, 16) };
      const rule = allRule(name, { socket } as Partial<RuleInput>, of);
      if (['raw', 'packet'].includes(type) || family === 'packet') {
        rule.comments.push('REVIEW: such sockets send packets in any name');
      }
      return rule;
    });
}
