/**
 * The environment of a correlator: a nats-server with the whole topology and the rights of each
 * identity, collectors that publish under their own identity, and lists of pods as ipam-sync writes
 * them. Correlators run in this process within the process frame.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type Bus,
  consumeOrdered,
  encodeToken,
  ensureTopology,
  FramePublisher,
  openBucket,
  parseSubject,
  type StreamMessage,
  violationSubject,
} from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { SETTLE_MICROS } from '@bailiff/correlation';
import { SimCollector, snapshotJson } from '@bailiff/correlation/testing';
import {
  decodeVerdict,
  encodeSnapshotValue,
  encodeViolationFrame,
  type PodRef,
  type Verdict,
  type ViolationFrame,
} from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { configSchema } from '../../apps/correlator/src/config.ts';
import { start } from '../../apps/correlator/src/correlator.ts';
import { logged } from '../support/config-log.ts';
import { type RunningService, Services } from '../support/service.ts';

/** Lines of each correlator's log that a failed wait prints. */
const LINES_SHOWN = 10;

export const NODE_A = 'node-a';
export const NODE_B = 'node-b.example';

export interface DeadLetter {
  reason: string;
  sequence: number;
  detail: string;
  data: Buffer;
}

export class CorrelatorRig implements AsyncDisposable {
  readonly nats: TestNats;
  readonly admin: Bus;
  readonly collectors = { [NODE_A]: new SimCollector(NODE_A), [NODE_B]: new SimCollector(NODE_B) };
  readonly verdicts: (Verdict & { sequence: number; storedMicros: number })[] = [];
  readonly deadLetters: DeadLetter[] = [];
  readonly directory: string;
  readonly #end = new AbortController();
  readonly #reading: Promise<void>[] = [];
  readonly #services = new Services();
  readonly #revisions = new Map<string, number>();
  readonly #buses = new Map<string, Promise<Bus>>();
  readonly #publishers = new Map<string, FramePublisher>();
  #published = 0;

  private constructor(nats: TestNats, admin: Bus, directory: string) {
    this.nats = nats;
    this.admin = admin;
    this.directory = directory;
    writeFileSync(path.join(directory, 'password'), 'password-of-correlator', { mode: 0o600 });
    const read = (stream: string, onMessage: (message: StreamMessage) => void) =>
      this.#reading.push(consumeOrdered(admin, stream, { start: 'all', onMessage, signal: this.#end.signal }));
    read('VERDICTS', ({ data, sequence, timestampMicros }) => {
      this.verdicts.push({ ...decodeVerdict(data), sequence, storedMicros: timestampMicros });
    });
    read('DEAD_LETTERS', ({ subject, headers, data }) => {
      const parsed = parseSubject(subject);
      if (parsed?.what !== 'deadletters') return;
      const { reason, sequence } = parsed;
      this.deadLetters.push({
        reason,
        sequence,
        detail: headers?.get('Bailiff-Detail') ?? '',
        data: Buffer.from(data),
      });
    });
  }

  /** @param own a server with the users of both nodes; the rig stops it. Default: a new one */
  static async start(own?: TestNats): Promise<CorrelatorRig> {
    const nats = own ?? (await startNats({ users: testUsers([NODE_A, NODE_B]) }));
    const admin = await nats.connect('admin');
    await ensureTopology(admin);
    return new CorrelatorRig(nats, admin, mkdtempSync(path.join(tmpdir(), 'bailiff-correlator-')));
  }

  bus(user: string): Promise<Bus> {
    let bus = this.#buses.get(user);
    if (!bus) {
      bus = this.nats.connect(user);
      this.#buses.set(user, bus);
    }
    return bus;
  }

  /** Flags of a correlator of this rig. */
  flags(): string[] {
    const password = path.join(this.directory, 'password');
    const bus = ['--nats-url', this.nats.url, '--nats-user', 'correlator', '--nats-password-file', password];
    return [...bus, '--metrics-address', '127.0.0.1:0'];
  }

