/**
 * The collector's end of the bus: frames go out, documents come in. It connects for as long as it takes; until then, and whenever the
 * bus is away, frames are refused here (no capacity) and what they would say stays in the kernel's counters.
 */
import {
  type Answering,
  answerRequests,
  type Bucket,
  BucketReader,
  type Bus,
  type BusError,
  captureSubject,
  cloudEventHeaders,
  connectBus,
  encodeToken,
  FramePublisher,
  isStoring,
  type KvEntry,
  openBucket,
  SnapshotReader,
  userOf,
  violationSubject,
} from '@bailiff/bus';
import {
  CLUSTER_KEY,
  encodeToldFrame,
  encodeViolationFrame,
  type NodeStatus,
  type ViolationFrame,
  type ViolationKind,
} from '@bailiff/schemas';
import { busOptionsOf, type ServiceContext } from '@bailiff/service';
import { BreachTally } from './breach-tally.ts';
import { CAPTURE_TURN_MS, type CaptureServer } from './capture/server.ts';
import type { CollectorConfig } from './config.ts';
import type { FrameSink } from './flusher.ts';
import type { Metrics } from './metrics.ts';

export interface BusDocument {
  what: 'pods' | 'cluster' | 'quarantine' | 'config';
  key: string;
  /** null: the key was deleted. */
  json: string | null;
}

export const isRuntimePolicy = ({ what, key }: Pick<BusDocument, 'what' | 'key'>): boolean =>
  what === 'config' && key.startsWith('runtime.');

export interface BusLinkOptions {
  ctx: ServiceContext<CollectorConfig>;
  metrics: Metrics;
  /** @param storedMicros when the bus stored it; 0: before this process listened, so nothing can be said of how long it took */
  onDocument(document: BusDocument, storedMicros: number): void;
  /** The bus's store of these documents was made anew: revisions begin again. */
  onRestart(what: BusDocument['what']): void;
  /** Every key of the kind that the bus has was told; `keys` are those with a value, null when its store was made anew since. */
  onConfigSynced(kind: ConfigKind, keys: ReadonlySet<string> | null): void;
  onError(part: string, error: Error): void;
  captures: Pick<CaptureServer, 'answer' | 'busy'>;
}

/** Kinds of configuration that bear on a collector. */
const CONFIG_KINDS = ['spoof', 'disarm', 'runtime'] as const;
export type ConfigKind = (typeof CONFIG_KINDS)[number];

/**
 * One interface has 144 cells and 16 violations of user space at most: behind a frame that is nearly full, four frames. A subject of the
 * runtime half takes two at a turn.
 */
const SPARE_FRAMES = 4;

export class BusLink implements FrameSink {
  readonly #o: BusLinkOptions;
  /** What the frames that went out said. */
  readonly tally = new BreachTally();
  readonly #subjects: Readonly<Record<ViolationKind, string>>;
  readonly #nodeToken: string;
  #bus: Bus | null = null;
  #publisher: FramePublisher | null = null;
  #nodes: Bucket | null = null;
  #readers: { close(): void }[] = [];
  #captures: Answering | null = null;
  #connecting: Promise<void> = Promise.resolve();
  readonly #connected: Promise<void>;
  #announce: () => void = () => {};
  #spoofRevision = 0;
  #statusInFlight = false;
  #sinceMicros = 0;
  readonly #waiters: (() => void)[] = [];

