/**
 * The environment of a siem-relay: a nats-server with the whole topology and the rights of each
 * identity, and publishers that write as collector, correlator and responder. Relays run in this
 * process within the process frame, or as processes of their own.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type Bus,
  consumeOrdered,
  ensureTopology,
  FramePublisher,
  responseSubject,
  type StreamMessage,
  streamInfo,
  verdictSubject,
  violationSubject,
} from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import {
  encodeResponse,
  encodeVerdict,
  encodeViolationFrame,
  type Response,
  type Verdict,
  type Violation,
} from '@bailiff/schemas';
import { sampleFrame, sampleResponse, sampleVerdict, sampleViolation } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { configSchema } from '../../apps/siem-relay/src/config.ts';
import type { ShareLimits } from '../../apps/siem-relay/src/node-shares.ts';
import { start } from '../../apps/siem-relay/src/siem-relay.ts';
import { launchApp, type RunningProcess } from '../support/process.ts';
import { type RunningService, Services } from '../support/service.ts';

export const NODE = 'node-1.example';
export const OTHER_NODE = 'node-2.example';

export interface SiemMessage {
  subject: string;
  msgId: string;
  text: string;
  sequence: number;
}

export class RelayRig implements AsyncDisposable {
  readonly nats: TestNats;
  readonly admin: Bus;
  /** Messages of SIEM, as they arrive. */
  readonly events: SiemMessage[] = [];
  readonly directory: string;
  readonly #end = new AbortController();
  readonly #reading: Promise<void>;
  readonly #services = new Services();
  readonly #publishers = new Map<string, Promise<FramePublisher>>();
  #published = 0;

  private constructor(nats: TestNats, admin: Bus, directory: string, keepsEvents: boolean) {
    this.nats = nats;
    this.admin = admin;
    this.directory = directory;
    writeFileSync(path.join(directory, 'password'), 'password-of-siem-relay', { mode: 0o600 });
    this.#reading = consumeOrdered(admin, 'SIEM', {
      start: 'all',
      onMessage: ({ subject, headers, data, sequence }: StreamMessage) => {
        if (!keepsEvents) return;
        const text = Buffer.from(data).toString('utf8');
        this.events.push({ subject, msgId: headers?.get('Nats-Msg-Id') ?? '', text, sequence });
      },
      signal: this.#end.signal,
    });
  }

  /** @param keepsEvents false: `events` stays empty, for a test with very many */
  static async start(keepsEvents = true): Promise<RelayRig> {
    const nats = await startNats({ users: testUsers([NODE, OTHER_NODE]) });
    const admin = await nats.connect('admin');
    await ensureTopology(admin);
    return new RelayRig(nats, admin, mkdtempSync(path.join(tmpdir(), 'bailiff-siem-')), keepsEvents);
  }

  /** Flags by which `bailiff` is the identity cli on this bus. */
  cliFlags(): string[] {
    const password = path.join(this.directory, 'cli-password');
    writeFileSync(password, 'password-of-cli', { mode: 0o600 });
    return ['--nats-url', this.nats.url, '--nats-password-file', password];
  }

  flags(): string[] {
    const password = path.join(this.directory, 'password');
    const bus = ['--nats-url', this.nats.url, '--nats-user', 'siem-relay', '--nats-password-file', password];
    return [...bus, '--metrics-address', '127.0.0.1:0'];
  }

  /** @param limits of a node; default: those of the product */
  relay(flags: readonly string[] = [], limits?: ShareLimits): Promise<RunningService> {
    return this.#services.start({
      name: 'siem-relay',
      argv: [...this.flags(), ...flags],
      schema: configSchema,
      start: (ctx) => start(ctx, limits),
    });
  }

  /** Several at a time are possible. */
  async #publish(user: string, subject: string, data: Uint8Array): Promise<number> {
    const publishing =
      this.#publishers.get(user) ??
      this.nats.connect(user).then((bus) => new FramePublisher(bus, { ackTimeoutMs: 1_000 }));
    this.#publishers.set(user, publishing);
    this.#published++;
    const msgId = `rig-${this.#published}`;
    const publisher = await publishing;
    await publisher.whenCapacity();
    return (await publisher.publish(subject, data, { msgId })).sequence;
  }

  /** Publishes bytes to the node's own subject. */
  violationBytes(data: Uint8Array, kind: 'spoof' | 'lsm' = 'spoof', node = NODE): Promise<number> {
    return this.#publish(`collector-${node}`, violationSubject(node, kind), data);
  }
  violations(
    violations: Violation[] = [sampleViolation()],
    kind: 'spoof' | 'lsm' = 'spoof',
    node = NODE,
  ): Promise<number> {
    return this.violationBytes(encodeViolationFrame(sampleFrame({ nodeName: node, violations })), kind, node);
  }
  verdict(part: Partial<Verdict> = {}): Promise<number> {
    const verdict = sampleVerdict({ nodeName: NODE, ...part });
    return this.#publish('correlator', verdictSubject(verdict), encodeVerdict(verdict));
  }
  response(part: Partial<Response> = {}): Promise<number> {
    const response = sampleResponse({ nodeName: NODE, ...part });
    return this.#publish('responder', responseSubject(response), encodeResponse(response));
  }

  /** The creation time of a stream, as in uids. */
  async madeToken(stream: string): Promise<string> {
    return Date.parse((await streamInfo(this.admin, stream)).created).toString(36);
  }

  async eventCount(count: number, timeoutMs = 30_000): Promise<void> {
    await waitFor(() => this.events.length >= count, {
      what: `${count} events`,
      timeoutMs,
      state: () => this.events.map(({ subject, msgId }) => `${subject} ${msgId}`),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#services[Symbol.asyncDispose]();
    for (const publishing of this.#publishers.values()) (await publishing).close();
    this.#end.abort();
    await this.#reading;
    await this.nats.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A relay in a process of its own, ready; for tests that kill it. */
export async function launchRelay(flags: readonly string[]): Promise<RunningProcess> {
  const relay = launchApp('siem-relay', flags);
  await relay.logged('ready');
  return relay;
}
