// The API stand-in with stock kubectl as its client. Pods and nodes are created in the server's own
// process, with the status that a node reports. If a test asks for it, deletions are confirmed as a
// node would confirm them.

import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ApiServer, type KubeObject, startApiServer } from '@bailiff/lab/apiserver';
import { onTestFinished } from 'vitest';
import { podObject, podRuns, reportPod } from '../../support/kube.ts';
import { Kubectl } from './kubectl.ts';

/** The reason why the tests cannot run here, or undefined. */
export function kubectlIsMissing(): string | undefined {
  try {
    execFileSync('kubectl', ['version', '--client'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'kubectl is not installed: scripts/setup installs it (Debian package kubernetes-client)';
  }
}

/** Cells of one printed row. */
export const words = (line: string | undefined) => (line ?? '').trim().split(/\s{2,}/);

export class KubectlBench implements AsyncDisposable {
  readonly server: ApiServer;
  readonly kubectl: Kubectl;
  readonly #dir: string;
  #namespaces = 0;

  constructor(dir: string, server: ApiServer) {
    this.#dir = dir;
    this.server = server;
    this.kubectl = this.as('admin');
  }

  /**
   * Starts a server with the users `admin`, who has every right, and `reader`, who may not write.
   */
  static async start(): Promise<KubectlBench> {
    const dir = await mkdtemp(join(tmpdir(), 'bailiff-kubectl-'));
    const deny = [{ resources: ['*'], verbs: ['delete', 'patch', 'update', 'create'] }];
    const tokens = [
      { user: 'admin', token: 'admin-token' },
      { user: 'reader', token: 'reader-token', deny },
    ];
    return new KubectlBench(dir, await startApiServer({ certDir: dir, tokens }));
  }

  /** kubectl as another user. */
  as(user: string): Kubectl {
    return new Kubectl(this.server.kubeconfigPath(user), join(this.#dir, 'cache'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
    await rm(this.#dir, { recursive: true, force: true });
  }

  /** A new namespace. */
  newNamespace(): string {
    this.#namespaces += 1;
    const name = `t${this.#namespaces}`;
    this.server.api.create('namespaces', { metadata: { name } });
    return name;
  }

  /** A ready node. */
  makeNode(name: string): KubeObject {
    const time = '2026-01-01T00:00:00Z';
    const capacity = { cpu: '2', memory: '4Gi', pods: '110' };
    return this.server.api.create('nodes', {
      metadata: { name, labels: { 'kubernetes.io/hostname': name, 'node-role.kubernetes.io/worker': '' } },
      status: {
        conditions: [{ type: 'Ready', status: 'True', lastHeartbeatTime: time, lastTransitionTime: time }],
        addresses: [{ type: 'InternalIP', address: '10.1.0.1' }],
        nodeInfo: { kubeletVersion: 'v1.32.0-lab' },
        allocatable: capacity,
        capacity,
      },
    });
  }

  /** A pod that its node has reported ready. */
  makePod(namespace: string, name: string, nodeName: string, more: Partial<KubeObject['metadata']> = {}): KubeObject {
    const { api } = this.server;
    api.create('pods', podObject(name, { metadata: more, spec: { nodeName } }), namespace);
    const state = { running: { startedAt: '2026-01-01T00:00:00Z' } };
    return reportPod(
      api,
      { namespace, name },
      {
        ...podRuns(),
        podIP: '10.2.0.7',
        podIPs: [{ ip: '10.2.0.7' }],
        containerStatuses: [{ name: 'main', ready: true, restartCount: 0, image: 'a', imageID: 'a', state }],
      },
    );
  }

  /** For the rest of the test, confirms every deletion as a node would. */
  confirmDeletions(): void {
    const { api, store } = this.server;
    const stop = store.subscribe((change) => {
      const { name, namespace, uid, deletionTimestamp, deletionGracePeriodSeconds } = change.object.metadata;
      if (change.storage !== 'pods' || change.type === 'DELETED') return;
      if (deletionTimestamp === undefined || deletionGracePeriodSeconds === 0) return;
      setImmediate(() => api.delete('pods', { namespace, name }, { gracePeriodSeconds: 0, preconditions: { uid } }));
    });
    onTestFinished(stop);
  }
}
