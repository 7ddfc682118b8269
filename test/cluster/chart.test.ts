// The chart on a real API server: helm installs, upgrades and uninstalls it. No kubelet runs, so the
// test runs the hooks' Jobs: the command of their container, with the rights of their account.

import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { CHART, helmProgram, NO_HELM, template } from '../../tools/helm.ts';
import { documentsOf, type Json } from '../k8s/rendered.ts';
import { launch } from '../support/process.ts';
import { expectStatus } from './contract/fixtures.ts';
import { type KubectlTarget, kubectlTargets, NO_REAL, type Seat, START_TIMEOUT_MS } from './contract/kubectl-target.ts';

const NAMESPACE = 'bailiff-system';
const SECRETS = `/api/v1/namespaces/${NAMESPACE}/secrets`;
const JOBS = `/apis/batch/v1/namespaces/${NAMESPACE}/jobs`;
/** helm sends each object on its own, and waits for hooks. */
const STEP_TIMEOUT_MS = 180_000;

const real = kubectlTargets(process.env).find(({ name }) => name === 'kube-apiserver');
const program = helmProgram();

/** A Job's status as its controller reports it. */
const ended = (isComplete: boolean) => {
  const time = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  const condition = (type: string) => ({ type, status: 'True', lastProbeTime: time, lastTransitionTime: time });
  return isComplete
    ? {
        succeeded: 1,
        startTime: time,
        completionTime: time,
        conditions: ['SuccessCriteriaMet', 'Complete'].map(condition),
      }
    : { failed: 1, startTime: time, conditions: ['FailureTarget', 'Failed'].map(condition) };
};

interface JobRun {
  name: string;
  exitCode: number;
  output: string;
}

/** A cluster in which the Jobs of the credentials run. */
class Cluster {
  readonly target: KubectlTarget;
  readonly runs: JobRun[] = [];
  /** Called with the seat of a Job's account before its command. */
  beforeJob: (name: string, seat: Seat) => Promise<void> = async () => undefined;
  readonly #seen = new Set<string>();
  readonly #helm: string;

  constructor(target: KubectlTarget, helm: string) {
    this.target = target;
    this.#helm = helm;
  }

