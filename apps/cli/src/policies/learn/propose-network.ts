/**
 * Turns observed addresses and sockets into rules. Pure. An address becomes a CIDR of its own, or a
 * network if many of its addresses were used.
 */
import { isIP } from 'node:net';
import { PROTOCOL_NAMES, SOCKET_FAMILIES, SOCKET_TYPES } from '@bailiff/policy';
import { PROTOCOL_NUMBERS } from '@bailiff/runtime';
import { allRule, chunks, type Entry, type ProposedRule, type RuleInput, usageOfEntries } from './rule-parts.ts';

/** Addresses of one /24 (/64) that are named individually. */
const MANY_ADDRESSES = 8;
/** Linux's ip_local_port_range. A few ports of it are services; many are ephemeral. */
const EPHEMERAL = { first: 32768, last: 60999 };
const MANY_PORTS = 4;
/** Limits of a rule's lists. */
const MAX_CIDRS = 256;
const MAX_PROTOCOLS = 16;

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

/** CIDRs for addresses, with a note where they were widened. */
export function cidrsOf(addresses: readonly string[]): { cidr: string; of: string[]; note: string }[] {
  const networks = new Map<string, string[]>();
  for (const address of [...new Set(addresses)].sort()) {
    const network = networkOf(address);
    networks.set(network, [...(networks.get(network) ?? []), address]);
  }
  return [...networks].flatMap(([network, of]) =>
    of.length > MANY_ADDRESSES
      ? [{ cidr: network, of, note: `${of.length} of its addresses were used` }]
      : of.map((address) => ({ cidr: hostCidr(address), of: [address], note: '' })),
  );
}

const isEphemeral = (port: number) => port >= EPHEMERAL.first && port <= EPHEMERAL.last;

/** IPv4-mapped addresses as IPv4, without a zone; null if it is not an address. */
function plainAddress(text: string): string | null {
  const address = text.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.)/i, '');
  return isIP(address) === 0 ? null : address;
}

interface Peer {
  address: string;
  port: number;
  protocol: number;
  entry: Entry;
}

function protocolWord(protocol: number): string | number {
  const word = Object.keys(PROTOCOL_NUMBERS).find((name) => PROTOCOL_NUMBERS[name] === protocol);
  return word !== undefined && (PROTOCOL_NAMES as readonly string[]).includes(word) ? word : protocol;
}

/** Operations and protocols with so many ports that these must be ephemeral. */
function ephemeralPorts(peers: readonly Peer[]): Set<string> {
  const ports = new Map<string, Set<number>>();
  for (const { port, protocol, entry } of peers) {
    if (!isEphemeral(port)) continue;
    const key = `${entry.op} ${protocol}`;
    ports.set(key, (ports.get(key) ?? new Set()).add(port));
  }
  return new Set([...ports].filter(([, seen]) => seen.size > MANY_PORTS).map(([key]) => key));
}

/** One rule per operation, protocol and port. */
export function networkRules(entries: readonly Entry[], left: string[]): ProposedRule[] {
  const peers: Peer[] = [];
  for (const entry of entries) {
    const { address: text = '', port = 0, protocol = 0 } = entry.learned[0]?.operation ?? {};
    const address = plainAddress(text);
    if (address === null) left.push(`${entry.op} ${text} (${entry.times}): not an address`);
    else peers.push({ address, port, protocol, entry });
  }
  const random = ephemeralPorts(peers);
  const groups = new Map<string, Peer[]>();
  for (const peer of peers) {
    const { port, protocol, entry } = peer;
    const isRandom = isEphemeral(port) && random.has(`${entry.op} ${protocol}`);
    const key = [entry.op, protocolWord(protocol), isRandom ? 'random' : port].join('-');
    groups.set(key, [...(groups.get(key) ?? []), peer]);
  }
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([name, of]) => networkRule(name, of));
}

function networkRule(name: string, peers: readonly Peer[]): ProposedRule[] {
  const { port = 0, protocol = 0, entry } = peers[0] ?? {};
  const isRandom = name.endsWith('-random');
  const byAddress = new Map<string, Entry[]>();
  for (const peer of peers) byAddress.set(peer.address, [...(byAddress.get(peer.address) ?? []), peer.entry]);
  return chunks(cidrsOf([...byAddress.keys()]), MAX_CIDRS).map((part) => {
    const network = {
      operations: [entry?.op],
      cidrs: part.map(({ cidr }) => cidr),
      ports: [isRandom ? `${EPHEMERAL.first}-${EPHEMERAL.last}` : port],
      ...(protocol === 0 ? {} : { protocols: [protocolWord(protocol)] }),
    };
    const rule = allRule(name, { network } as Partial<RuleInput>, []);
    rule.comments = isRandom ? ['ephemeral ports'] : [];
    for (const { cidr, of, note } of part) {
      const mine = of.flatMap((address) => byAddress.get(address) ?? []);
      rule.beside.set(cidr, [usageOfEntries(mine), note].filter(Boolean).join('; '));
    }
    return rule;
  });
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
      left.push(`socket ${entry.subject} (${entry.times}): unknown`);
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
    .flatMap(([name, { family, type, protocols, of }]) =>
      chunks([...protocols], MAX_PROTOCOLS).map((part) => {
        const socket = { families: [family], types: [type], protocols: part };
        const rule = allRule(name, { socket } as Partial<RuleInput>, of);
        if (['raw', 'packet'].includes(type) || family === 'packet') {
          rule.comments.push('REVIEW: such sockets can send packets with any source');
        }
        return rule;
      }),
    );
}
