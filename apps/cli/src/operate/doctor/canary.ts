/**
 * `bailiff doctor --canary <namespace/pod>`: proves that the pod in which it runs is guarded. It
 * sends one forged packet, and expects its violation on the bus.
 *
 * The packet is a UDP datagram from a client's socket to the port of DHCP clients: only a DHCP
 * server sends there, so it violates `dhcp-server`. It needs no capability. Its destination is an
 * address for documentation, which no host has.
 */

import { createSocket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { readNewest } from '@bailiff/bus';
import type { EventRow } from '@bailiff/insight';
import { readBusTime, readNodes } from '@bailiff/insight';
import { span } from '@bailiff/response';
import { parsePod } from '../../shared/arguments.ts';
import { CliError } from '../../shared/errors.ts';
import { eventListing } from '../../shared/event-listing.ts';
import { poll } from '../../shared/poll.ts';
import type { Session } from '../../shared/session.ts';

const VECTOR = 'dhcp-server';
/** RFC 5737 and RFC 3849. */
const TARGETS = { 4: { address: '192.0.2.1', port: 68 }, 6: { address: '2001:db8::1', port: 546 } } as const;
/** Until the node reports the pod as guarded. A node reports at least every 10 s. */
const GUARDED_WITHIN_MS = 60_000;
/** Until the violation is on the bus; usually 20 ms. */
const SEEN_WITHIN_MS = 30_000;

/** IPv4 if this pod has it. Pure. */
export function targetOf(interfaces: ReturnType<typeof networkInterfaces>): (typeof TARGETS)[4 | 6] {
  const addresses = Object.values(interfaces).flatMap((list) => list ?? []);
  return addresses.some(({ family, internal }) => family === 'IPv4' && !internal) ? TARGETS[4] : TARGETS[6];
}

/** Whether an interface of this machine has one of the pod's addresses. Pure. */
export const isHere = (interfaces: ReturnType<typeof networkInterfaces>, addresses: readonly string[]): boolean =>
  Object.values(interfaces).some((list) => list?.some(({ address }) => addresses.includes(address)));

function send({ address, port }: { address: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    socket.once('error', reject);
    socket.send('bailiff canary', port, address, (error) => {
      socket.close();
      if (error) reject(error);
      else resolve();
    });
  });
}

/** @returns addresses of the pod's interface */
async function whenGuarded(session: Session, pod: string): Promise<readonly string[]> {
  const [namespace, name] = pod.split('/');
  const coverage = async () => {
    for (const status of (await readNodes(session)).values()) {
      if (typeof status === 'string') continue;
      const found = status.interfaces.find((one) => one.podNamespace === namespace && one.podName === name);
      if (found) return found;
    }
    return null;
  };
  let last = 'no node lists it';
  const found = await poll(
    session.io,
    { withinMs: GUARDED_WITHIN_MS },
    async () => {
      const one = await coverage();
      if (one) last = `${one.interfaceName} is ${one.coverage}${one.reason === '' ? '' : `: ${one.reason}`}`;
      return one;
    },
    (one) => one?.coverage === 'guarded',
  );
  if (found?.coverage === 'guarded') return found.addresses;
  throw new CliError('CLI_STATE', `${pod} is not guarded after ${span(GUARDED_WITHIN_MS)}: ${last}`, {
    remedy: 'look at `bailiff status`, and at the log of the collector on this node',
  });
}

async function violationsOf(session: Session, pod: string, sinceMs: number): Promise<EventRow[]> {
  const rows: EventRow[] = [];
  const listing = eventListing(session, { pod: parsePod(pod, '--canary'), kind: 'spoof', vector: VECTOR }, sinceMs);
  await readNewest(session.bus, listing.stream, {
    sinceMs,
    ...(listing.filterSubjects ? { filterSubjects: listing.filterSubjects } : {}),
    onMessage: (message) =>
      listing.read(message, (row) => {
        if (!row.refused) rows.push(row);
      }),
    signal: session.io.signal,
  });
  return rows;
}

/** @throws CliError CLI_STATE unless exactly one violation of one packet was published */
export async function canary(session: Session, pod: string): Promise<void> {
  const { io, out } = session;
  if (!pod.includes('/')) throw new CliError('CLI_USAGE', `--canary: "${pod}" is not <namespace>/<pod>`);
  const addresses = await whenGuarded(session, pod);
  if (!isHere(networkInterfaces(), addresses))
    throw new CliError('CLI_USAGE', `--canary: this machine has no address of ${pod} (${addresses.join(' ')})`, {
      remedy: 'run it in that pod; `helm test` does so in a pod of its own',
    });
  // Clocks of this pod and of the bus can differ by a little.
  const sinceMs = (await readBusTime(session)) - 60_000;
  const before = (await violationsOf(session, pod, sinceMs)).length;
  const startMs = io.nowMs();
  await send(targetOf(networkInterfaces()));
  const rows = await poll(
    io,
    { withinMs: SEEN_WITHIN_MS },
    async () => (await violationsOf(session, pod, sinceMs)).slice(before),
    (list) => list.length > 0,
  );
  if (rows.length === 0) {
    throw new CliError('CLI_STATE', `no violation of ${pod} within ${span(SEEN_WITHIN_MS)}`, {
      remedy: `a network policy may drop the packet before the guard, or the mode of ${VECTOR} is off: bailiff config list`,
    });
  }
  const packets = rows.reduce((sum, row) => sum + (row.kind === 'gap' ? 0 : row.packets), 0);
  const [first] = rows;
  const action = first && first.kind !== 'gap' ? first.violation.action : '';
  out.line(
    `one forged packet of ${pod}, ${packets} on the bus after ${span(io.nowMs() - startMs)}: ${VECTOR}, ${action}`,
  );
  if (packets !== 1) throw new CliError('CLI_STATE', `${packets} packets were reported instead of one`);
}
