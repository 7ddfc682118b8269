/**
 * Reads one record of libcni's result cache (`/var/lib/cni/results/<network>-<container>-<ifName>`): which pod an interface was
 * made for, what it is called on the host, and which MAC and addresses the plugin gave it. The folder is writable by root only,
 * so what it says of an interface cannot come from a pod. Pure: text in, record or reason out; a value that is no address or no MAC is
 * dropped with its reason and the rest of the record stands.
 */
import { cleanAddresses, cleanMac, type Dropped } from './normalize.ts';

export interface CniRecord {
  /** Name of the file, unique in the folder. */
  file: string;
  containerId: string;
  /** Interface inside the pod: eth0, net1. */
  ifName: string;
  podUid: string;
  podNamespace: string;
  podName: string;
  /** Host-side candidates, in the order of the result: every interface without a sandbox. */
  hostInterfaces: string[];
  /** MAC of the pod's side, lower case; empty when the plugin did not say. */
  podMac: string;
  /** Plain addresses without a prefix length. */
  addresses: string[];
  /** When the file was written, wall-clock milliseconds. */
  writtenAtMs: number;
}

/** `dropped`: values of the record that are not what they should be. */
export type CniReading = { record: CniRecord; dropped: Dropped } | { reason: string };

interface RawResult {
  interfaces?: { name?: unknown; mac?: unknown; sandbox?: unknown }[];
  ips?: { address?: unknown; interface?: unknown }[];
}

/** Longest record that is read, in bytes: a real one has 2-8 KiB. */
export const MAX_RECORD_BYTES = 256 * 1024;

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Reads a cache file. `reason` says why it is no record of a pod (another runtime's, half written, not JSON). */
export function readCniRecord(file: string, json: string, writtenAtMs: number): CniReading {
  let raw: Record<string, unknown>;
  try {
    raw = JSON.parse(json) as Record<string, unknown>;
  } catch (error) {
    return { reason: `not JSON: ${(error as Error).message}` };
  }
  if (raw === null || typeof raw !== 'object' || raw['kind'] !== 'cniCacheV1')
    return { reason: 'kind is not cniCacheV1' };
  const args = new Map<string, string>();
  for (const pair of Array.isArray(raw['cniArgs']) ? raw['cniArgs'] : []) {
    if (Array.isArray(pair)) args.set(text(pair[0]), text(pair[1]));
  }
  const podUid = args.get('K8S_POD_UID') ?? '';
  if (podUid === '') return { reason: 'no K8S_POD_UID among its arguments' };
  const result = (raw['result'] ?? {}) as RawResult;
  const interfaces = Array.isArray(result.interfaces) ? result.interfaces : [];
  const ifName = text(raw['ifName']);
  const podIndex = interfaces.findIndex((i) => text(i?.sandbox) !== '' && text(i?.name) === ifName);
  const addresses = (Array.isArray(result.ips) ? result.ips : [])
    .filter((ip) => podIndex === -1 || ip?.interface === undefined || ip?.interface === podIndex)
    .map((ip) => text(ip?.address).split('/')[0] ?? '')
    .filter((address) => address !== '');
  const dropped: Dropped = [];
  return {
    dropped,
    record: {
      file,
      containerId: text(raw['containerId']),
      ifName,
      podUid,
      podNamespace: args.get('K8S_POD_NAMESPACE') ?? '',
      podName: args.get('K8S_POD_NAME') ?? '',
      hostInterfaces: interfaces
        .filter((i) => text(i?.sandbox) === '')
        .map((i) => text(i?.name))
        .filter((name) => name !== ''),
      podMac: podIndex === -1 ? '' : cleanMac(text(interfaces[podIndex]?.mac), 'mac', dropped),
      addresses: cleanAddresses(addresses, 'ips', dropped),
      writtenAtMs,
    },
  };
}
