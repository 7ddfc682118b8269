/**
 * ipam-sync: Kubernetes → `bailiff_pods`, and custom resources → `bailiff_config` (mirror/).
 * Informers on pods and nodes update the cluster state, every change marks the affected snapshots,
 * and the leader's writer reconciles them. Standbys run everything except the writers, so a
 * failover needs no list.
 *
 * Invariants: nothing is written before pods, nodes and the administrator's permits are completely
 * read, because a partial list would remove identities. Only the leader writes.
 */

import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import {
  type Bus,
  BusError,
  decodeToken,
  encodeToken,
  type InstanceReporter,
  openBucket,
  type Position,
} from '@bailiff/bus';
import { type KubeApi, type KubeError, LeaderElector, type Node, type Pod, Reflector } from '@bailiff/kube';
import { CLUSTER_KEY, isStaticUid, podIdentity } from '@bailiff/schemas';
import { pause, RateLimitedLog, type ServiceContext } from '@bailiff/service';
import type { IpamSyncConfig } from './config.ts';
import { createMirror, createTaintController } from './controllers.ts';
import { type Metrics, makeMetrics } from './metrics.ts';
import type { PolicyMirror } from './mirror/mirror.ts';
import { OwnerResolver } from './pods/owners.ts';
import { type ListedPod, type NodeRecord, nodeRecord, type PodRecord, podRecord } from './pods/records.ts';
import { UnknownPods } from './pods/unknown-pods.ts';
import { addChecks, readingsOf } from './readings.ts';
import { ServicesFeed } from './services/services-feed.ts';
import { LabelKeys } from './settings/label-keys.ts';
import { SettingsFeed } from './settings/settings-feed.ts';
import { ClusterReader } from './snapshots/cluster-reader.ts';
import { ClusterState, type Touched } from './snapshots/cluster-state.ts';
import { EndedPods } from './snapshots/ended-pods.ts';
import { Omissions } from './snapshots/omissions.ts';
import { identityOf, type PlanInput, planCluster, planNode } from './snapshots/plan.ts';
import { watchUnlistedPods } from './snapshots/unlisted-pods.ts';
import { type Snapshot, SnapshotWriter, type WriterStats } from './snapshots/writer.ts';
import { createStatusReporter } from './status-reporter.ts';
import { NODES_BUCKET, type TaintController } from './taint/controller.ts';
import { type NodeObject, nodeObject } from './taint/node-object.ts';

export const PODS_BUCKET = 'bailiff_pods';
export const CONFIG_BUCKET = 'bailiff_config';
/** A term's first write waits this long for owners and Services; an older role cannot read these. */
const FIRST_WAIT_MS = 10_000;
/** A leader without a bus connection for this long releases the lease. */
const BUS_GRACE_MS = 10_000;
/** Short, because two replicas do not overload a restarted API server. */
const INFORMER_BACKOFF = { baseMs: 200, maxMs: 5_000 };

/** A node: its part of the snapshots, and the input of the taint controller. */
interface KeptNode {
  record: NodeRecord;
  object: NodeObject;
}

/** Interval at which former pods are forgotten, and old templates are read again. */
const TIDY_MS = 30_000;
/** Shortest time between two lists of all pods because room for their records is free. */
const LIST_MORE_MS = 60_000;

