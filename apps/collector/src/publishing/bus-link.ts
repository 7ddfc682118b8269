/**
 * The collector's two connections to the bus. One publishes frames and status and reads snapshots; the other, in an account of its own,
 * receives pushes and capture requests. It connects for as long as it takes. Until then, and whenever the bus is away, frames are refused
 * here (no capacity), and their content stays in the kernel's counters.
 */
import { randomBytes } from 'node:crypto';
import {
  type Bucket,
  type Bus,
  type BusError,
  captureSubject,
  cloudEventHeaders,
  connectBus,
  encodeToken,
  FramePublisher,
  isStoring,
  type NodeRole,
  openBucket,
  type RequestResponder,
  respondToRequests,
  userOf,
  violationSubject,
} from '@bailiff/bus';
import {
  encodeToldFrame,
  encodeViolationFrame,
  type NodeStatus,
  type ViolationFrame,
  type ViolationKind,
} from '@bailiff/schemas';
import { busOptionsOf, type ServiceContext } from '@bailiff/service';
import { CAPTURE_TURN_MS, type CaptureServer } from '../capture/server.ts';
import type { CollectorConfig } from '../config.ts';
import { BusDocuments, type DocumentOptions } from '../desired/bus-documents.ts';
import type { Metrics } from '../metrics.ts';
import type { FrameSink } from './interface-adapter.ts';
import { BreachTally } from './violation-metrics.ts';

export interface BusLinkOptions extends DocumentOptions {
  ctx: ServiceContext<CollectorConfig>;
  metrics: Metrics;
  captures: Pick<CaptureServer, 'answer' | 'busy'>;
}

/**
 * One interface has 144 cells and 16 violations of user space at most: behind a frame that is nearly full, four frames. A subject of the
 * runtime half takes two at a turn.
 */
const SPARE_FRAMES = 4;
/** Of randomness in the message id of a frame. */
const MSG_ID_BYTES = 8;

export class BusLink implements FrameSink {
  readonly #o: BusLinkOptions;
  /** What the frames that went out said. */
  readonly tally = new BreachTally();
  readonly #subjects: Readonly<Record<ViolationKind, string>>;
  readonly #nodeToken: string;
  #bus: Bus | null = null;
  #pushBus: Bus | null = null;
  #publisher: FramePublisher | null = null;
  #nodes: Bucket | null = null;
  #documents: BusDocuments | null = null;
  #captures: RequestResponder | null = null;
  #connecting: Promise<void> = Promise.resolve();
  readonly #connected: Promise<void>;
  #announce: () => void = () => {};
  #statusInFlight = false;
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
    const { ctx } = this.#o;
    const pushes = this.#connectAs('push');
    this.#connecting = Promise.all([this.#publishAndRead(pushes), this.#answer(pushes)]).then(
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

  async #publishAndRead(pushes: Promise<Bus>): Promise<void> {
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
        metrics.resends.inc();
        onError('publish', error);
      },
    });
    this.#nodes = openBucket(bus, 'bailiff_nodes');
    this.#documents = new BusDocuments({ reads: bus, pushes }, this.#nodeToken, ctx.clock.nowMs() * 1000, this.#o);
    this.#announce();
  }

  async #answer(pushes: Promise<Bus>): Promise<void> {
    const { captures, ctx, onError } = this.#o;
    this.#pushBus = await pushes;
    this.#captures = respondToRequests(this.#pushBus, {
      subject: captureSubject(ctx.config.nodeName),
      respond: (question) => captures.answer(question),
      busy: () => captures.busy(),
      maxWaitMs: CAPTURE_TURN_MS,
      monotonicMs: () => ctx.clock.monotonicMs(),
      onError: (error) => onError('capture', error),
    });
  }

  /** Revision in the bucket of the newest spoof policy that was received; 0: none was. */
  get spoofRevision(): number {
    return this.#documents?.spoofRevision ?? 0;
  }

  /** Readiness: true, or the reason why not. */
  ready(): true | string {
    const bus = this.#bus;
    if (!bus?.connected)
      return `not connected to the bus; enforcing all the same${bus?.disconnectReason ? `: ${bus.disconnectReason}` : ''}`;
    if (!this.#pushBus?.connected) {
      return `not connected for pushes; enforcing, and reading changes every 30 s${this.#pushBus?.disconnectReason ? `: ${this.#pushBus.disconnectReason}` : ''}`;
    }
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
   * Resolves when JetStream has stored the frame. Rejects BUS_CLOSED when the process stops before, and when another message has its id:
   * its counts are then published again in the next frame. The server compares message ids over all nodes, so the id is unguessable: a
   * node that knew it could have this frame dropped as a duplicate.
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
      msgId: `${id}-${randomBytes(MSG_ID_BYTES).toString('hex')}`,
      headers: cloudEventHeaders({
        id,
        type: 'dev.bailiff.violation-frame.v1',
        source: `/nodes/${frame.nodeName}`,
        timeMicros: frame.publishedAt,
      }),
    });
    if (published.collision)
      throw new Error(`message ${published.sequence} has the id of ${id}: its counts are published again`);
    metrics.ackSeconds.observe((performance.now() - began) / 1000);
    if (breachedMicros !== null)
      metrics.violationToBusSeconds.observe({ kind }, Math.max(0, ctx.clock.nowMs() * 1000 - breachedMicros) / 1e6);
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
    this.#documents?.close();
    await this.#captures?.close();
    this.#publisher?.close();
    this.#wake();
    await Promise.all([this.#bus?.drain(), this.#pushBus?.drain()]);
  }
}
