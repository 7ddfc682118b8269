/**
 * An API server with nodes, pods and an account with every right. Only an admission policy
 * restricts what that account can change.
 */

import { waitFor } from '@bailiff/service/testing';
import type { Json } from '../../k8s/rendered.ts';
import type { ApiClient } from '../contract/client.ts';
import { expectStatus } from '../contract/fixtures.ts';
import { type Account, applyObjects, type KubectlTarget, type KubectlTargetKind } from '../contract/kubectl-target.ts';

export interface AdmissionCase {
  what: string;
  /** The message of the policy; absent if it admits the request. */
  refused?: string;
  method: 'PATCH' | 'PUT' | 'POST' | 'DELETE';
  path: string;
  body?: Json;
  /** Only for a patch; default: merge, as Bailiff sends it. */
  type?: 'merge' | 'json' | 'strategic';
}

/** Objects that the cases change, by path of the collection; created in this order. */
export interface Fixture {
  path: string;
  object: Json;
}

/** A patch of one object of a collection. */
export const patchOf =
  (collection: string) =>
  (what: string, name: string, body: Json, more: Partial<AdmissionCase> = {}): AdmissionCase => ({
    what,
    method: 'PATCH',
    path: `${collection}/${name}`,
    body,
    ...more,
  });

/** Groups cases by the message with which the policy refuses them. */
export const refusedAs = (groups: readonly (readonly [message: string, cases: readonly AdmissionCase[]])[]) =>
  groups.flatMap(([refused, cases]) => cases.map((one) => ({ ...one, refused })));

const NAMESPACE = 'bailiff-system';

export class AdmissionBench implements AsyncDisposable {
  readonly #target: KubectlTarget;
  readonly account: ApiClient;

  constructor(target: KubectlTarget, account: ApiClient) {
    this.#target = target;
    this.account = account;
  }

  static async start(start: KubectlTargetKind['start'], name: string, fixtures: readonly Fixture[]) {
    const account: Account = { namespace: NAMESPACE, name };
    const target = await start([account]);
    const { client } = target;
    const post = async (path: string, object: Json) => expectStatus(await client.post(path, object), 201);
    await post('/api/v1/namespaces', { metadata: { name: NAMESPACE } });
    await post(`/api/v1/namespaces/${NAMESPACE}/serviceaccounts`, { metadata: { name } });
    await post('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name: 'everything' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'ServiceAccount', name, namespace: NAMESPACE }],
    });
    for (const { path, object } of fixtures) {
      await post(path, object);
      // A real server adds its own taints to a new node.
      const { name: made } = object.metadata;
      if (path.endsWith('/nodes'))
        expectStatus(await client.patch(`${path}/${made}`, 'merge', { spec: { taints: null, ...object.spec } }), 200);
    }
    return new AdmissionBench(target, (await target.as(account)).client);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#target[Symbol.asyncDispose]();
  }

  get admin(): ApiClient {
    return this.#target.client;
  }

  /** As an operator applies it. */
  async apply(objects: readonly Json[]): Promise<void> {
    const { code, stderr } = await applyObjects(this.#target, objects);
    if (code !== 0) throw new Error(stderr);
  }

  /** A real server needs a moment to load a policy. */
  async inForce(one: AdmissionCase): Promise<void> {
    await waitFor(async () => (await this.tried(one)) === one.refused, { what: 'the policy refuses' });
  }

  /** Sends the request as a dry run. @returns `taken`, the policy's message, or another error */
  async tried({ method, path, body, type = 'merge' }: AdmissionCase, client = this.account): Promise<string> {
    const media = { merge: 'merge-patch', json: 'json-patch', strategic: 'strategic-merge-patch' }[type];
    const options = method === 'PATCH' ? { type: `application/${media}+json` } : {};
    const reply = await client.call(method, `${path}?dryRun=All`, body, options);
    if (reply.status < 300) return 'taken';
    const printed = /ValidatingAdmissionPolicy '[^']+' with binding '[^']+' denied request: (.*)$/s.exec(
      String(reply.body['message']),
    );
    return printed?.[1] && reply.status === 422 ? printed[1] : `${reply.status} ${reply.body['message']}`;
  }
}