  /** Starts a correlator; resolves when it is ready, or at once if `wait` is false. */
  async correlator(options: { wait?: boolean; flags?: string[] } = {}): Promise<RunningService> {
    const argv = [...this.flags(), ...(options.flags ?? [])];
    const correlator = this.#services.begin({ name: 'correlator', argv, schema: configSchema, start });
    if (options.wait !== false) await correlator.until('ready');
    return correlator;
  }

  /** Puts a node's list as ipam-sync does: by compare and set. */
  async list(node: string, pods: readonly PodRef[]): Promise<void> {
    const bucket = openBucket(await this.bus('ipam-sync'), 'bailiff_pods');
    const key = encodeToken(node);
    const documentRevision = (this.#revisions.get(node) ?? 0) + 1;
    this.#revisions.set(node, documentRevision);
    const previousRevision = (await bucket.get(key))?.revision ?? 0;
    await bucket.put(key, encodeSnapshotValue(snapshotJson(node, pods, documentRevision)), { previousRevision });
  }

  /**
   * Waits until the current lists and rules are in force: a settling time after they were stored.
   */
  async settle(): Promise<void> {
    const settled = performance.now() + SETTLE_MICROS / 1000 + 50;
    await waitFor(() => performance.now() > settled, { what: 'the settling time' });
  }

  /**
   * Puts a rule. @returns its time in the log, in microseconds: it is in force a settling time
   * later
   */
  async rule(name: string, value: unknown): Promise<number> {
    const json = typeof value === 'string' ? value : JSON.stringify(value);
    const key = `correlation.cluster._.${name}`;
    await openBucket(this.admin, 'bailiff_config').put(key, json);
    return logged(this.admin, { key, json });
  }

  /** Deletes streams and makes them again, as operations.md describes for CONFIG_LOG. */
  async recreate(...streams: string[]): Promise<void> {
    for (const stream of streams) await this.admin.jsm.streams.delete(stream);
    await ensureTopology(this.admin);
  }

  /** The log of the configuration alone. Resolves when it has the newest values of the bucket. */
  async recreateConfigLog(): Promise<void> {
    const before = (await this.admin.jsm.streams.info('CONFIG_LOG')).state.messages;
    await this.recreate('CONFIG_LOG');
    await waitFor(async () => (await this.admin.jsm.streams.info('CONFIG_LOG')).state.messages === before, {
      what: 'the configuration in the new log',
    });
  }

  /**
   * Publishes bytes as a node's collector, until the bus stores them. @returns the sequence in
   * VIOLATIONS
   */
  async publish(node: string, data: Uint8Array): Promise<number> {
    let publisher = this.#publishers.get(node);
    if (!publisher) {
      publisher = new FramePublisher(await this.bus(`collector-${node}`), { ackTimeoutMs: 500 });
      this.#publishers.set(node, publisher);
    }
    this.#published++;
    const acked = await publisher.publish(violationSubject(node, 'spoof'), data, { msgId: `test-${this.#published}` });
    return acked.sequence;
  }

  frame(frame: ViolationFrame, node: string = frame.nodeName): Promise<number> {
    return this.publish(node, encodeViolationFrame(frame));
  }

  /** A pod of a node sends forged packets; one frame reports them. */
  async spoof(node: typeof NODE_A | typeof NODE_B, pod: PodRef, packets: number, more = {}): Promise<number> {
    const collector = this.collectors[node];
    if (!collector) throw new Error(`no collector of ${node}`);
    collector.spoof(pod, packets, more);
    const frame = collector.flush(Date.now() * 1000);
    if (!frame) throw new Error('nothing to report');
    return this.frame(frame);
  }

  /** Waits until this number of verdicts is on the bus. */
  async verdictCount(count: number): Promise<void> {
    const reported = () => ({
      verdicts: this.verdicts,
      deadLetters: this.deadLetters.map(({ reason, sequence, detail }) => ({ reason, sequence, detail })),
      logs: this.#services.running.map((correlator) => correlator.log().slice(-LINES_SHOWN)),
    });
    await waitFor(() => this.verdicts.length >= count, { what: `${count} verdicts`, state: reported });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#services[Symbol.asyncDispose]();
    for (const publisher of this.#publishers.values()) publisher.close();
    this.#end.abort();
    await Promise.all(this.#reading);
    await this.nats.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
