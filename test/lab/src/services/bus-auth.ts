/**
 * Additions of `lab up --bus-auth`: collectors log in to the bus with a ServiceAccount token
 * instead of a password. Each token is bound to a pod at the API server. The process belongs to the
 * lab, so the pod is a mirror that no kubelet starts. Tokens are renewed at 80 % of their lifetime,
 * as by a kubelet.
 */
import { rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { KubeApi, KubeObject } from '@bailiff/kube';
import { requestToken } from '@bailiff/kube/testing';
import { pause } from '@bailiff/service/retry';
import { MIRROR_ANNOTATION } from '../kubelet/pod.ts';
import type { LabPlan, NodePlan } from '../plan.ts';

const NAMESPACE = 'bailiff-system';
const ACCOUNT = 'bailiff-collector';
const AUDIENCE = 'bailiff';
/** The minimum of a real API server; a lab of an hour sees six renewals. */
const TOKEN_SECONDS = 600;
const RENEW_AT = 0.8;
const RETRY_MS = 1_000;

export const tokenFileOf = (plan: LabPlan, node: NodePlan) =>
  path.join(plan.dir, 'secrets', `collector-${node.name}.token`);

const podManifest = (node: NodePlan) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: `${ACCOUNT}-${node.name}`,
    namespace: NAMESPACE,
    labels: { 'app.kubernetes.io/name': 'bailiff', 'app.kubernetes.io/component': 'collector' },
    annotations: { [MIRROR_ANNOTATION]: node.name },
  },
  spec: {
    nodeName: node.name,
    hostNetwork: true,
    serviceAccountName: ACCOUNT,
    containers: [{ name: 'collector', image: 'bailiff.dev/lab/collector:1' }],
  },
});

export class CollectorTokens {
  readonly #api: KubeApi;
  readonly #plan: LabPlan;
  readonly #onProblem: (text: string) => void;
  readonly #end = new AbortController();
  readonly #keeping: Promise<void>[] = [];

  constructor(api: KubeApi, plan: LabPlan, onProblem: (text: string) => void) {
    this.#api = api;
    this.#plan = plan;
    this.#onProblem = onProblem;
  }

  /** Creates account and pods; resolves when every token file exists. */
  async start(): Promise<void> {
    const at = `/api/v1/namespaces/${NAMESPACE}`;
    const body = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: ACCOUNT } };
    await this.#api.request({ verb: 'POST', path: `${at}/serviceaccounts`, body });
    await Promise.all(
      this.#plan.nodes.map(async (node) => {
        const request = { verb: 'POST', path: `${at}/pods`, body: podManifest(node) } as const;
        const { metadata } = await this.#api.request<KubeObject>(request);
        await this.#write(node, metadata);
        this.#keeping.push(this.#keep(node, metadata));
      }),
    );
  }

  async stop(): Promise<void> {
    this.#end.abort();
    await Promise.all(this.#keeping);
  }

  async #write(node: NodePlan, { name, uid }: { name: string; uid: string }): Promise<void> {
    const options = { audiences: [AUDIENCE], expirationSeconds: TOKEN_SECONDS, pod: { name, uid } };
    const { token } = await requestToken(this.#api, { namespace: NAMESPACE, name: ACCOUNT }, options);
    // Replaced atomically, because a collector reads it at any time.
    const file = tokenFileOf(this.#plan, node);
    await writeFile(`${file}.next`, token, { mode: 0o600 });
    await rename(`${file}.next`, file);
  }

  async #keep(node: NodePlan, pod: { name: string; uid: string }): Promise<void> {
    const { signal } = this.#end;
    let waitMs = TOKEN_SECONDS * 1_000 * RENEW_AT;
    for (;;) {
      await pause(waitMs, signal);
      if (signal.aborted) return;
      waitMs = TOKEN_SECONDS * 1_000 * RENEW_AT;
      await this.#write(node, pod).catch((error: Error) => {
        waitMs = RETRY_MS;
        if (!signal.aborted) this.#onProblem(`token of the collector on ${node.name}: ${error.message}`);
      });
    }
  }
}
