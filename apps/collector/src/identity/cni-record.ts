/**
 * Parses one record of libcni's result cache,
 * `/var/lib/cni/results/<network>-<container>-<ifName>` (Multus: `/var/lib/cni/multus/results`): the pod that an interface was created for,
 * its host-side names, its MAC and its addresses.
 *
 * Only root can write the folder, so a pod cannot forge a record. Pure. A value that is no address
 * or no MAC is dropped with its reason; the rest of the record stays valid.
 */
import { type Dropped, interfaceAddresses, normalizeMac } from './normalize.ts';

export interface CniRecord {
  /** Name of the file, unique in its folder. */
  file: string;
  containerId: string;
  /** Interface inside the pod: eth0, net1. */
  ifName: string;
  /** Type of the network's main plugin: bridge, macvlan; TOO_LONG; empty if the record does not have it. */
  plugin: string;
  /**
   * Bridge and VLAN of its network, of which only the configuration speaks, not an annotation; empty: it names none;
   * absent: unknown. Networks of two namespaces can have one name.
   */
  segment?: string;
  /** Its addresses were chosen (static IPAM, `ips` of Multus), so another pod may have them too. */
  isChosen: boolean;
  /** Its MAC was chosen (`mac` of Multus, or of a plugin), so it may be that of another pod. */
  isMacChosen: boolean;
  podUid: string;
  podNamespace: string;
  podName: string;
  /**
   * Possible host-side interfaces, in the order of the result: every interface without a sandbox,
   * except one of the pod's name. Azure's plugin reports the pod's side like that.
   */
  hostInterfaces: string[];
  /** MAC of each of them that the plugin reported one for, by name. */
  hostMacs?: Readonly<Record<string, string>>;
  /** MAC of the pod's side, lower case; empty if the plugin did not report it. */
  podMac: string;
  /** Without prefix length. */
  addresses: string[];
  /** When the file was written, wall-clock milliseconds. */
  writtenAtMs: number;
  /**
   * The CNI plugin passed it during the call that creates the interface; absent: read from the
   * result cache.
   */
  fromCall?: true;
}

/** `dropped`: values of the record that could not be parsed. */
export type CniReading = { record: CniRecord; dropped: Dropped } | { reason: string };

interface RawResult {
  interfaces?: { name?: unknown; mac?: unknown; sandbox?: unknown }[];
  ips?: { address?: unknown; interface?: unknown }[];
}

/** A longer configuration is not read for the type of its plugin: Multus copies annotations into it. */
const MAX_CONFIG_CHARACTERS = 256 * 1024;
/** Type of a plugin whose configuration is not read. */
const TOO_LONG = 'unknown';

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/**
 * Parses a cache file.
 * @returns a record; or the reason why it is none: another runtime's file, half written, not JSON
 */
export function readCniRecord(file: string, json: string, writtenAtMs: number): CniReading {
  try {
    return cniRecordOf(file, JSON.parse(json) as Record<string, unknown>, writtenAtMs);
  } catch (error) {
    return { reason: `not JSON: ${(error as Error).message}` };
  }
}

/**
 * Whether an object has a key in any case. Multus passes the keys of a pod's `cni-args` as they are, and
 * plugins in Go accept `MAC` for `mac`, and `ip\u017f` for `ips`.
 */
const has = (object: unknown, upperCaseKey: string): boolean =>
  Object.keys(object ?? {}).some((key) => key.toUpperCase() === upperCaseKey);

