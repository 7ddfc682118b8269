/**
 * The two connections of the collector to the bus. One publishes frames and the node's status and
 * reads snapshots. The other, in an account of its own, receives pushes and capture requests.
 *
 * It connects for as long as it takes. While the bus is unavailable there is no capacity for
 * frames, and their counts stay in the kernel.
 */
import { randomBytes } from 'node:crypto';
import {
  type Bucket,
  type Bus,
  type BusError,
  cloudEventHeaders,
  connectBus,
  encodeToken,
  type FollowerBuses,
  FRAME_BYTES_PER_SECOND,
  FRAMES_PER_SECOND,
  FramePublisher,
  isStoring,
  type NodeRole,
  openBucket,
  Pace,
  userOf,
  violationSubject,
} from '@bailiff/bus';
import {
  type ClusterIdentity,
  clipReason,
  encodePreEncodedFrame,
  encodeViolationFrame,
  type NodeStatus,
  type ViolationFrame,
  type ViolationKind,
} from '@bailiff/schemas';
import { busOptionsOf, pause, type ServiceContext } from '@bailiff/service';
import type { CollectorConfig } from '../config.ts';
import type { Metrics } from '../metrics.ts';
import type { FrameSink } from './frame.ts';
import { type FramePart, SourceShares } from './source-shares.ts';
import { ViolationTotals } from './violation-metrics.ts';

/** Closed before the connections. */
interface Closable {
  close(): unknown;
}

/** Users of the connections, called when a connection exists. */
export interface BusUsers {
  /** Follows the documents of this node. */
  follow(buses: FollowerBuses): Closable;
  /** Responds to requests on the connection for pushes. */
  respond(pushes: Bus): Closable;
}

export interface BusLinkOptions {
  ctx: ServiceContext<CollectorConfig>;
  metrics: Metrics;
  /** undefined: not known yet. */
  cluster(): ClusterIdentity | undefined;
  onError(part: string, error: Error): void;
}

/**
 * One interface has 144 cells and 16 found violations at most: four frames behind an almost full
 * one. An account of runtime policies needs two per turn.
 */
const SPARE_FRAMES = 4;
/** Random bytes in the message id of a frame. */
const MSG_ID_BYTES = 8;

export class BusLink {
  readonly #o: BusLinkOptions;
  /** Violations in the published frames. */
  readonly totals = new ViolationTotals();
  readonly #shares: SourceShares;
  readonly #pace = new Pace(FRAMES_PER_SECOND, () => performance.now());
  readonly #bytesPace = new Pace(FRAME_BYTES_PER_SECOND, () => performance.now());
  readonly #subjects: Readonly<Record<ViolationKind, string>>;
  readonly #nodeToken: string;
  #bus: Bus | null = null;
  #pushBus: Bus | null = null;
  #publisher: FramePublisher | null = null;
  #nodes: Bucket | null = null;
  readonly #users: Closable[] = [];
  #connecting: Promise<void> = Promise.resolve();
  readonly #connected: Promise<void>;
  #resolveConnected: () => void = () => {};
  #statusInFlight = false;
  readonly #waiters: (() => void)[] = [];

