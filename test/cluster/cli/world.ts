/**
 * A bus as in a running cluster, for the CLI to read: a real server with the whole topology. Each
 * identity writes its own frames, verdicts, responses, node status, pods and quarantine lists.
 *
 * The story: shop/web-0 on node-a spoofed IPv4 and ARP and was deleted. payments/vpn-0 on
 * node-b.example tunnels, which is audited; its deletion waits for approval. shop/cart-1 is in
 * quarantine.
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
  InstanceReporter,
  openBucket,
  type Position,
  publishOnce,
  responseSubject,
  SERVICES_BUCKET,
  type StreamMessage,
  verdictSubject,
  violationSubject,
} from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { responseIdOf } from '@bailiff/response';
import {
  encodeResponse,
  encodeVerdict,
  encodeViolationFrame,
  type NodeStatus,
  type PodRef,
  type Response,
  type Verdict,
  type Violation,
  type ViolationFrame,
} from '@bailiff/schemas';
import { sampleFrame, sampleResponse, sampleVerdict, sampleViolation } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import { type CliRun, runCli } from '../../../apps/cli/src/testing.ts';

export const NODE_A = 'node-a';
export const NODE_B = 'node-b.example';
const NODES: readonly string[] = [NODE_A, NODE_B];

type ServiceName = 'correlator' | 'responder' | 'ipam-sync';
const STREAM_OF = { correlator: 'VIOLATIONS', responder: 'VERDICTS', 'ipam-sync': 'KV_bailiff_pods' } as const;

export const uid = (n: number) => `0f0e0d0c-0000-4222-8333-${String(n).padStart(12, '0')}`;

export const WEB: PodRef = {
  uid: uid(1),
  namespace: 'shop',
  name: 'web-0',
  serviceAccount: 'default',
  ownerKind: 'StatefulSet',
  ownerName: 'web',
  ownerUid: uid(101),
};
export const VPN: PodRef = {
  ...WEB,
  uid: uid(2),
  namespace: 'payments',
  name: 'vpn-0',
  ownerName: 'vpn',
  ownerUid: uid(102),
};
export const CART: PodRef = { ...WEB, uid: uid(3), name: 'cart-1', ownerName: 'cart', ownerUid: uid(103) };

export const verdictId = (n: number) =>
  `${n.toString(16).padStart(4, '0')}5f1d3c7a9b2e4d60aa11bb22cc33`.slice(0, 32).padEnd(32, '0');

/** A violation of a pod, some milliseconds before or after the start of the story. */
export function violationOf(atMicros: number, pod: PodRef | null, part: Partial<Violation> = {}): Violation {
  const { sample } = sampleViolation();
  const vector = part.vector ?? 'ipv4-source';
  const action = part.action ?? 'drop';
  const grown = part.cumulativePackets ?? 1;
  return sampleViolation({
    firstSeenAt: atMicros,
    lastSeenAt: atMicros,
    cumulativePackets: grown,
    count: 1,
    suppressed: 0,
    counterEpoch: `boot/${pod?.uid ?? 'unknown'}/1/${vector}/${action}/programmed`,
    pod,
    sample: sample && { ...sample, observedAt: atMicros },
    ...part,
    vector,
    action,
  });
}

export class World implements AsyncDisposable {
  readonly nats: TestNats;
  readonly directory: string;
  readonly passwordFile: string;
  /** Start of the story: the first spoofed packet. */
  readonly t0Micros: number;
  #frames = 0;

  readonly #buses = new Map<string, Promise<Bus>>();

  private constructor(nats: TestNats, directory: string, t0Micros: number) {
    this.nats = nats;
    this.directory = directory;
    this.t0Micros = t0Micros;
    this.passwordFile = path.join(directory, 'password');
    writeFileSync(this.passwordFile, 'password-of-cli', { mode: 0o600 });
  }

  static async start(): Promise<World> {
    const nats = await startNats({ users: testUsers([NODE_A, NODE_B]) });
    await ensureTopology(await nats.connect('admin'));
    const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-cli-'));
    return new World(nats, directory, Date.now() * 1000 - 1_000_000);
  }

