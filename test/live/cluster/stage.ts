/** Namespaces of the suite. Everything that it creates lies in them or carries its label. */
import path from 'node:path';
import { apiPath, nullOn } from '@bailiff/kube';
import { waitFor } from '@bailiff/service/testing';
import { AGENT_CONFIG, AGENT_SOURCE, AgentPod, type AgentPodSpec, createAgentPod } from '../agent/agent.ts';
import { create } from './create.ts';
import type { Access } from './facts.ts';

export const RUN_LABEL = 'bailiff.dev/live-run';
const GONE_TIMEOUT_MS = 120_000;

export class Stage {
  readonly #access: Access;
  readonly run: string;
  readonly node: string;
  #namespaces: string[] = [];
  #objects: string[] = [];

  constructor(access: Access, run: string, node: string) {
    this.#access = access;
    this.run = run;
    this.node = node;
  }

  /** The name of a namespace of this run, created at its first use. */
  async namespace(purpose: string): Promise<string> {
    const name = `bailiff-live-${this.run}-${purpose}`;
    if (this.#namespaces.includes(name)) return name;
    this.#namespaces.push(name);
    const { kube } = this.#access;
    const labels = { [RUN_LABEL]: this.run, 'pod-security.kubernetes.io/enforce': 'privileged' };
    await create(kube, '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
    await create(kube, apiPath`/api/v1/namespaces/${name}/configmaps`, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: AGENT_CONFIG },
      data: { 'agent.py': AGENT_SOURCE },
    });
    // Admission refuses pods until the controller manager has created this account.
    await waitFor(() => kube.request({ path: apiPath`/api/v1/namespaces/${name}/serviceaccounts/default` }), {
      what: `the default service account of ${name}`,
      intervalMs: 200,
    });
    return name;
  }

  async pod(namespace: string, name: string, more: Partial<AgentPodSpec> = {}): Promise<AgentPod> {
    await this.startPod(namespace, name, more);
    return this.ready(namespace, name);
  }

  async startPod(namespace: string, name: string, more: Partial<AgentPodSpec> = {}): Promise<void> {
    const spec = { namespace, name, node: this.node, image: this.#access.options.agentImage, ...more };
    await createAgentPod(this.#access.kube, spec);
  }

  ready(namespace: string, name: string, options: { timeoutMs?: number; notUid?: string } = {}): Promise<AgentPod> {
    return AgentPod.ready(this.#access, namespace, name, options);
  }

  /** Files below these directories of the node. Reads the parents, because a mount would create them. */
  async hostFiles(dirs: readonly string[]): Promise<string[]> {
    const namespace = await this.namespace('host');
    const parents = [...new Set(dirs.map((dir) => path.dirname(dir)))];
    const pod = await this.pod(namespace, 'host-files', { hostPaths: parents });
    const { files } = await pod.call<{ files: string[] }>({ op: 'list', paths: dirs.map((dir) => `/host${dir}`) });
    return files.map((file) => file.replace('/host', ''));
  }

  /** Applies a cluster-scoped object, which is deleted with the stage. */
  async apply(object: { kind: string; metadata: { name: string }; [field: string]: unknown }): Promise<void> {
    this.#objects.push(`${object.kind.toLowerCase()}/${object.metadata.name}`);
    await this.#access.kubectl.run(['apply', '-f', '-'], { input: JSON.stringify(object) });
  }

  async removeObjects(): Promise<void> {
    const objects = this.#objects.splice(0);
    if (objects.length > 0) await this.#access.kubectl.run(['delete', '--ignore-not-found', ...objects]);
  }

  async remove(): Promise<void> {
    const { kube } = this.#access;
    await this.removeObjects();
    for (const name of this.#namespaces)
      await nullOn('KUBE_NOT_FOUND', kube.request({ verb: 'DELETE', path: apiPath`/api/v1/namespaces/${name}` }));
    for (const name of this.#namespaces)
      await waitFor(() => isMissing(kube.request({ path: apiPath`/api/v1/namespaces/${name}` })), {
        what: `namespace ${name} to be gone`,
        timeoutMs: GONE_TIMEOUT_MS,
        intervalMs: 500,
      });
  }
}

/** Whether an object does not exist. @throws other errors */
export const isMissing = async (request: Promise<unknown>): Promise<boolean> =>
  (await nullOn('KUBE_NOT_FOUND', request)) === null;
