/**
 * The environment of a responder: nats-server, Redis, the API stand-in, and a minimal kubelet that
 * confirms deletions. Responders run in this process (`start`) or in one of their own (test/chaos).
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  type Bus,
  consumeOrdered,
  encodeToken,
  ensureTopology,
  openBucket,
  publishOnce,
  schemaLookup,
  verdictSubject,
} from '@bailiff/bus';
import { startNats, type TestNats } from '@bailiff/bus/testing';
import { type ApiServer, type Change, type RequestRecord, startApiServer } from '@bailiff/lab/apiserver';
import type { ResponsePolicy } from '@bailiff/policy';
import {
  decodeWithLookup,
  encodeVerdict,
  quarantineList,
  type Response,
  SchemaRegistry,
  type Verdict,
} from '@bailiff/schemas';
import type { Clock } from '@bailiff/service';
import { waitFor } from '@bailiff/service/testing';
import type { z } from 'zod';
import { responderSchema } from '../../../apps/responder/src/config.ts';
import { type ResponderHooks, startResponder } from '../../../apps/responder/src/responder.ts';
import { logged } from '../../support/config-log.ts';
import { podObject, podRuns, reportPod } from '../../support/kube.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import { type RunningService, Services } from '../../support/service.ts';
import { accountUser, installAdmission } from '../admission/installed.ts';

/** A policy applies to verdicts that the bus stores this long after it. */
const SETTLE_MS = 1_000;
/** A deaf pod with a longer grace period outlives any test. */
const LONGEST_KILL_MS = 60_000;
export const NODE = 'node-a.example';
/**
 * Default settings of the responder. It shares this process with the API server and the test. With
 * shorter limits than the delays of such a process, it would repeat calls that the server has
 * answered, and take over running tasks.
 */
export const PATIENT = { apiTimeoutMs: 5_000, takeoverMs: 10_000, lockDurationMs: 10_000 };
/**
 * For tests that wait until another responder takes over a killed one's tasks; a repeated call must
 * not matter.
 */
export const HASTY = { apiTimeoutMs: 400, takeoverMs: 1_000, lockDurationMs: 1_000 };

export interface PodOptions {
  namespace?: string;
  node?: string;
  owner?: { kind: string; name: string; uid: string; apiVersion?: string };
  /** It runs another program than its owner's template: verdicts name no owner. */
  forged?: boolean;
  annotations?: Record<string, string>;
  /** Default: labels that the selectors of this rig's owners match. */
  labels?: Record<string, string>;
  /** Of the pod's spec. */
  terminationGracePeriodSeconds?: number;
  hostNetwork?: boolean;
  ready?: boolean;
}
export interface RigPod {
  namespace: string;
  name: string;
  uid: string;
  node: string;
  /** The owner in verdicts; absent: none. */
  ownerUid?: string;
}

export type PolicyInput = { [K in keyof ResponsePolicy]?: unknown };

export class Rig implements AsyncDisposable {
  readonly nats: TestNats;
  readonly redis: TestRedis;
  readonly api: ApiServer;
  readonly bus: Bus;
  readonly directory: string;
  readonly responses: (Response & { sequence: number })[] = [];
  /** Mutating requests, failed ones too. */
  readonly changes: RequestRecord[] = [];
  /** Names of pods that ignore SIGTERM: they end with their grace period. */
  readonly deaf = new Set<string>();
  readonly #end = new AbortController();
  readonly #services = new Services();
  #pods = 0;
  #verdicts = 0;

  private constructor(nats: TestNats, redis: TestRedis, api: ApiServer, bus: Bus, directory: string) {
    this.nats = nats;
    this.redis = redis;
    this.api = api;
    this.bus = bus;
    this.directory = directory;
    writeFileSync(path.join(directory, 'password'), 'password-of-responder', { mode: 0o600 });
    api.requests.listen((record) => {
      if (['create', 'update', 'patch', 'delete'].includes(record.verb)) this.changes.push(record);
    });
    // The kubelet: confirms the deletion of a marked pod.
    api.store.subscribe((change) => {
      if (change.storage !== 'pods' || change.type !== 'MODIFIED') return;
      const { name, namespace, deletionTimestamp } = change.object.metadata;
      if (deletionTimestamp === undefined) return;
      const kill = () => {
        if (api.store.get('pods', change.key)?.metadata.uid !== change.object.metadata.uid) return;
        api.api.delete('pods', { namespace: namespace as string, name }, { gracePeriodSeconds: 0 });
      };
      if (!this.deaf.has(name)) return queueMicrotask(kill);
      const graceMs = (change.object.metadata.deletionGracePeriodSeconds ?? 0) * 1000;
      if (graceMs <= LONGEST_KILL_MS) setTimeout(kill, graceMs).unref();
    });
    // A recorded bus has records of its own version.
    const schemas = new SchemaRegistry(schemaLookup(bus));
    void consumeOrdered(bus, 'RESPONSES', {
      start: 'all',
      onMessage: async ({ data, sequence }) => {
        const { value } = await decodeWithLookup(data, schemas);
        this.responses.push({ ...(value as Response), sequence });
      },
      signal: this.#end.signal,
    });
  }