  /** A connection of this identity. */
  as(user: string): Promise<Bus> {
    const bus = this.#buses.get(user) ?? this.nats.connect(user);
    this.#buses.set(user, bus);
    return bus;
  }

  /** Flags that select this bus. */
  get bus(): string[] {
    return ['--nats-url', this.nats.url, '--nats-password-file', this.passwordFile];
  }

  /** Runs `bailiff <args>` in this process against this bus. */
  cli(args: string[], options: Parameters<typeof runCli>[1] = {}): Promise<CliRun> {
    const env = { BAILIFF_NATS_URL: this.nats.url, BAILIFF_NATS_PASSWORD_FILE: this.passwordFile, ...options.env };
    return runCli(args, { home: this.directory, ...options, env });
  }

  /** Violations of one kind. @returns the sequence in VIOLATIONS */
  async frame(node: string, violations: Violation[], part: Partial<ViolationFrame> = {}): Promise<number> {
    this.#frames += 1;
    const frame = sampleFrame({
      nodeName: node,
      frameSequence: this.#frames,
      publishedAt: Date.now() * 1000,
      coverage: [],
      ...part,
      violations,
    });
    const publisher = new FramePublisher(await this.as(`collector-${node}`));
    const msgId = `${node}-${this.#frames}`;
    const { sequence } = await publisher.publish(
      violationSubject(node, violations[0]?.kind ?? 'spoof'),
      encodeViolationFrame(frame),
      {
        msgId,
      },
    );
    publisher.close();
    return sequence;
  }

  async verdict(part: Partial<Verdict>): Promise<Verdict> {
    const verdict = sampleVerdict({ triggeredAt: Date.now() * 1000, nodeName: NODE_A, configRevision: 0, ...part });
    await publishOnce(await this.as('correlator'), verdictSubject(verdict), encodeVerdict(verdict));
    return verdict;
  }

  async response(verdict: Verdict, part: Partial<Response> & Pick<Response, 'action' | 'phase'>): Promise<Response> {
    const group = ['succeeded', 'dryrun', 'refused', 'failed'].includes(part.phase) ? 'terminal' : part.phase;
    const policy = part.policy ?? 'answer-high';
    const quiet = { apiVerb: '', apiPath: '', apiStatus: 0, reason: '', reasonCode: '', expiresAt: null };
    const response = sampleResponse({
      ...quiet,
      verdictId: verdict.verdictId,
      policy,
      level: verdict.level,
      rule: verdict.rule,
      podUid: verdict.pod?.uid ?? '',
      podNamespace: verdict.pod?.namespace ?? '',
      podName: verdict.pod?.name ?? '',
      nodeName: verdict.nodeName,
      recordedAt: Date.now() * 1000,
      ...part,
      responseId: responseIdOf({ verdictId: verdict.verdictId, policy, action: part.action }, group as never),
    });
    await publishOnce(await this.as('responder'), responseSubject(response), encodeResponse(response));
    return response;
  }

  async status(status: NodeStatus): Promise<void> {
    const bus = await this.as(NODES.includes(status.nodeName) ? `collector-${status.nodeName}` : 'admin');
    await openBucket(bus, 'bailiff_nodes').put(encodeToken(status.nodeName), JSON.stringify(status));
  }

  async put(bucket: string, key: string, value: unknown): Promise<void> {
    await openBucket(await this.as('admin'), bucket).put(
      key,
      typeof value === 'string' ? value : JSON.stringify(value),
    );
  }

