// The manifests as an operator applies them: by kubectl, to the API stand-in and, where one is named, to a real API server.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { objectsOf } from '../k8s/rendered.ts';
import { Kubectl } from './contract/kubectl.ts';
import { KubectlBench } from './contract/kubectl-bench.ts';
import { startRealApiServer } from './contract/real.ts';

const OVERLAYS = path.resolve(import.meta.dirname, '../../k8s/overlays');
const INCLUDED = path.join(OVERLAYS, 'included');
const START_TIMEOUT_MS = 120_000;

interface Target extends AsyncDisposable {
  kubectl: Kubectl;
  /** Strict, but for servers older than what the manifests ask for (docs/install.md), which do not know every field. */
  validate: string;
}

async function standIn(): Promise<Target> {
  const bench = await KubectlBench.start();
  return {
    kubectl: bench.kubectl,
    validate: '--validate=strict',
    [Symbol.asyncDispose]: () => bench[Symbol.asyncDispose](),
  };
}

async function real(assets: string): Promise<Target> {
  const [server, dir] = [await startRealApiServer(assets), await mkdtemp(path.join(tmpdir(), 'bailiff-manifests-'))];
  const { url, token } = server.access;
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'real', cluster: { server: url, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'admin', user: { token } }],
    contexts: [{ name: 'real', context: { cluster: 'real', user: 'admin' } }],
    'current-context': 'real',
  };
  const file = path.join(dir, 'kubeconfig');
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
  const kubectl = new Kubectl(file, path.join(dir, 'cache'));
  const version = JSON.parse(await kubectl.ok('get', '--raw', '/version'));
  return {
    kubectl,
    validate: Number.parseInt(version.minor, 10) >= 30 ? '--validate=strict' : '--validate=warn',
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

const assets = process.env['KUBEBUILDER_ASSETS'];
const targets = [
  { name: 'the stand-in', start: standIn },
  ...(assets ? [{ name: 'kube-apiserver', start: () => real(assets) }] : []),
];

const lines = (text: string) => text.split('\n').filter((line) => line !== '');

describe.each(targets)('manifests: $name', ({ name, start }) => {
  const isReal = name !== 'the stand-in';
  let target: Target;
  beforeAll(async () => {
    target = await start();
  }, START_TIMEOUT_MS);
  afterAll(() => target?.[Symbol.asyncDispose]());
  const apply = (...args: string[]) => target.kubectl.ok('apply', target.validate, ...args);

  test('all are taken, and a second time nothing changes', async () => {
    const first = lines(await apply('-k', INCLUDED));
    expect(first.filter((line) => !line.endsWith(' created'))).toEqual([]);
    expect(first).toHaveLength(objectsOf('included').length);
    const again = lines(await apply('-k', INCLUDED)).filter((line) => !line.endsWith(' unchanged'));
    // kubectl always sends a budget's selector whole; a real server fills in a claim template's status, which kubectl would take out again. The
    // rest is what an older server left out.
    const known = /^(poddisruptionbudget|statefulset)\.\S+ configured$/;
    const older =
      target.validate === '--validate=warn'
        ? /^(daemonset\.apps\/bailiff-collector|customresourcedefinition\.\S+) configured$/
        : /^$/;
    expect(again.filter((line) => !known.test(line) && !older.test(line))).toEqual([]);
    const pods = await target.kubectl.ok(
      'get',
      'daemonset,deployment,statefulset,job',
      '-n',
      'bailiff-system',
      '-o',
      'name',
    );
    expect(lines(pods).length).toBe(objectsOf('included').filter(({ spec }) => spec?.template).length);
  });

  test('the other overlay is taken beside it, as far as the server checks', async () => {
    await target.kubectl.ok('delete', 'job', '--all', '-n', 'bailiff-system', '--wait=false', '--cascade=background');
    const said = lines(await apply('--dry-run=server', '-k', path.join(OVERLAYS, 'external')));
    expect(said).toHaveLength(objectsOf('external').length);
  });

  // The stand-in judges nothing inside a pod template, and has no admission by Pod Security levels.
  if (isReal)
    test('a mistake is refused: a mount of a volume that is not there', async () => {
      const [deployment] = structuredClone(objectsOf('included').filter(({ kind }) => kind === 'Deployment'));
      deployment.spec.template.spec.containers[0].volumeMounts[0].name = 'absent';
      const { code, stderr } = await target.kubectl.run(
        ['apply', '--dry-run=server', '-f', '-'],
        JSON.stringify(deployment),
      );
      expect(code).toBe(1);
      expect(stderr).toContain('volumeMounts[0].name: Not found: "absent"');
    });

  if (isReal)
    test('only the collector is beyond the level "restricted"', async () => {
      const warn = 'pod-security.kubernetes.io/warn=restricted';
      await target.kubectl.ok('label', 'namespace', 'bailiff-system', '--overwrite', warn);
      const workloads = objectsOf('included').filter(({ kind }) =>
        ['DaemonSet', 'Deployment', 'StatefulSet'].includes(kind),
      );
      for (const workload of workloads) {
        workload.metadata = { ...workload.metadata, name: `${workload.metadata.name}-again` };
        const { code, stderr } = await target.kubectl.run(
          ['create', '--validate=false', '-f', '-'],
          JSON.stringify(workload),
        );
        expect([workload.kind, code]).toEqual([workload.kind, 0]);
        if (workload.kind === 'DaemonSet') expect(stderr).toContain('would violate PodSecurity "restricted');
        else expect(stderr).toBe('');
      }
    });

  if (!isReal)
    test('server-side apply is refused in plain words where it cannot be done', async () => {
      const { code, stderr } = await target.kubectl.run(['apply', '--server-side', '-k', INCLUDED]);
      expect(code).toBe(1);
      expect(stderr).toMatch(/apply-patch|server-side apply/i);
    });
});

if (targets.length === 1) {
  test('manifests: a real API server', ({ skip }) => skip('optional: none is named; set KUBEBUILDER_ASSETS'));
}