  /** @param own the rig stops it. Default: a new one */
  static async start(own?: TestNats): Promise<Rig> {
    const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-responder-'));
    const [nats, redis, api] = await Promise.all([
      own ?? startNats(),
      startRedis(),
      startApiServer({
        certDir: path.join(directory, 'certs'),
        tokens: [{ user: accountUser('bailiff-responder'), token: 'token-responder' }],
      }),
    ]);
    installAdmission(api, 'responder-narrowed');
    const bus = await nats.connect('admin');
    await ensureTopology(bus);
    const rig = new Rig(nats, redis, api, bus, directory);
    for (const name of [NODE, 'node-b']) api.api.create('nodes', { metadata: { name } });
    api.api.create('namespaces', { metadata: { name: 'shop' } });
    return rig;
  }

  /** Flags of a responder's command line. */
  argv(more: Partial<Record<keyof z.input<typeof responderSchema>, unknown>> = {}): string[] {
    const flags = {
      natsUrl: this.nats.url,
      natsUser: 'responder',
      natsPasswordFile: path.join(this.directory, 'password'),
      kubeconfig: this.api.kubeconfigPath(),
      redisUrl: this.redis.url,
      ...PATIENT,
      retryBaseMs: 20,
      retryMaxMs: 200,
      scanIntervalMs: 500,
      ...more,
    };
    const flagOf = (key: string) => `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    return Object.entries(flags).flatMap(([key, value]) =>
      typeof value === 'boolean' ? [`${flagOf(key)}=${value}`] : [flagOf(key), String(value)],
    );
  }

  /** Starts a responder in this process without waiting. @param clock of its machine */
  begin(more: Parameters<Rig['argv']>[0] = {}, hooks: ResponderHooks = {}, clock?: Clock): RunningService {
    return this.#services.begin({
      name: 'responder',
      argv: this.argv(more),
      schema: responderSchema,
      start: (ctx) => startResponder(clock ? { ...ctx, clock } : ctx, hooks),
    });
  }

  /** A responder in this process, ready. */
  async start(...how: Parameters<Rig['begin']>): Promise<RunningService> {
    const responder = this.begin(...how);
    await responder.until('ready');
    return responder;
  }

  /** Writes policies and waits until they apply to new verdicts. */
  async policies(policies: Record<string, PolicyInput>): Promise<void> {
    const loggedAtMs: number[] = [];
    for (const [name, policy] of Object.entries(policies)) {
      const key = `response.cluster._.${name}`;
      await openBucket(this.bus, 'bailiff_config').put(key, JSON.stringify(policy));
      loggedAtMs.push((await logged(this.bus, { key, json: JSON.stringify(policy) })) / 1000);
    }
    await this.settle(Math.max(...loggedAtMs));
  }

  /** Waits until all policies stored by this time apply to new verdicts. */
  async settle(lastMs = Date.now()): Promise<void> {
    await waitFor(() => Date.now() - lastMs > SETTLE_MS + 10, { what: 'the policies to be in force' });
  }

  pod(options: PodOptions = {}): RigPod {
    return this.podCalled(`pod-${++this.#pods}`, options);
  }

  podCalled(name: string, options: PodOptions): RigPod {
    const { namespace = 'shop', node = NODE, owner, annotations, ready = true } = options;
    const { labels = owner && { app: owner.name }, terminationGracePeriodSeconds, hostNetwork } = options;
    const ownerReferences = owner ? [{ apiVersion: 'apps/v1', controller: true, ...owner }] : undefined;
    const object = podObject(name, {
      metadata: { namespace, annotations, labels, ownerReferences },
      spec: { nodeName: node, terminationGracePeriodSeconds, hostNetwork },
    });
    const created = this.api.api.create('pods', object);
    reportPod(this.api.api, { namespace, name }, podRuns(ready));
    return { namespace, name, uid: created.metadata.uid, node, ownerUid: options.forged ? '' : (owner?.uid ?? '') };
  }

  /** A ReplicaSet with its count of ready replicas; create its pods with `pod({owner})`. */
  replicaSet(name: string, replicas: number, ready = replicas): NonNullable<PodOptions['owner']> {
    const ref = { namespace: 'shop', name };
    const created = this.api.api.create('replicasets.apps', {
      metadata: ref,
      spec: { replicas, selector: { matchLabels: { app: name } } },
    });
    const status = { replicas, readyReplicas: ready };
    this.api.api.patch('replicasets.apps', ref, 'application/merge-patch+json', { status }, { subresource: 'status' });
    return { kind: 'ReplicaSet', name, uid: created.metadata.uid };
  }

  /** A DaemonSet; create its pods with `pod({owner})`. */
  daemonSet(name: string): NonNullable<PodOptions['owner']> {
    const spec = { selector: { matchLabels: { app: name } } };
    const created = this.api.api.create('daemonsets.apps', { metadata: { namespace: 'shop', name }, spec });
    return { kind: 'DaemonSet', name, uid: created.metadata.uid };
  }

  verdictOf(pod: RigPod | null, more: Partial<Verdict> = {}): Verdict {
    const verdictId = createHash('sha256')
      .update(`${this.directory}/${++this.#verdicts}`)
      .digest('hex')
      .slice(0, 32);
    const nowMicros = Date.now() * 1000;
    return {
      verdictId,
      rule: 'repeated-spoofing',
      ruleType: 'event_count',
      // Below the level of the built-in policy, so that only a test's own policies act.
      level: 'medium',
      groupBy: pod ? 'pod' : 'node',
      groupKey: pod?.uid ?? NODE,
      configRevision: 0,
      triggeredAt: nowMicros,
      windowStartAt: nowMicros - 60_000_000,
      observed: 10,
      threshold: 10,
      vectors: ['ipv4-source'],
      nodeName: pod?.node ?? NODE,
      pod: pod && {
        uid: pod.uid,
        namespace: pod.namespace,
        name: pod.name,
        ownerKind: '',
        ownerName: '',
        ownerUid: pod.ownerUid ?? '',
      },
      evidence: [],
      evidenceOmitted: 0,
      reason: '10 packets under a forged source within 60s',
      tags: [],
      audited: false,
      ...more,
    };
  }

  /** Publishes a verdict. */
  async verdict(pod: RigPod | null, more: Partial<Verdict> = {}): Promise<Verdict> {
    const verdict = this.verdictOf(pod, more);
    await this.publish(verdict);
    return verdict;
  }
  async publish(verdict: Verdict): Promise<void> {
    await publishOnce(this.bus, verdictSubject(verdict), encodeVerdict(verdict));
  }

  /** Records about a verdict, in the order of the stream. */
  of({ verdictId }: Verdict, action?: string): Response[] {
    return this.responses.filter((r) => r.verdictId === verdictId && (action === undefined || r.action === action));
  }

  /** Waits for the record of a phase. */
  until(verdict: Verdict, action: string, phase: Response['phase'] | Response['phase'][], timeoutMs = 30_000) {
    const phases = [phase].flat();
    return waitFor(() => this.of(verdict, action).find((r) => phases.includes(r.phase)), {
      what: `${action} to be ${phases.join(' or ')}`,
      timeoutMs,
      state: () => ({
        responses: this.of(verdict).map(brief),
        changes: this.changes.slice(-5).map(briefCall),
        logs: this.#services.running.map((responder) => responder.log().slice(-5)),
      }),
    });
  }

  /**
   * All versions of an object from now on, newest last. A test that only polls would miss
   * short-lived ones.
   */
  versionsOf(storage: 'pods' | 'nodes', name: string) {
    const versions: Change['object'][] = [];
    this.api.store.subscribe((change) => {
      if (change.storage === storage && change.object.metadata.name === name) versions.push(change.object);
    });
    return versions;
  }

  podNow(pod: RigPod) {
    try {
      return this.api.api.get('pods', { namespace: pod.namespace, name: pod.name });
    } catch {
      return null;
    }
  }

  /** Requests that change a pod, as verb and status. */
  changesOf(pod: RigPod, verb?: string): RequestRecord[] {
    return this.changes.filter(
      (c) => c.name === pod.name && c.namespace === pod.namespace && (verb === undefined || c.verb === verb),
    );
  }

  async quarantined(node = NODE): Promise<string[]> {
    const entry = await openBucket(this.bus, 'bailiff_quarantine').get(encodeToken(node));
    return entry ? quarantineList.parse(JSON.parse(entry.value.toString())).entries.map((e) => e.podUid) : [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#services[Symbol.asyncDispose]();
    this.#end.abort();
    await Promise.all([this.nats.stop(), this.redis[Symbol.asyncDispose](), this.api.close()]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export const brief = (r: Response) => `${r.action}/${r.phase}${r.reasonCode ? `(${r.reasonCode}: ${r.reason})` : ''}`;
const briefCall = (c: RequestRecord) => `${c.verb} ${c.path} ${c.status}`;

/**
 * A policy that acts: not a dry run, and matched by the name of a rule, to separate the tests of a
 * file.
 */
export function acting(rule: string, steps: unknown[], guards: Record<string, unknown> = {}): PolicyInput {
  const wide = { window: '10m', maxPods: 100_000, maxQuarantines: 100_000, maxPercent: 100, maxNodes: 100 };
  const deleteStorm = { deletes: 1000, window: '10m' };
  return { dryRun: false, match: { rules: [rule] }, steps, guards: { budget: wide, deleteStorm, ...guards } };
}
