/**
 * Parses a request of the CNI plugin and names the record that libcni will write for the same call.
 * Pure. The peer is root, but a runtime may pass anything: every value is checked.
 */
import * as z from 'zod';
import { type CniRecord, cniRecordOf } from '../identity/cni-record.ts';

/** Version of the protocol with cni/src. */
export const PROTOCOL = 1;

/** The pod's side of the interface, as the kernel reported it. A pod that runs can have changed it. */
const podLink = z.object({
  ifindex: z.number().int().nonnegative(),
  /** 0: no peer in another namespace. */
  hostIfindex: z.number().int().nonnegative(),
  /** Empty: a device of layer 3. */
  mac: z.string().regex(/^(([0-9a-f]{2}:){5}[0-9a-f]{2})?$/, 'no MAC'),
});
export type PodLink = z.output<typeof podLink>;

const request = z.object({
  protocol: z.literal(PROTOCOL),
  command: z.enum(['ADD', 'CHECK', 'STATUS']),
  containerId: z.string(),
  ifName: z.string(),
  args: z.string(),
  network: z.string(),
  result: z.looseObject({}).optional(),
  podLink: podLink.optional(),
});

export type CniRequest =
  | { command: 'STATUS' }
  | {
      command: 'ADD' | 'CHECK';
      record: CniRecord;
      /** null: the plugin could not read it, or the pod may have changed it since. */
      podLink: PodLink | null;
      /** Values of the result that could not be parsed. */
      dropped: readonly string[];
    };

/** `CNI_ARGS` as pairs, in the form of libcni's cache. */
const pairsOf = (args: string): [string, string][] =>
  args.split(';').map((pair) => {
    const at = pair.indexOf('=');
    return at === -1 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
  });

/** @returns a request; or the reason why it is none */
export function readRequest(json: string, nowMs: number): CniRequest | { reason: string } {
  let parsed: ReturnType<typeof request.safeParse>;
  try {
    parsed = request.safeParse(JSON.parse(json));
  } catch (error) {
    return { reason: `the request is not JSON: ${(error as Error).message}` };
  }
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    return { reason: `the request has a wrong ${issue?.path.map(String).join('.') ?? 'shape'}: ${issue?.message}` };
  }
  const { command, containerId, ifName, args, network, result = {}, podLink = null } = parsed.data;
  if (command === 'STATUS') return { command };
  // The name of the file that libcni writes after the call: its record then replaces this one.
  const file = `${network}-${containerId}-${ifName}`;
  const raw = { kind: 'cniCacheV1', containerId, ifName, cniArgs: pairsOf(args), result };
  const reading = cniRecordOf(file, raw, nowMs);
  if ('reason' in reading) return reading;
  const record = { ...reading.record, fromCall: true as const };
  return { command, record, podLink: command === 'ADD' ? podLink : null, dropped: reading.dropped };
}