  /** Runs helm to its end, and the Jobs that it waits for. */
  async helm(...args: string[]): Promise<{ code: number | null; out: string }> {
    const env = { HOME: '/proc/nonexistent', PATH: process.env['PATH'], KUBECONFIG: this.target.kubeconfig };
    const given = [...args, '--namespace', NAMESPACE, '--timeout', '120s'];
    await using run = launch(this.#helm, given, { env: env as NodeJS.ProcessEnv });
    let isOver = false;
    const over = run.exit.then(([code]) => {
      isOver = true;
      return code;
    });
    await waitFor(
      async () => {
        await this.#runJobs();
        return isOver;
      },
      { what: `helm ${args[0]}`, timeoutMs: STEP_TIMEOUT_MS, state: () => [run.out(), this.runs] },
    );
    return { code: await over, out: run.out() };
  }

  async ok(...args: string[]): Promise<string> {
    const { code, out } = await this.helm(...args);
    expect([code, out]).toEqual([0, expect.any(String)]);
    return out;
  }

  async #runJobs(): Promise<void> {
    const { items = [] } = (await this.target.client.get(JOBS)).body;
    for (const { metadata, spec } of items as Json[]) {
      const isCredentials = metadata.labels?.['app.kubernetes.io/component'] === 'credentials';
      if (!isCredentials || this.#seen.has(metadata.uid)) continue;
      this.#seen.add(metadata.uid);
      const pod = spec.template.spec;
      const seat = await this.target.as({ namespace: NAMESPACE, name: pod.serviceAccountName });
      await this.beforeJob(metadata.name, seat);
      const { exitCode, stdout, stderr } = await runCli([...pod.containers[0].args, '--kubeconfig', seat.kubeconfig]);
      this.runs.push({ name: metadata.name, exitCode, output: stdout + stderr });
      const status = { status: ended(exitCode === 0) };
      expectStatus(await this.target.client.patch(`${JOBS}/${metadata.name}/status`, 'merge', status), 200);
    }
  }

  /** `kind/name` of every object with the label of the chart. */
  async objects(): Promise<string[]> {
    const { kubectl } = this.target;
    const kinds = (await kubectl.ok('api-resources', '--verbs=list', '-o', 'name')).split('\n').filter(Boolean);
    const listed = await kubectl.ok('get', kinds.join(), '-A', '-l', 'app.kubernetes.io/name=bailiff', '-o', 'name');
    return listed.split('\n').filter(Boolean).sort();
  }
}

const isDefinition = (name: string) => name.startsWith('customresourcedefinition');

/** A token of another account, as the token controller writes it into such a Secret. */
const tokenSecret = (name: string) => ({
  metadata: { name, annotations: { 'kubernetes.io/service-account.name': 'bailiff-responder' } },
  type: 'kubernetes.io/service-account-token',
});
const DRY_RUN = `${SECRETS}?dryRun=All`;

if (!real || program === null) {
  test('the chart at a real API server', (context) => context.skip(real ? NO_HELM : NO_REAL));
} else {
  describe('chart: kube-apiserver', () => {
    let cluster: Cluster;
    beforeAll(async () => {
      cluster = new Cluster(await real.start(), program);
      expectStatus(await cluster.target.client.post('/api/v1/namespaces', { metadata: { name: NAMESPACE } }), 201);
    }, START_TIMEOUT_MS);
    afterAll(() => cluster?.target[Symbol.asyncDispose]());

    test(
      'install - the Secrets first, then every object; nothing of a hook stays',
      async () => {
        const tried: Json = {};
        cluster.beforeJob = async (name, { client }) => {
          if (name !== 'bailiff-credentials-install') return;
          const status = async (call: Promise<{ status: number }>) => (await call).status;
          const create = (object: object) => status(client.post(DRY_RUN, object));
          // The policy takes effect shortly after its creation.
          await waitFor(async () => (await create(tokenSecret('bailiff-bus-cli'))) === 422, {
            what: 'the admission policy of the account',
          });
          Object.assign(tried, {
            list: await status(client.get(SECRETS)),
            read: await status(client.get(`${SECRETS}/bailiff-bus-admin`)),
            change: await status(client.patch(`${SECRETS}/bailiff-bus-admin`, 'merge', { data: {} })),
            remove: await status(client.call('DELETE', `${SECRETS}/bailiff-credentials`)),
            otherName: await create({ metadata: { name: 'own' } }),
            generatedName: await create({ metadata: { generateName: 'bailiff-bus-' } }),
            pods: await status(client.get(`/api/v1/namespaces/${NAMESPACE}/pods`)),
            otherNamespace: await status(
              client.post('/api/v1/namespaces/default/secrets', { metadata: { name: 'own' } }),
            ),
            itsOwn: await create({ metadata: { name: 'bailiff-bus-cli' } }),
          });
        };
        await cluster.ok('install', 'bailiff', CHART);
        expect(tried).toEqual({
          list: 403,
          read: 403,
          change: 403,
          remove: 403,
          pods: 403,
          otherNamespace: 403,
          otherName: 422,
          generatedName: 422,
          itsOwn: 201,
        });
        expect(cluster.runs).toMatchObject([{ name: 'bailiff-credentials-install', exitCode: 0 }]);
        // Names of Secrets, and no content.
        expect(cluster.runs[0]?.output).toMatch(/^created (bailiff-[a-z-]+(, )?)+\n$/);
        const objects = await cluster.objects();
        expect(objects.filter((name) => name.startsWith('secret/'))).toHaveLength(16);
        const rendered = documentsOf(template(program)).filter(
          ({ metadata }) => metadata.annotations?.['helm.sh/hook'] === undefined,
        );
        // Without the group of the kind.
        const installed = objects
          .filter((name) => !name.startsWith('secret/'))
          .map((name) => name.replace(/\..*\//, '/'));
        const expected = rendered.map(({ kind, metadata }) => `${kind.toLowerCase()}/${metadata.name}`);
        expect(installed.sort()).toEqual(expected.sort());
      },
      STEP_TIMEOUT_MS,
    );

    test(
      'without the policy, the same account could create a token of the responder',
      async () => {
        const hooks = documentsOf(template(program)).filter(
          ({ kind, metadata }) =>
            metadata.name === 'bailiff-credentials-install' && ['ServiceAccount', 'Role', 'RoleBinding'].includes(kind),
        );
        const input = hooks.map((object) => JSON.stringify(object)).join('\n');
        await cluster.target.kubectl.run(['apply', '-f', '-'], input);
        const { client } = await cluster.target.as({ namespace: NAMESPACE, name: 'bailiff-credentials-install' });
        await waitFor(async () => (await client.post(DRY_RUN, tokenSecret('own'))).status === 201, {
          what: 'the Secret to be accepted',
          state: async () => (await client.post(DRY_RUN, tokenSecret('own'))).body,
        });
        await cluster.target.kubectl.run(['delete', '-f', '-'], input);
      },
      STEP_TIMEOUT_MS,
    );

    test(
      'upgrade - other images and admission policies; Secrets stay; the policies go with their value',
      async () => {
        const password = async () => (await cluster.target.client.get(`${SECRETS}/bailiff-bus-cli`)).body['data'];
        const [before, old] = [await cluster.objects(), await password()];
        const isPolicy = (name: string) => name.startsWith('validatingadmissionpolicy.');
        await cluster.ok(
          'upgrade',
          'bailiff',
          CHART,
          '--values',
          `${CHART}/profiles/ha.yaml`,
          '--set',
          'busSetup.image.tag=v2,nats.replicas=1',
        );
        const after = await cluster.objects();
        expect(after.filter(isPolicy)).toHaveLength(3);
        const setUp = (list: string[]) => list.filter((name) => name.startsWith('job.batch/bailiff-bus-setup'));
        expect([setUp(before).length, setUp(after).length]).toEqual([1, 1]);
        expect(setUp(after)).not.toEqual(setUp(before));
        await cluster.ok('upgrade', 'bailiff', CHART, '--reset-values');
        expect(await cluster.objects()).toEqual(before);
        expect(await password()).toEqual(old);
      },
      STEP_TIMEOUT_MS,
    );

    test(
      'a size of a claim cannot be changed: the upgrade fails and says so; the next one works',
      async () => {
        const { code, out } = await cluster.helm(
          'upgrade',
          'bailiff',
          CHART,
          '--cleanup-on-fail',
          '--set',
          'nats.storage.size=32Gi',
        );
        expect([code, out]).toEqual([1, expect.stringContaining('updates to statefulset spec')]);
        await cluster.ok('upgrade', 'bailiff', CHART, '--reset-values');
      },
      STEP_TIMEOUT_MS,
    );

    test(
      'uninstall leaves the resource definitions and nothing else; a second installation works',
      async () => {
        await cluster.ok('uninstall', 'bailiff');
        const left = await cluster.objects();
        expect(left.filter((name) => !isDefinition(name))).toEqual([]);
        expect(left.length).toBe(4);
        expect((await cluster.target.client.get(SECRETS)).body['items']).toEqual([]);
        await cluster.ok('install', 'bailiff', CHART, '--values', `${CHART}/profiles/single-node.yaml`);
        await cluster.ok('uninstall', 'bailiff');
        expect((await cluster.objects()).filter((name) => !isDefinition(name))).toEqual([]);
      },
      STEP_TIMEOUT_MS,
    );
  });
}