  constructor(options: BusLinkOptions) {
    this.#o = options;
    const { nodeName } = options.ctx.config;
    this.#subjects = { spoof: violationSubject(nodeName, 'spoof'), lsm: violationSubject(nodeName, 'lsm') };
    this.#nodeToken = encodeToken(nodeName);
    this.#connected = new Promise((resolve) => {
      this.#announce = resolve;
    });
  }

  start(): void {
    this.#connecting = this.#connect().catch((error: Error) => {
      if (!this.#o.ctx.signal.aborted) this.#o.ctx.fail(error);
    });
  }

  async #connect(): Promise<void> {
    const { config, signal } = this.#o.ctx;
    const options = busOptionsOf(config);
    const refused = (error: BusError) => this.#o.onError('connect', error);
    this.#bus = await connectBus({
      ...options,
      user: options.user || userOf({ role: 'collector', node: config.nodeName }),
      name: `collector ${config.nodeName}`,
      waitForServer: true,
      onRetry: refused,
      signal,
    });
    this.#bus.statusListeners.add((status) => {
      if (status.type === 'unreachable') refused(status.error);
      else if (status.type === 'error' && status.error.code === 'BUS_AUTHENTICATION') refused(status.error);
    });
    this.#publisher = new FramePublisher(this.#bus, {
      maxInFlight: config.maxInFlightFrames + SPARE_FRAMES,
      onAck: () => {
        this.#o.metrics.frames.inc();
        this.#wake();
      },
      onResend: ({ error }) => {
        this.#o.metrics.resends.inc();
        this.#o.onError('publish', error);
      },
    });
    this.#nodes = openBucket(this.#bus, 'bailiff_nodes');
    this.#follow(this.#bus);
    const { captures, onError } = this.#o;
    this.#captures = answerRequests(this.#bus, {
      subject: captureSubject(config.nodeName),
      answer: (question) => captures.answer(question),
      busy: () => captures.busy(),
      maxWaitMs: CAPTURE_TURN_MS,
      monotonicMs: () => this.#o.ctx.clock.monotonicMs(),
      onError: (error) => onError('capture', error),
    });
    this.#announce();
  }

  #follow(bus: Bus): void {
    const onError = (part: string) => (error: unknown) => this.#o.onError(part, error as Error);
    this.#sinceMicros = this.#o.ctx.clock.nowMs() * 1000;
    const document = (what: BusDocument['what'], bucket: string, key: string) =>
      new SnapshotReader(bus, bucket, key, {
        onSnapshot: (entry) => this.#tell(what, { ...entry, key }),
        onRestart: () => this.#o.onRestart(what),
        onError: onError(bucket),
      });
    this.#readers = [
      document('cluster', 'bailiff_pods', CLUSTER_KEY),
      document('pods', 'bailiff_pods', this.#nodeToken),
      document('quarantine', 'bailiff_quarantine', this.#nodeToken),
      ...CONFIG_KINDS.map((kind) => this.#followConfig(bus, kind, onError('bailiff_config'))),
    ];
  }

  #followConfig(bus: Bus, kind: ConfigKind, onError: (error: unknown) => void): BucketReader {
    const keys = new Set<string>();
    let synced = false;
    let isAnew = false;
    return new BucketReader(bus, 'bailiff_config', `${kind}.>`, {
      onEntry: (entry) => {
        if (!synced && !entry.deleted) keys.add(entry.key);
        if (kind === 'spoof') this.#spoofRevision = Math.max(this.#spoofRevision, entry.revision);
        this.#tell('config', entry);
      },
      onSynced: () => {
        synced = true;
        this.#o.onConfigSynced(kind, isAnew ? null : keys);
      },
      onRestart: () => {
        isAnew = true;
        if (kind === 'spoof') this.#spoofRevision = 0;
        this.#o.onRestart('config');
      },
      onError,
    });
  }

  #tell(what: BusDocument['what'], entry: Pick<KvEntry, 'key' | 'value' | 'deleted' | 'timestampMicros'>): void {
    const { key, deleted, value, timestampMicros } = entry;
    const storedMicros = timestampMicros < this.#sinceMicros ? 0 : timestampMicros;
    this.#o.onDocument({ what, key, json: deleted ? null : value.toString('utf8') }, storedMicros);
  }

  /** Revision in the bucket of the newest spoof policy that was told; 0: none was. */
  get spoofRevision(): number {
    return this.#spoofRevision;
  }

  /** Readiness: true, or the reason why not. */
  ready(): true | string {
    const bus = this.#bus;
    if (!bus?.connected) return `not connected to the bus; enforcing all the same${bus?.away ? `: ${bus.away}` : ''}`;
    const storing = isStoring(bus);
    return storing === true || `enforcing all the same; ${storing}`;
  }

  get counts(): NodeStatus['bus'] {
    return {
      connected: this.#bus?.connected ?? false,
      unackedFrames: this.unacked,
      publishedFrames: this.#publisher?.acked ?? 0,
      resentFrames: this.#publisher?.resent ?? 0,
    };
  }

  get unacked(): number {
    return this.#publisher?.unacked ?? 0;
  }

  /** Whether another interface may have its say; what it says fits into the spare frames at worst. */
  hasCapacity(): boolean {
    return (this.#publisher?.capacity ?? 0) > SPARE_FRAMES;
  }

  async whenCapacity(): Promise<void> {
    await this.#connected;
    while (!this.hasCapacity()) {
      await this.#publisher?.whenCapacity(); // rejects when it was closed
      if (!this.hasCapacity()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  #wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }

  /**
   * Resolves when JetStream has stored the frame; rejects BUS_CLOSED when the process stops before, and when another message has its id:
   * what it says is then owed, and goes out again under the next sequence.
   */
  async publish(frame: ViolationFrame, kind: ViolationKind = 'spoof'): Promise<void> {
    const publisher = this.#publisher;
    if (!publisher) throw new Error('publish before the bus was connected');
    const began = performance.now();
    const id = `${frame.nodeName}-${frame.bootId}-${frame.frameSequence}`;
    const { metrics, ctx } = this.#o;
    metrics.violations.inc(frame.violations.length);
    const breachedMicros = this.tally.take(frame.violations);
    const payload = kind === 'spoof' ? encodeToldFrame(frame) : encodeViolationFrame(frame);
    const published = await publisher.publish(this.#subjects[kind], payload, {
      msgId: id,
      headers: cloudEventHeaders({
        id,
        type: 'dev.bailiff.violation-frame.v1',
        source: `/nodes/${frame.nodeName}`,
        timeMicros: frame.publishedAt,
      }),
    });
    if (published.collision)
      throw new Error(`${id} is taken, by message ${published.sequence}: what the frame says is sent again`);
    metrics.ackSeconds.observe((performance.now() - began) / 1000);
    if (breachedMicros !== null)
      metrics.breachSeconds.observe({ kind }, Math.max(0, ctx.clock.nowMs() * 1000 - breachedMicros) / 1e6);
  }

  /** Best effort: the next one says more. One at a time. */
  putStatus(status: NodeStatus): void {
    if (!this.#bus?.connected || !this.#nodes || this.#statusInFlight) return;
    this.#statusInFlight = true;
    this.#nodes
      .put(this.#nodeToken, JSON.stringify(status))
      .catch((error: Error) => this.#o.onError('status', error))
      .finally(() => {
        this.#statusInFlight = false;
      });
  }

  async stop(): Promise<void> {
    await this.#connecting;
    for (const reader of this.#readers) reader.close();
    await this.#captures?.close();
    this.#publisher?.close();
    this.#wake();
    await this.#bus?.drain();
  }
}
