/**
 * Where the value of a key is in force: on nodes by their status, in services by the position of
 * each instance in CONFIG_LOG. Reads the bus at most every `everyMs`, less often while every value
 * is in force everywhere, and for at most a tenth of the time.
 */

import {
  type Bus,
  BusError,
  decodeToken,
  getLastMessage,
  type KvEntry,
  openBucket,
  ROOT,
  SERVICES_BUCKET,
  type StoredConfig,
  storedInstance,
} from '@bailiff/bus';
import { age, NOT_APPLIED, NodePlaces, type Place, type PlaceStatus } from '@bailiff/response';
import { CLUSTER_KEY, clusterSnapshot, decodeSnapshotValue, type InstanceStatus, nodeStatus } from '@bailiff/schemas';
import type { Turns } from '@bailiff/service/turns';
import type * as z from 'zod';

/** Same limit as `bailiff policy status`. */
const STALE_MS = 60_000;
/** An instance without a status for this long has stopped; it would have renewed it six times. */
const GONE_MS = 60_000;
const SERVICES = { correlation: 'correlator', response: 'responder' } as const;
/** Minimum wait between readings, as a multiple of the last reading's duration. */
const REST_FACTOR = 10;
/** Factor of the interval while every value is in force everywhere. */
const CALM_FACTOR = 8;

const placeStatus = nodeStatus.pick({
  updatedAt: true,
  collectorVersion: true,
  configRefused: true,
  runtime: true,
  spoofRevision: true,
});

interface Reading {
  nodes: NodePlaces;
  instances: InstanceStatus[];
  atMs: number;
}

/** The parsed value, or why it is invalid. */
function parse<T>(value: Buffer, schema: z.ZodType<T>): T | string {
  try {
    const result = schema.safeParse(JSON.parse(decodeSnapshotValue(value)));
    return result.success ? result.data : (result.error.issues[0]?.message ?? 'wrong shape');
  } catch {
    return 'not JSON';
  }
}

/** With the time at which the bus stored it: a writer could claim one at which it never becomes silent. */
const storedAt = <T extends { updatedAt: string }>(status: T, { timestampMicros }: KvEntry): T => ({
  ...status,
  updatedAt: new Date(timestampMicros / 1000).toISOString(),
});

/** @param sequence of the value in CONFIG_LOG; null if the log does not contain it yet */
export function servicePlaces(
  { key, revision }: Pick<StoredConfig, 'key' | 'revision'>,
  sequence: number | null,
  { instances, nowMs }: { instances: readonly InstanceStatus[]; nowMs: number },
): Place[] {
  const service = SERVICES[key.split('.')[0] as keyof typeof SERVICES];
  const living = instances.filter(
    (one) => one.service === service && one.stoppedAt === undefined && nowMs - Date.parse(one.updatedAt) <= GONE_MS,
  );
  const none = { subjects: 0, revision: null, remedy: '' };
  if (living.length === 0) {
    const known = instances.filter((one) => one.service === service).map(({ updatedAt }) => Date.parse(updatedAt));
    const since = known.length > 0 ? ` for ${age(nowMs - Math.max(...known))}` : '';
    return [{ ...none, node: service, state: 'missing', reason: `not running${since}; applied at its next start` }];
  }
  return living.map(({ instance: node, configRevision, configRefused }): Place => {
    const refused = configRefused.find((one) => one.key === key);
    if (refused) return { ...none, node, state: 'refused', reason: refused.reason };
    if (sequence === null || configRevision < sequence) return { ...none, node, state: 'pending', reason: NOT_APPLIED };
    return { ...none, node, state: 'in-force', revision, reason: '' };
  });
}

export class RolloutReader {
  readonly #bus: Bus;
  readonly #everyMs: number;
  readonly #turns: Turns;
  #reading: Reading | null = null;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #tookMs = 0;
  /** Sequence in CONFIG_LOG by key and bucket revision. */
  #sequences = new Map<string, { bucketRevision: number; sequence: number }>();
  /** True if every value is in force everywhere. */
  calm = false;

