/**
 * Expands one rule of a policy to its matches: single paths, socket words as values, ports ×
 * protocols × CIDRs.
 *
 * Invariants: pure. Every match names the field that it came from. An allow rule for addresses also
 * allows the sockets that it needs, because a posture on the network class applies to both.
 */

import assert from 'node:assert/strict';
import {
  type DriftMatch,
  type ExecuteMatch,
  type FileMatch,
  kindOf,
  type NetworkMatch,
  parsePorts,
  type RuntimeRule,
  type SocketMatch,
  stripSlash,
  type UnixMatch,
} from '@bailiff/policy';
import {
  CAPABILITIES,
  DRIFT_VALUES,
  EXECUTE_OPERATIONS,
  FAMILY_NUMBERS,
  FILE_OPERATIONS,
  KERNEL_VALUES,
  MOUNT_OPERATIONS,
  MOUNT_VALUES,
  NETWORK_OPERATIONS,
  type OperationName,
  PROTOCOL_NUMBERS,
  TYPE_NUMBERS,
  UNIX_OPERATIONS,
} from '@bailiff/vocabulary';
import { SOCKET_ANY, socketValue } from '../sets/names.ts';
import { ANONYMOUS, type Match, type ValueMatch } from '../sets/set.ts';

type Where = Pick<FileMatch, 'paths' | 'directories' | 'recursive' | 'suffixes'>;

function whereMatches(where: Where, ops: readonly OperationName[], field: string): Match[] {
  const under = where.recursive === true ? 'recursive' : 'directory';
  const list = (name: 'paths' | 'directories' | 'suffixes') =>
    (where[name] ?? []).map((text, index) => ({ text, field: `${field}.${name}.${index}` }));
  return [
    ...list('paths').map((p): Match => ({ kind: 'path', ops, path: p.text, match: 'exact', field: p.field })),
    ...list('directories').map(
      (p): Match => ({ kind: 'path', ops, path: stripSlash(p.text), match: under, field: p.field }),
    ),
    ...list('suffixes').map((p): Match => ({ kind: 'suffix', ops, suffix: p.text, field: p.field })),
  ];
}

function fileOperations(match: FileMatch, allows: boolean): readonly OperationName[] {
  if (match.operations !== undefined) {
    // open(O_TRUNC) requests both, and a program that may overwrite a file may empty it.
    const truncates = allows && match.operations.includes('write') && !match.operations.includes('truncate');
    return truncates ? [...match.operations, 'truncate'] : match.operations;
  }
  if (match.readOnly !== true) return FILE_OPERATIONS;
  return allows ? ['read'] : FILE_OPERATIONS.filter((op) => op !== 'read');
}

function executeMatches(match: ExecuteMatch, field: string): Match[] {
  const ops = (match.operations ?? EXECUTE_OPERATIONS).map((op) => (op === 'map' ? 'map-execute' : op));
  const anonymous: Match = { kind: 'path', ops, path: ANONYMOUS, match: 'recursive', field: `${field}.anonymous` };
  return [...whereMatches(match, ops, field), ...(match.anonymous === true ? [anonymous] : [])];
}

const protocolNumber = (protocol: string | number): number =>
  typeof protocol === 'number' ? protocol : (PROTOCOL_NUMBERS[protocol] as number);

function addressMatches(match: NetworkMatch, field: string): Match[] {
  const ops = match.operations ?? NETWORK_OPERATIONS;
  const ports = match.ports?.map((range) => parsePorts(range)) ?? [{ first: 0, last: 65535 }];
  const protocols = match.protocols?.map(protocolNumber) ?? [0];
  const cidrs = match.cidrs?.map((cidr, index) => ({ cidr, field: `${field}.cidrs.${index}` })) ?? [
    { cidr: null, field },
  ];
  const except = match.except ?? [];
  return cidrs.flatMap(({ cidr, field: at }) =>
    ports.flatMap((range) => {
      assert(range, 'the schema checks ports');
      return protocols.map(
        (protocol): Match => ({
          kind: 'address',
          ops,
          cidr,
          except,
          portFirst: range.first,
          portLast: range.last,
          protocol,
          field: at,
        }),
      );
    }),
  );
}

const MPTCP = 262;
/**
 * By protocol: the type of its sockets, and further numbers that create them: 0 for the default,
 * and MPTCP, which is TCP on the wire.
 */
