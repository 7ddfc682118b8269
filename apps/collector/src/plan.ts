/**
 * What to write into the kernel's maps so that an interface has the identity it should have. Pure: (what is in the kernel, what is
 * wanted) -> operations, in an order that never leaves a moment in which a rightful address is refused: addresses are added before
 * the record that refers to them is replaced, and removed after.
 */
import type { Identity } from './identity.ts';

/** What the kernel should hold for one interface. */
export interface WantedIface {
  state: Identity['state'];
  mac: string;
  /** First IPv4 and first IPv6 address: inline in the record, found without a look-up. */
  ipv4: string | null;
  ipv6: string | null;
  /** CIDRs in `addresses`: further addresses as /32 or /128, and allowed prefixes. */
  more: string[];
  /** Kernel `enum mode` by vector. */
  modes: number[];
  quarantineUntilNs: bigint;
  auditUntilNs: bigint;
  /** Ports that are still probed in quarantine, as `<TCP|UDP>/<port>`. */
  probePorts: string[];
}

export type MapOperation =
  | { op: 'add-address'; cidr: string }
  | { op: 'remove-address'; cidr: string }
  | { op: 'add-probe-port'; port: string }
  | { op: 'remove-probe-port'; port: string }
  | { op: 'write-record' };

/** Further addresses and prefixes of one interface at most; what is over is left out and reported. */
export const MAX_MORE = 64;
/** Probed ports of one pod at most. */
export const MAX_PROBE_PORTS = 32;

export interface WantedInput {
  identity: Identity;
  modes: number[];
  quarantineUntilNs: bigint;
  auditUntilNs: bigint;
  probePorts: readonly { port: number; protocol: 'TCP' | 'UDP' }[];
}

/** Splits an identity into what is inline and what is looked up. `omitted` counts what the bounds cut off. */
export function wantedIface(input: WantedInput): { wanted: WantedIface; omitted: number } {
  const v4 = input.identity.addresses.filter((a) => !a.includes(':'));
  const v6 = input.identity.addresses.filter((a) => a.includes(':'));
  const more = [...v4.slice(1).map((a) => `${a}/32`), ...v6.slice(1).map((a) => `${a}/128`), ...input.identity.allowedPrefixes];
  const unique = [...new Set(more)];
  const ports = [...new Set(input.probePorts.map((p) => `${p.protocol}/${p.port}`))];
  return {
    wanted: {
      state: input.identity.state,
      mac: input.identity.mac,
      ipv4: v4[0] ?? null,
      ipv6: v6[0] ?? null,
      more: unique.slice(0, MAX_MORE),
      modes: input.modes,
      quarantineUntilNs: input.quarantineUntilNs,
      auditUntilNs: input.auditUntilNs,
      probePorts: ports.slice(0, MAX_PROBE_PORTS),
    },
    omitted: Math.max(0, unique.length - MAX_MORE) + Math.max(0, ports.length - MAX_PROBE_PORTS),
  };
}

const NS_PER_SECOND = 1_000_000_000n;
/** Ends of quarantine and break-glass are recomputed from wall time at each pass: a drift below a second is no change. */
function sameEnd(a: bigint, b: bigint): boolean {
  if (a === 0n || b === 0n) return a === b;
  return (a > b ? a - b : b - a) < NS_PER_SECOND;
}

function sameRecord(a: WantedIface, b: WantedIface): boolean {
  return (
    a.state === b.state &&
    a.mac === b.mac &&
    a.ipv4 === b.ipv4 &&
    a.ipv6 === b.ipv6 &&
    a.more.length > 0 === b.more.length > 0 &&
    a.modes.length === b.modes.length &&
    a.modes.every((mode, index) => mode === b.modes[index]) &&
    sameEnd(a.quarantineUntilNs, b.quarantineUntilNs) &&
    sameEnd(a.auditUntilNs, b.auditUntilNs)
  );
}

/** Operations that turn `current` into `wanted`; none when they are the same. `current` null: nothing is in the kernel yet. */
export function planIface(current: WantedIface | null, wanted: WantedIface): MapOperation[] {
  const before = new Set(current?.more ?? []);
  const after = new Set(wanted.more);
  const portsBefore = new Set(current?.probePorts ?? []);
  const portsAfter = new Set(wanted.probePorts);
  const operations: MapOperation[] = [];
  for (const cidr of after) if (!before.has(cidr)) operations.push({ op: 'add-address', cidr });
  for (const port of portsAfter) if (!portsBefore.has(port)) operations.push({ op: 'add-probe-port', port });
  if (!current || !sameRecord(current, wanted)) operations.push({ op: 'write-record' });
  for (const cidr of before) if (!after.has(cidr)) operations.push({ op: 'remove-address', cidr });
  for (const port of portsBefore) if (!portsAfter.has(port)) operations.push({ op: 'remove-probe-port', port });
  return operations;
}

/** Adds and removals that turn one set into another: for the node-wide maps. */
export function planSet(current: ReadonlySet<string>, wanted: ReadonlySet<string>): { add: string[]; remove: string[] } {
  return { add: [...wanted].filter((v) => !current.has(v)), remove: [...current].filter((v) => !wanted.has(v)) };
}