  constructor(options: BusLinkOptions) {
    this.#o = options;
    const { nodeName, publishBytesPerSecond } = options.ctx.config;
    this.#shares = new SourceShares(publishBytesPerSecond, () => performance.now());
    this.#subjects = { spoof: violationSubject(nodeName, 'spoof'), lsm: violationSubject(nodeName, 'lsm') };
    this.#nodeToken = encodeToken(nodeName);
    this.#connected = new Promise((resolve) => {
      this.#resolveConnected = resolve;
    });
  }

  start(users: BusUsers): void {
    const { ctx } = this.#o;
    const pushes = this.#connectAs('push');
    this.#connecting = Promise.all([this.#publishAndFollow(pushes, users), this.#respond(pushes, users)]).then(
      () => undefined,
      (error: Error) => {
        if (!ctx.signal.aborted) ctx.fail(error);
      },
    );
  }

  async #connectAs(role: NodeRole): Promise<Bus> {
    const { config, signal } = this.#o.ctx;
    const options = busOptionsOf(config);
    const onFailed = (error: BusError) => this.#o.onError('connect', error);
    const user = userOf({ role, node: config.nodeName });
    const bus = await connectBus({
      ...options,
      user: role === 'collector' ? options.user || user : user,
      name: `${role} ${config.nodeName}`,
      waitForServer: true,
      onRetry: onFailed,
      signal,
    });
    bus.statusListeners.add((status) => {
      if (status.type === 'unreachable') onFailed(status.error);
      else if (status.type === 'error' && status.error.code === 'BUS_AUTHENTICATION') onFailed(status.error);
    });
    return bus;
  }

  async #publishAndFollow(pushes: Promise<Bus>, users: BusUsers): Promise<void> {
    const { ctx, metrics, onError } = this.#o;
    const bus = await this.#connectAs('collector');
    this.#bus = bus;
    this.#publisher = new FramePublisher(bus, {
      maxInFlight: ctx.config.maxInFlightFrames + SPARE_FRAMES,
      onAck: () => {
        metrics.frames.inc();
        this.#wake();
      },
      onResend: ({ error }) => {
        this.#pace.take();
        metrics.resends.inc();
        onError('publish', error);
      },
    });
    this.#nodes = openBucket(bus, 'bailiff_nodes');
    this.#users.push(users.follow({ reads: bus, pushes }));
    this.#resolveConnected();
  }

  async #respond(pushes: Promise<Bus>, users: BusUsers): Promise<void> {
    this.#pushBus = await pushes;
    this.#users.push(users.respond(this.#pushBus));
  }

  /** Readiness: true, or the reason why not. */
  ready(): true | string {
    const bus = this.#bus;
    if (!bus?.connected) return `not connected to the bus, still enforcing${becauseOf(bus)}`;
    if (!this.#pushBus?.connected)
      return `not connected for pushes; still enforcing, and reading changes every 30 s${becauseOf(this.#pushBus)}`;
    const storing = isStoring(bus);
    return storing === true || `still enforcing; ${storing}`;
  }

  get counts(): NodeStatus['bus'] {
    const oldest = this.#publisher?.oldestUnacked;
    return {
      connected: this.#bus?.connected ?? false,
      unackedFrames: this.#publisher?.unacked ?? 0,
      publishedFrames: this.#publisher?.acked ?? 0,
      resentFrames: this.#publisher?.resent ?? 0,
      ...(this.#o.ctx.config.natsTokenFile === '' ? {} : { byToken: true as const }),
      ...(oldest ? { unackedForMs: oldest.ageMs, unackedReason: clipReason(oldest.error?.message ?? '') } : {}),
    };
  }

  /** Where frames of one kind are published. */
  sinkOf(kind: ViolationKind): FrameSink {
    return {
      publish: (frame, parts) => this.#publish(frame, parts, kind),
      hasShare: (source) => this.#hasShare(source),
      hasCapacity: () => this.#hasCapacity(),
      whenCapacity: () => this.#whenCapacity(),
    };
  }

  #hasShare(source: object): boolean {
    const has = this.#shares.has(source);
    if (!has) this.#o.metrics.flushesPostponed.inc();
    return has;
  }

  /** Whether another source may be flushed; its frames fit into the spare ones. */
  #hasCapacity(): boolean {
    return this.#hasRoom() && this.#waitMs === 0;
  }

  #hasRoom(): boolean {
    return (this.#publisher?.capacity ?? 0) > SPARE_FRAMES;
  }

  async #whenCapacity(): Promise<void> {
    await this.#connected;
    while (!this.#hasCapacity()) {
      await this.#publisher?.whenCapacity(); // rejects if the publisher is closed
      if (!this.#hasRoom()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
      else await pause(this.#waitMs);
    }
  }

  get #waitMs(): number {
    return Math.max(this.#pace.waitMs, this.#bytesPace.waitMs);
  }

  #wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }

  /**
   * Resolves when JetStream has stored the frame. Rejects with BUS_CLOSED if the process stops
   * before, or if another message has its id; the counts are then published in another frame. The
   * server compares message ids of all nodes, so the id is random: a node that could guess it could
   * have this frame dropped as a duplicate.
   */
  async #publish(frame: ViolationFrame, parts: readonly FramePart[], kind: ViolationKind): Promise<void> {
    const publisher = this.#publisher;
    if (!publisher) throw new Error('publish before the bus was connected');
    const began = performance.now();
    const id = `${frame.nodeName}-${frame.bootId}-${frame.frameSequence}`;
    const { cluster, metrics, ctx } = this.#o;
    metrics.violations.inc(frame.violations.length);
    const counted = this.totals.countOf(frame.violations);
    const { firstMicros } = counted;
    const payload = kind === 'spoof' ? encodePreEncodedFrame(frame) : encodeViolationFrame(frame);
    this.#shares.charge(parts, payload.length);
    this.#pace.take();
    this.#bytesPace.take(payload.length);
    const published = await publisher.publish(this.#subjects[kind], payload, {
      msgId: `${id}-${randomBytes(MSG_ID_BYTES).toString('hex')}`,
      headers: cloudEventHeaders({
        id,
        type: 'dev.bailiff.violation-frame.v1',
        source: `/nodes/${frame.nodeName}`,
        timeMicros: frame.publishedAt,
        cluster: cluster(),
      }),
    });
    if (published.collision)
      throw new Error(`message ${published.sequence} has the id of ${id}: its counts are published again`);
    this.totals.add(counted);
    metrics.ackSeconds.observe((performance.now() - began) / 1000);
    if (firstMicros !== null)
      metrics.violationToBusSeconds.observe({ kind }, Math.max(0, ctx.clock.nowMs() * 1000 - firstMicros) / 1e6);
  }

  /** Best effort, one at a time: the next status replaces a lost one. */
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
    for (const user of this.#users) await user.close();
    this.#publisher?.close();
    this.#wake();
    await Promise.all([this.#bus?.drain(), this.#pushBus?.drain()]);
  }
}

const becauseOf = (bus: Bus | null): string => (bus?.disconnectReason ? `: ${bus.disconnectReason}` : '');