  /** Reads and publishes a status as the services do, until it is disposed. */
  async services(names: readonly ServiceName[] = ['correlator', 'responder', 'ipam-sync']): Promise<AsyncDisposable> {
    const started = await Promise.all(names.map((name) => this.#service(name)));
    return {
      [Symbol.asyncDispose]: async () => {
        for (const stop of started) await stop();
      },
    };
  }

  async #service(name: ServiceName): Promise<() => Promise<void>> {
    const bus = await this.as(name);
    const end = new AbortController();
    let position: Position = { sequence: 0, timestampMicros: 0 };
    let reading: Promise<unknown> = Promise.resolve();
    const stream = STREAM_OF[name];
    if (name !== 'ipam-sync') {
      await new Promise<void>((resolve) => {
        const onMessage = ({ sequence, timestampMicros }: StreamMessage) => {
          position = { sequence, timestampMicros };
        };
        const { signal } = end;
        reading = consumeOrdered(bus, stream, { start: 'all', onMessage, onIdle: () => resolve(), signal });
      });
    }
    const reporter = new InstanceReporter({
      bus,
      service: name,
      ctx: {
        version: '0.1.0',
        clock: { nowMs: Date.now },
        health: { checkReady: async () => ({ ok: true, checks: {} }) },
      },
      progress: [{ stream, position: () => position, ...(name === 'ipam-sync' ? { behind: () => 0 } : {}) }],
      more: () => (name === 'ipam-sync' ? { leads: true } : {}),
      onError: (error) => {
        throw error;
      },
    });
    const bucket = openBucket(await this.as('cli'), SERVICES_BUCKET);
    await waitFor(async () => (await bucket.get(reporter.key)) !== null, { what: `the status of ${name}` });
    return async () => {
      end.abort();
      await reading;
      await reporter.close();
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.nats.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const podOf = ({ uid: podUid, namespace, name, ownerKind, ownerName, ownerUid }: PodRef) => ({
  uid: podUid,
  namespace,
  name,
  ownerKind,
  ownerName,
  ownerUid,
});

export interface Story {
  spoofing: Verdict;
  tunnelling: Verdict;
  pending: Response;
  quarantining: Verdict;
  /** Sequences of the attack's frames. */
  frames: number[];
}

/** Publishes the story of the file head. */
export async function publishStory(world: World): Promise<Story> {
  const { t0Micros: t0 } = world;
  const ms = 1000;
  const arp = { vector: 'arp-sender', counterEpoch: `boot/${WEB.uid}/1/arp` };
  const frames = [
    await world.frame(NODE_A, [violationOf(t0, WEB)]),
    await world.frame(NODE_A, [
      violationOf(t0 + 20 * ms, WEB, { cumulativePackets: 321, count: 8, suppressed: 312, lastSeenAt: t0 + 240 * ms }),
      violationOf(t0 + 120 * ms, WEB, arp),
    ]),
  ];
  const audited = { vector: 'tunnel-other', action: 'audit' as const, counterEpoch: `boot/${VPN.uid}/1/tunnel` };
  await world.frame(
    NODE_B,
    [
      violationOf(t0 + 300 * ms, VPN, { ...audited, cumulativePackets: 40, count: 8, suppressed: 32 }),
      violationOf(t0 + 310 * ms, null, {
        vector: 'unknown-interface',
        action: 'audit',
        state: 'unknown',
        sample: null,
      }),
    ],
    {
      coverage: [
        { interfaceName: 'vethfeed01', ifindex: 9, generation: 1, packetsBeforeGuard: 3, appearedToGuardedMicros: 812 },
      ],
    },
  );
  const spoofing = await world.verdict({
    verdictId: verdictId(0xaaaa),
    groupKey: WEB.uid,
    pod: podOf(WEB),
    observed: 322,
    vectors: ['arp-sender', 'ipv4-source'],
    triggeredAt: t0 + 260 * ms,
    windowStartAt: t0 - 60_000 * ms,
    evidence: [
      { streamSequence: frames[0] as number, index: 0, vector: 'ipv4-source', packets: 1, process: null },
      { streamSequence: frames[1] as number, index: 0, vector: 'ipv4-source', packets: 320, process: null },
      { streamSequence: frames[1] as number, index: 1, vector: 'arp-sender', packets: 1, process: null },
    ],
    reason: '322 packets (arp-sender, ipv4-source) from pod shop/web-0 on node-a within 60 s; 10 make it high',
  });
  const path_ = '/api/v1/namespaces/shop/pods/web-0';
  // All steps of the built-in policy. Otherwise doctor reports a verdict without a response when
  // the story is half a minute old.
  await world.response(spoofing, { action: 'observe', phase: 'succeeded' });
  await world.response(spoofing, { action: 'label', phase: 'started' });
  await world.response(spoofing, {
    action: 'label',
    phase: 'succeeded',
    apiVerb: 'PATCH',
    apiPath: path_,
    apiStatus: 200,
  });
  await world.response(spoofing, { action: 'delete', phase: 'started' });
  await world.response(spoofing, {
    action: 'delete',
    phase: 'succeeded',
    apiVerb: 'DELETE',
    apiPath: path_,
    apiStatus: 200,
  });
  const tunnelling = await world.verdict({
    verdictId: verdictId(0xbbbb),
    rule: 'audited-spoofing',
    level: 'low',
    groupKey: VPN.uid,
    pod: podOf(VPN),
    nodeName: NODE_B,
    observed: 40,
    vectors: ['tunnel-other'],
    evidence: [{ streamSequence: 3, index: 0, vector: 'tunnel-other', packets: 40, process: null }],
    reason: '40 packets (tunnel-other) from pod payments/vpn-0 on node-b.example within 300 s; 10 make it low',
  });
  const pending = await world.response(tunnelling, {
    action: 'delete',
    phase: 'pending',
    reasonCode: 'approval-required',
    reason: 'policy answer-high lets a person decide',
  });
  const quarantining = await world.verdict({
    verdictId: verdictId(0xcccc),
    groupKey: CART.uid,
    pod: podOf(CART),
    level: 'critical',
    rule: 'many-identities',
    evidence: [{ streamSequence: 999_999, index: 0, vector: 'ipv6-source', packets: 77, process: null }],
  });
  const untilMicros = Date.now() * 1000 + 3_600_000_000;
  for (const action of ['observe', 'label', 'delete'] as const)
    await world.response(quarantining, { action, phase: action === 'observe' ? 'succeeded' : 'dryrun' });
  await world.response(quarantining, { action: 'quarantine', phase: 'started', expiresAt: untilMicros });
  await world.response(quarantining, { action: 'quarantine', phase: 'succeeded', expiresAt: untilMicros });
  await world.put('bailiff_quarantine', encodeToken(NODE_A), {
    nodeName: NODE_A,
    revision: 1,
    entries: [
      {
        podUid: CART.uid,
        podNamespace: CART.namespace,
        podName: CART.name,
        verdictId: quarantining.verdictId,
        until: new Date(untilMicros / 1000).toISOString(),
        reason: quarantining.reason,
      },
    ],
  });
  return { spoofing, tunnelling, pending, quarantining, frames };
}

/** A healthy node; `part` replaces fields. */
export function healthyStatus(nodeName: string, part: Partial<NodeStatus> = {}): NodeStatus {
  const now = new Date().toISOString();
  const iface = (index: number, pod: PodRef) => ({
    interfaceName: `veth${index}`,
    ifindex: index,
    generation: 1,
    coverage: 'guarded' as const,
    reason: '',
    state: 'programmed' as const,
    podUid: pod.uid,
    podNamespace: pod.namespace,
    podName: pod.name,
    addresses: [`10.1.0.${index}`, `fd00::${index}`],
    mac: `02:00:00:00:00:${String(index).padStart(2, '0')}`,
    packetsBeforeGuard: 0,
    quarantinedUntil: null,
  });
  return {
    nodeName,
    bootId: '7d3a9c52-0b1f-4a62-8a2e-0d3f5b0c9f11',
    collectorVersion: '0.1.0',
    updatedAt: now,
    startedAt: now,
    hook: 'tcx',
    features: [
      { name: 'tcx', available: true, reason: '', remedy: '' },
      { name: 'bpf-lsm', available: false, reason: 'EPERM', remedy: 'boot with lsm=…,bpf' },
    ],
    interfaces: [iface(11, WEB), iface(12, CART)],
    snapshotRevision: 4,
    snapshotRefused: '',
    configRefused: [],
    disarmedUntil: null,
    maps: [{ name: 'ifaces', used: 2, capacity: 512 }],
    losses: { ringFull: 0, noCounter: 0, noIface: 0 },
    bus: { connected: true, unackedFrames: 0, publishedFrames: 12, resentFrames: 0 },
    ...part,
  };
}