/** @param config the network's configuration, or list of plugins, in base64 */
function mainPlugin(config: string): Pick<CniRecord, 'plugin' | 'segment' | 'isChosen' | 'isMacChosen'> {
  // A pod can make it that long, by annotations.
  if (config.length > MAX_CONFIG_CHARACTERS) return { plugin: TOO_LONG, isChosen: true, isMacChosen: true };
  try {
    const parsed = JSON.parse(Buffer.from(config, 'base64').toString('utf8')) ?? {};
    const plugins = Array.isArray(parsed.plugins) ? parsed.plugins : [parsed];
    const main = plugins[0] ?? {};
    const isChosen = main.ipam?.type === 'static' || [main, parsed].some(({ args }) => has(args?.cni, 'IPS'));
    const isMacChosen = [parsed, ...plugins].some((one) => has(one, 'MAC') || has(one?.args?.cni, 'MAC'));
    const bridge = text(main.bridge) || (main.type === 'bridge' ? 'cni0' : '');
    const segment = bridge && `${bridge} ${JSON.stringify([main.vlan || 0, main.vlanTrunk])}`;
    return { plugin: text(main.type), segment, isChosen, isMacChosen };
  } catch (error) {
    if (error instanceof SyntaxError) return { plugin: '', isChosen: false, isMacChosen: false };
    throw error;
  }
}

const SHARED_PARENT =
  'packets of all its pods leave by one parent interface, and no field that a pod cannot forge says whose they are';
const MOVED_DEVICE = 'the pod has the device itself, and its packets do not pass the network stack of the node';

const NO_HOST_SIDE: Readonly<Record<string, string>> = {
  macvlan: SHARED_PARENT,
  ipvlan: SHARED_PARENT,
  vlan: SHARED_PARENT,
  sriov: MOVED_DEVICE,
  'ib-sriov': MOVED_DEVICE,
  'host-device': MOVED_DEVICE,
};

/**
 * Why an interface has no host side; null: it has one, or nothing is known. Plugins that make a pair name the end on
 * the node. Not all do, so a record without one shows nothing by itself, but a pod must not hide an interface.
 */
export function whyNoHostSide({ plugin, hostInterfaces }: Pick<CniRecord, 'plugin' | 'hostInterfaces'>): string | null {
  if (plugin !== TOO_LONG) return NO_HOST_SIDE[plugin] ?? null;
  if (hostInterfaces.length > 0) return null;
  return 'its record names no interface of the node, and annotations made its configuration too long to be read';
}

/** Host sides of every pod have them: with Calico's plugin, and with netkit in mode L3. */
const MACS_OF_ALL: ReadonlySet<string> = new Set(['ee:ee:ee:ee:ee:ee', '00:00:00:00:00:00']);

/**
 * Whether the record is of the link that has this name and MAC now, and not of a former one of its name: the kernel
 * chooses the MAC of a host side at random, and a pod cannot change it. Some plugins give the same to all of them.
 */
export function namesMacOf({ hostMacs }: CniRecord, name: string, mac: string): boolean {
  return mac !== '' && !MACS_OF_ALL.has(mac) && hostMacs?.[name] === mac;
}

/** The record of a parsed cache file, or of a call that has the same fields. */
export function cniRecordOf(file: string, raw: Record<string, unknown>, writtenAtMs: number): CniReading {
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
  const hostSides = interfaces
    .filter((i) => text(i?.sandbox) === '')
    .map((i) => ({ name: text(i?.name), mac: normalizeMac(text(i?.mac), 'mac', dropped) }))
    .filter(({ name }) => name !== '' && name !== ifName);
  const main = mainPlugin(text(raw['config']));
  // null: they were too large (cni-record-size.ts), and may have one.
  const capabilities = raw['capabilityArgs'] as Record<string, unknown> | null | undefined;
  const isMacRequested = args.has('MAC') || capabilities === null || capabilities?.['mac'] !== undefined;
  return {
    dropped,
    record: {
      file,
      containerId: text(raw['containerId']),
      ifName,
      ...main,
      isMacChosen: main.isMacChosen || isMacRequested,
      podUid,
      podNamespace: args.get('K8S_POD_NAMESPACE') ?? '',
      podName: args.get('K8S_POD_NAME') ?? '',
      hostInterfaces: hostSides.map(({ name }) => name),
      hostMacs: Object.fromEntries(hostSides.filter(({ mac }) => mac !== '').map(({ name, mac }) => [name, mac])),
      podMac: podIndex === -1 ? '' : normalizeMac(text(interfaces[podIndex]?.mac), 'mac', dropped),
      addresses: interfaceAddresses(addresses, 'ips', dropped),
      writtenAtMs,
    },
  };
}