export class IpamSync {
  readonly state: ClusterState;
  readonly ended = new EndedPods(() => this.labelKeys.keys);
  readonly omissions = new Omissions();
  readonly pods: Reflector<ListedPod>;
  readonly nodes: Reflector<KeptNode>;
  readonly services: ServicesFeed;
  readonly settings: SettingsFeed;
  readonly labelKeys: LabelKeys;
  readonly owners: OwnerResolver;
  readonly elector: LeaderElector;
  readonly writes: WriterStats = { writes: 0, deletes: 0, conflicts: 0, failures: 0, tooLarge: 0 };
  writer: SnapshotWriter | null = null;
  /** null: custom resources are not mirrored. */
  readonly mirror: PolicyMirror | null;
  readonly taints: TaintController;
  readonly cluster: ClusterReader;
  #ctx: ServiceContext<IpamSyncConfig>;
  #bus: Bus;
  #metrics: Metrics;
  #statusReporter: InstanceReporter;
  #busLostAtMs: number | null = null;
  #term: Promise<void> = Promise.resolve();
  readonly #log: RateLimitedLog;
  readonly #unknown = new UnknownPods((areSome) => {
    this.state.hasUnknownPods = areSome;
    this.#mark(new Set(this.state.nodeNames()));
  });
  #listedMoreMs = Number.NEGATIVE_INFINITY;
  /** Newest snapshot that this process has written. */
  #written: Position = { sequence: 0, timestampMicros: 0 };

  constructor(ctx: ServiceContext<IpamSyncConfig>, client: KubeApi, bus: Bus) {
    const { config, signal } = ctx;
    this.#ctx = ctx;
    this.#log = new RateLimitedLog(ctx.log);
    this.#bus = bus;
    const { pageLimit, inactivityMs } = config;
    const informer = { client, pageLimit, inactivityMs, backoff: INFORMER_BACKOFF };
    const onError = (resource: string) => (error: KubeError) => {
      this.#metrics.kubeErrors.labels(resource, error.code).inc();
      this.#warn(`kubernetes ${resource}`, error);
    };
    this.state = new ClusterState(config.maxPodBytes);
    this.pods = new Reflector<ListedPod>({
      ...informer,
      path: '/api/v1/pods',
      select: (object) => this.#listed(podRecord(object as Pod, this.labelKeys.keys)),
      onAdd: (pod) => this.#podChanged(pod),
      onUpdate: (pod) => this.#podChanged(pod),
      onDelete: (pod) => this.#podRemoved(pod.uid),
      onSync: () => this.#unknown.listed(),
      onLate: (areLate) => this.#late(areLate),
      onError: onError('pods'),
    });
    this.nodes = new Reflector<KeptNode>({
      ...informer,
      path: '/api/v1/nodes',
      select: (object) => ({ record: nodeRecord(object as Node), object: nodeObject(object as Node) }),
      onAdd: ({ record }) => this.#nodeChanged(this.state.putNode(record)),
      onUpdate: ({ record }) => this.#nodeChanged(this.state.putNode(record)),
      onDelete: ({ record }) => this.#nodeChanged(this.state.removeNode(record.name)),
      onError: onError('nodes'),
    });
    this.services = new ServicesFeed({
      informer,
      onError,
      nowMs: ctx.clock.nowMs,
      nodes: () => this.state.nodes(),
      onChange: () => this.#mark(new Set([CLUSTER_KEY])),
      onClaim: (service) =>
        this.#log.warn('services', { service }, 'claims an address that leads to a tunnel port of a node'),
    });
    this.cluster = new ClusterReader({
      client,
      name: config.clusterName,
      clock: ctx.clock,
      onChange: () => this.#mark(new Set([CLUSTER_KEY])),
      onError: onError('namespaces'),
    });
    const configuration = openBucket(bus, CONFIG_BUCKET);
    this.settings = new SettingsFeed(configuration, () => this.#settingsChanged(), config.configSigners);
    this.labelKeys = new LabelKeys(configuration, () => this.#labelKeysChanged());
    this.#statusReporter = createStatusReporter({
      ctx,
      bus,
      sync: this,
      bucket: PODS_BUCKET,
      written: () => this.#written,
      onError: (error) => this.#warn('status', error),
    });
    this.owners = new OwnerResolver({
      client,
      signal,
      inUse: () => this.state.records(),
      onResolved: (uid, namespace) => this.#ownerResolved(uid, namespace),
    });
    const parts = { ctx, client, bus, isLeader: () => this.isLeader };
    this.mirror =
      config.mirror === 'off'
        ? null
        : createMirror({ ...parts, onKubeError: (resource, error) => onError(resource)(error) });
    this.taints = createTaintController({
      ...parts,
      setting: () => this.settings.unguardedNodes,
      nodes: () => this.nodes.values().map(({ object }) => object),
      onKubeError: onError('taints'),
      onStatus: () => this.#statusReporter.report(),
    });
    this.elector = new LeaderElector({
      client,
      namespace: config.leaseNamespace,
      name: config.leaseName,
      identity: `${hostname()}_${randomUUID()}`,
      timing: { durationMs: config.leaseDurationMs, renewDeadlineMs: config.renewDeadlineMs, retryMs: config.retryMs },
      eligible: () => this.#eligible(),
      onLeading: (term) => this.#lead(term),
      onError: onError('lease'),
    });
    this.#metrics = makeMetrics(ctx.metrics, () => readingsOf(this, this.#statusReporter.stalledSeconds));
  }

  /** True when all inputs of a plan have been read. */
  get informed(): boolean {
    return this.pods.synced && this.nodes.synced && this.settings.synced;
  }
  get isLeader(): boolean {
    return this.#ctx.config.leaderElection ? this.elector.isLeader : !this.#ctx.signal.aborted;
  }

  /** Runs until the context's signal aborts. */
  async run(): Promise<void> {
    const { config, signal } = this.#ctx;
    this.#bus.statusListeners.add((status) => {
      if (status.type === 'connected') this.#busLostAtMs = null;
      else if (status.type === 'disconnected') this.#busLostAtMs ??= performance.now();
    });
    addChecks(this.#ctx, this);
    if (!config.leaderElection) this.#lead(signal);
    const tidy = () => {
      this.#mark(this.ended.expire(performance.now()));
      if (this.#ctx.config.resolveOwners) this.owners.refresh();
    };
    this.#ctx.onStop('tidying', this.#ctx.clock.setRepeating(tidy, TIDY_MS));
    await Promise.all([
      // After the label keys: pods are read with the label names that must not be cut.
      this.labelKeys.whenSynced(signal).then(() => this.pods.run(signal)),
      this.nodes.run(signal),
      this.services.run(signal),
      this.cluster.run(signal),
      this.mirror?.run(signal),
      this.#retrying(() => this.settings.run(signal), signal),
      this.#retrying(() => this.labelKeys.run(signal), signal),
      config.leaderElection ? this.elector.run(signal) : undefined,
    ]);
  }

  /** After the signal: waits for the last write, then hands the lease over. */
  async stop(): Promise<void> {
    await this.#statusReporter.close();
    await this.#term;
    if (this.#ctx.config.leaderElection) await this.elector.release();
  }

  #plan(key: string): Snapshot | null {
    if (key === CLUSTER_KEY) return planCluster(this.state, this.services.list, this.cluster.identity);
    const nodeName = decodeToken(key);
    const plan = planNode(nodeName, { ...this.#identities, selectedBy: this.labelKeys.keys, ended: this.ended });
    this.omissions.planned(nodeName, plan);
    return plan;
  }

  get #identities(): Pick<PlanInput, 'state' | 'permits' | 'ownersOf'> {
    const { state, settings, owners } = this;
    return { state, permits: settings.permits, ownersOf: (pod) => owners.chainOf(pod) };
  }

  /** What the former leader listed: a pod may have been removed since. */
  #found(snapshot: Snapshot): void {
    if (!('pods' in snapshot) || !Array.isArray(snapshot.pods)) return;
    for (const value of snapshot.pods) {
      const pod = podIdentity.safeParse(value).data;
      // The kubelet makes the mirror of a static pod again.
      const mayRunOn = pod !== undefined && !isStaticUid(pod.uid);
      if (mayRunOn && !this.state.mayExist(pod.uid)) this.ended.removed(snapshot.nodeName, pod, performance.now());
    }
  }

  #lead(term: AbortSignal): void {
    const { log, signal } = this.#ctx;
    log.info({ holder: this.elector.holder }, 'leading');
    this.#statusReporter.report();
    // A term starts after the last write of the previous one.
    this.#term = this.#term.then(() => this.#serve(AbortSignal.any([term, signal])));
    this.#term.catch((error) => this.#ctx.fail(error as Error));
    const onEnd = () => {
      log.info('no longer leading');
      this.#statusReporter.report();
    };
    term.addEventListener('abort', onEnd, { once: true });
  }

  async #serve(term: AbortSignal): Promise<void> {
    while (!this.informed && !term.aborted) await pause(10, term);
    await Promise.race([this.owners.whenIdle(), pause(FIRST_WAIT_MS, term)]);
    const deadline = performance.now() + FIRST_WAIT_MS;
    const isComplete = () => this.services.current && this.cluster.hasTried;
    while (!isComplete() && performance.now() < deadline && !term.aborted) await pause(10, term);
    const { mirror, taints } = this;
    await Promise.all([
      this.#write(term),
      this.#retrying(
        () =>
          watchUnlistedPods(openBucket(this.#bus, NODES_BUCKET), {
            ended: this.ended,
            signal: term,
            onChanged: (nodes) => this.#mark(nodes),
          }),
        term,
      ),
      mirror && this.#retrying(() => mirror.serve(term), term),
      this.#retrying(() => taints.serve(term), term),
    ]);
  }

  async #write(term: AbortSignal): Promise<void> {
    await this.#retrying(async () => {
      this.writer = new SnapshotWriter(
        {
          bucket: openBucket(this.#bus, PODS_BUCKET),
          plan: (key) => this.#plan(key),
          keys: () => [CLUSTER_KEY, ...this.state.nodeNames().map(encodeToken)],
          isLeader: () => this.isLeader,
          confirmLeader: async () => !this.#ctx.config.leaderElection || (await this.elector.confirm()),
          coalesceMs: this.#ctx.config.coalesceMs,
          onFound: (snapshot) => this.#found(snapshot),
          onFailure: (error) => this.#warn('snapshots', error),
          onStored: (sequence) => {
            this.#written = { sequence, timestampMicros: this.#ctx.clock.nowMicros() };
          },
          onWritten: (latencyMs) => this.#metrics.writeSeconds.observe(latencyMs / 1000),
        },
        this.writes,
      );
      await this.writer.run(term);
    }, term);
    this.writer = null;
    this.omissions.clear();
  }

  /** Retries after bus errors until the signal aborts. */
  async #retrying(run: () => Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await run();
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof BusError)) throw error;
        this.#metrics.busErrors.labels(error.code).inc();
        this.#warn('bus', error);
        await pause(1_000, signal);
      }
    }
  }

  #listed(record: PodRecord | null): ListedPod | null {
    if (record === null) return null;
    if (this.state.canKnow(record)) return { uid: record.uid, record };
    this.#unknown.ignored();
    return null;
  }
  #podChanged(pod: ListedPod): void {
    const { record } = pod;
    if (record === null) return;
    pod.record = null;
    const { withoutRecord } = this.state;
    this.ended.forget(record.uid);
    this.#mark(this.state.putPod(record), record.namespace);
    if (this.state.withoutRecord > withoutRecord)
      this.#log.warn('pods', { namespace: record.namespace }, 'no memory for all pods: the lists omit some');
    if (this.#ctx.config.resolveOwners && this.state.has(record.uid)) this.owners.want(record);
  }
  #podRemoved(uid: string): void {
    const record = this.state.record(uid);
    if (record && record.staticUid === undefined)
      this.ended.removed(record.nodeName, identityOf(record, this.#identities), performance.now());
    const namespace = this.state.namespaceOf(uid);
    this.#mark(this.state.removePod(uid), namespace);
    if (!this.state.canListMore || performance.now() - this.#listedMoreMs < LIST_MORE_MS) return;
    this.#listedMoreMs = performance.now();
    this.pods.reselect();
  }
  #nodeChanged(touched: Touched): void {
    if (touched.size > 0) this.services.nodesChanged();
    this.#mark(touched);
  }
  /** Pods that are too large to be parsed at once wait for their turn. */
  #late(areLate: boolean): void {
    if (areLate) this.#log.warn('pods', {}, 'large pods could not be read in time: the lists omit some');
    this.#unknown.late(areLate);
  }
  #settingsChanged(): void {
    const { refusal } = this.settings;
    this.#statusReporter.report();
    if (refusal !== '') this.#ctx.log.warn({ refusal }, 'configuration refused, the last valid one stays in force');
    this.services.setTunnelPorts(this.settings.tunnelPorts);
    this.#mark(new Set([...this.state.nodesAsking(), ...this.ended.nodes()]));
  }
  /** A truncated pod may have a label with the new name. */
  #labelKeysChanged(): void {
    if (this.state.cutPods > 0) this.pods.reselect();
    this.#mark(new Set(this.state.nodeNames()));
  }
  #ownerResolved(uid: string, namespace: string): void {
    if (this.writer !== null) this.#mark(this.state.nodesOwnedBy(uid), namespace);
  }
  /** @param namespace of the pod that caused it */
  #mark(touched: Touched, namespace?: string): void {
    if (touched.size === 0 || this.writer === null) return;
    const keys = [...touched].map((name) => (name === CLUSTER_KEY ? CLUSTER_KEY : encodeToken(name)));
    this.writer.mark(keys, namespace);
  }

  /** Logs a failure that is retried: at most once a minute per part. */
  #warn(part: string, err: Error): void {
    this.#log.warn(part, { part, err }, 'failed, will be retried');
  }

  #eligible(): boolean {
    if (!this.informed) return false;
    return this.#busLostAtMs === null || performance.now() - this.#busLostAtMs < BUS_GRACE_MS;
  }
}