const SAME_SOCKETS: Readonly<Record<number, { type: number; protocols: readonly number[] }>> = {
  6: { type: 1, protocols: [0, MPTCP] },
  17: { type: 2, protocols: [0] },
  132: { type: 5, protocols: [0] },
};
const INTERNET = [FAMILY_NUMBERS['inet'] as number, FAMILY_NUMBERS['inet6'] as number];

function socketMatches(match: SocketMatch, field: string): ValueMatch[] {
  const families = match.families?.map((f) => (typeof f === 'number' ? f : (FAMILY_NUMBERS[f] as number))) ?? [
    SOCKET_ANY,
  ];
  const types = match.types?.map((t) => TYPE_NUMBERS[t] as number) ?? [SOCKET_ANY];
  const protocols = match.protocols?.map(protocolNumber) ?? [SOCKET_ANY];
  const values = new Set<bigint>();
  for (const family of families)
    for (const type of types)
      for (const protocol of protocols) {
        values.add(socketValue(family, type, protocol));
        const same = INTERNET.includes(family) ? SAME_SOCKETS[protocol] : undefined;
        // socket(AF_INET, SOCK_STREAM, 0) creates TCP too, and the hook sees the 0.
        if (same !== undefined && (type === same.type || type === SOCKET_ANY))
          for (const other of same.protocols) values.add(socketValue(family, same.type, other));
      }
  return [...values].map((value) => ({ kind: 'value', op: 'socket', value, field }));
}

/** Sockets that an allowed address needs, without raw sockets. */
function impliedSockets(match: NetworkMatch, field: string): ValueMatch[] {
  return socketMatches(
    { families: ['inet', 'inet6'], types: ['stream', 'dgram', 'seqpacket'], protocols: match.protocols },
    field,
  );
}

function unixMatches(match: UnixMatch, field: string, allows: boolean): Match[] {
  const ops = (match.operations ?? UNIX_OPERATIONS).map((op): OperationName => `unix-${op}`);
  return [
    ...whereMatches(match, ops, field),
    ...(match.abstract ?? []).map(
      (name, index): Match => ({ kind: 'abstract', ops, name, field: `${field}.abstract.${index}` }),
    ),
    ...(allows ? socketMatches({ families: ['unix'] }, field) : []),
  ];
}

/** The kernel applies rules about `layer` to files in memory too. */
function driftValues({ allowVolumes, onlyMemory }: DriftMatch): readonly string[] {
  if (onlyMemory === true) return ['memory'];
  return allowVolumes ? ['layer'] : ['layer', 'volume'];
}

function values(op: OperationName, names: readonly string[], all: readonly string[], field: string): Match[] {
  return names.map((name): Match => {
    const value = all.indexOf(name);
    assert(value >= 0, `${name} is no value of ${op}`);
    return { kind: 'value', op, value: BigInt(value), field };
  });
}

/**
 * Matches of the rule at `rules.<index>` of its policy. The schema guarantees that a rule has one
 * kind.
 */
export function expandRule(rule: RuntimeRule, index: number): Match[] {
  const kind = kindOf(rule);
  assert(kind, 'a rule has one kind');
  const field = `rules.${index}.${kind}`;
  const allows = rule.action === 'allow';
  if (rule.file) return whereMatches(rule.file, fileOperations(rule.file, allows), field);
  if (rule.execute) return executeMatches(rule.execute, field);
  if (rule.drift) return values('drift', driftValues(rule.drift), DRIFT_VALUES, field);
  if (rule.network)
    return [...addressMatches(rule.network, field), ...(allows ? impliedSockets(rule.network, field) : [])];
  if (rule.socket) return socketMatches(rule.socket, field);
  if (rule.unix) return unixMatches(rule.unix, field, allows);
  if (rule.capabilities) return values('capability', rule.capabilities, CAPABILITIES, field);
  if (rule.mount) return values('mount', rule.mount.operations ?? MOUNT_OPERATIONS, MOUNT_VALUES, field);
  assert(rule.kernel, 'a rule has one kind');
  const named = rule.kernel.operations.flatMap((name): string[] =>
    name === 'ptrace' ? ['ptrace', 'traceme'] : [name],
  );
  return values('kernel', named, KERNEL_VALUES, field);
}