  constructor(bus: Bus, everyMs: number, turns: Turns) {
    this.#bus = bus;
    this.#everyMs = everyMs;
    this.#turns = turns;
  }

  /** Milliseconds until the next reading; 0 or less: at once. */
  get dueInMs(): number {
    const restMs = Math.max(this.#everyMs * (this.calm ? CALM_FACTOR : 1), REST_FACTOR * this.#tookMs);
    return this.#readAtMs + restMs - performance.now();
  }

  /**
   * Reads the bus if that is due. @param stored values that `of` is called with @throws BusError
   */
  async refresh(stored: readonly StoredConfig[]): Promise<void> {
    if (this.dueInMs > 0) return;
    const startedAtMs = performance.now();
    const [entries, cluster, services] = await Promise.all([
      openBucket(this.#bus, 'bailiff_nodes').entries(),
      openBucket(this.#bus, 'bailiff_pods').get(CLUSTER_KEY),
      this.#services(),
    ]);
    const nodes = new Map<string, PlaceStatus | string>();
    for (const entry of entries) {
      await this.#turns.due();
      const status = parse(entry.value, placeStatus);
      nodes.set(decodeToken(entry.key), typeof status === 'string' ? status : storedAt(status, entry));
    }
    const snapshot = cluster && parse(cluster.value, clusterSnapshot);
    const expected = snapshot && typeof snapshot !== 'string' ? snapshot.nodes.map(({ name }) => name) : null;
    const instances = services.flatMap((entry) => {
      const status = storedInstance(entry);
      return status ? [storedAt(status, entry)] : [];
    });
    await this.#locate(stored);
    // Statuses have the times of the bus.
    const atMs = this.#bus.serverClock.nowMicros() / 1000;
    const places = new NodePlaces({ nodes, expected, nowMs: atMs, staleMs: STALE_MS });
    this.#reading = { nodes: places, instances, atMs };
    this.#readAtMs = performance.now();
    this.#tookMs = this.#readAtMs - startedAtMs;
  }

  /** A topology without this bucket returns none. */
  async #services(): Promise<KvEntry[]> {
    try {
      return await openBucket(this.#bus, SERVICES_BUCKET).entries();
    } catch (error) {
      if (error instanceof BusError && error.code === 'BUS_NO_STREAM') return [];
      throw error;
    }
  }

  /** Finds each rule's value in the log once. */
  async #locate(stored: readonly StoredConfig[]): Promise<void> {
    const rules = stored.filter(({ key }) => key.split('.')[0]! in SERVICES);
    const known = this.#sequences;
    this.#sequences = new Map();
    for (const { key, bucketRevision, json } of rules) {
      const before = known.get(key);
      if (before?.bucketRevision === bucketRevision) this.#sequences.set(key, before);
      else {
        const message = await getLastMessage(this.#bus, 'CONFIG_LOG', `${ROOT}.config.${key}`);
        // CONFIG_LOG is sourced from the bucket with a short delay.
        if (message && Buffer.from(message.data).toString('utf8') === json)
          this.#sequences.set(key, { bucketRevision, sequence: message.sequence });
      }
    }
  }

  /** null before the first reading. */
  of(stored: StoredConfig): Place[] | null {
    if (!this.#reading) return null;
    const { nodes, instances, atMs: nowMs } = this.#reading;
    const { key, revision, bucketRevision } = stored;
    if (key.startsWith('runtime.')) return nodes.ofRuntime({ key, revision });
    if (key.startsWith('spoof.')) return nodes.ofSpoof({ key, bucketRevision });
    const located = this.#sequences.get(key);
    const sequence = located?.bucketRevision === bucketRevision ? located.sequence : null;
    return servicePlaces(stored, sequence, { instances, nowMs });
  }
}
