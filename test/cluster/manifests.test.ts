// The manifests as an operator applies them: by kubectl, to the API stand-in and, if one is named,
// to a real API server.

import { readdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { OVERLAYS, objectsOf, objectsWith } from '../k8s/rendered.ts';
import {
  applyObjects,
  type KubectlTarget,
  kubectlTargets,
  NO_REAL,
  START_TIMEOUT_MS,
} from './contract/kubectl-target.ts';

const K8S = path.resolve(import.meta.dirname, '../../k8s');
const [OVERLAY_DIR, COMPONENTS] = [path.join(K8S, 'overlays'), path.join(K8S, 'components')];
const INCLUDED = path.join(OVERLAY_DIR, 'included');
/** Kinds with a generation. */
const KINDS = 'deployments,daemonsets,statefulsets,networkpolicies,poddisruptionbudgets,customresourcedefinitions';

const targets = kubectlTargets(process.env);

const lines = (text: string) => text.split('\n').filter((line) => line !== '');

describe.each(targets)('manifests: $name', ({ name, start }) => {
  const isReal = name !== 'the stand-in';
  let target: KubectlTarget;
  beforeAll(async () => {
    target = await start();
  }, START_TIMEOUT_MS);
  afterAll(() => target?.[Symbol.asyncDispose]());
  const apply = (...args: string[]) => target.kubectl.ok('apply', target.validate, ...args);

  test('all are accepted, and a second time nothing changes', async () => {
    const { code, stdout, stderr } = await target.kubectl.run(['apply', target.validate, '-k', INCLUDED]);
    // No warning either.
    expect([code, stderr]).toEqual([0, '']);
    const first = lines(stdout);
    expect(first.filter((line) => !line.endsWith(' created'))).toEqual([]);
    expect(first).toHaveLength(objectsOf('included').length);
    const again = lines(await apply('-k', INCLUDED)).filter((line) => !line.endsWith(' unchanged'));
    // kubectl always sends a budget's selector whole. A real server fills in a claim template's
    // status, which kubectl removes again. The rest are fields that an older server left out.
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

  test('the other overlay is accepted beside it, as far as the server checks', async () => {
    await target.kubectl.ok('delete', 'job', '--all', '-n', 'bailiff-system', '--wait=false', '--cascade=background');
    const printed = lines(await apply('--dry-run=server', '-k', path.join(OVERLAY_DIR, 'external')));
    expect(printed).toHaveLength(objectsOf('external').length);
  });

  test.each(OVERLAYS)('%s with every component is accepted, as far as the server checks', async (overlay) => {
    const objects = objectsWith(overlay, readdirSync(COMPONENTS));
    const { code, stdout, stderr } = await applyObjects(target, objects, '--dry-run=server');
    expect([code, stderr]).toEqual([0, '']);
    expect(lines(stdout)).toHaveLength(objects.length);
  });

  // The stand-in does not validate pod templates, and has no admission by Pod Security levels.
  if (isReal)
    test('a mistake is refused: a mount of an absent volume', async () => {
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
    test('only the collector exceeds the level "restricted"', async () => {
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

  if (isReal)
    describe('server-side apply', () => {
      let fresh: KubectlTarget;
      beforeAll(async () => {
        fresh = await start();
      }, START_TIMEOUT_MS);
      afterAll(() => fresh?.[Symbol.asyncDispose]());

      test.each(OVERLAYS)('%s is accepted, and a second time nothing changes', async (overlay) => {
        const { kubectl } = fresh;
        // Of the overlay before: a Job cannot be changed.
        await kubectl.run(['delete', 'job', '--all', '-n', 'bailiff-system', '--cascade=background']);
        const apply = ['apply', '--server-side', fresh.validate, '-k', path.join(OVERLAY_DIR, overlay)];
        expect(lines(await kubectl.ok(...apply))).toHaveLength(objectsOf(overlay).length);
        const versions = async () =>
          lines(
            await kubectl.ok(
              'get',
              KINDS,
              '-A',
              '-o',
              'jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.generation}{"\\n"}{end}',
            ),
          );
        const before = await versions();
        expect(before.length).toBeGreaterThan(10);
        await kubectl.ok(...apply);
        expect(await versions()).toEqual(before);
      });
    });

  if (!isReal)
    test('a server without server-side apply refuses it with a clear message', async () => {
      const { code, stderr } = await target.kubectl.run(['apply', '--server-side', '-k', INCLUDED]);
      expect(code).toBe(1);
      expect(stderr).toMatch(/apply-patch|server-side apply/i);
    });
});

if (targets.length === 1) {
  test('manifests: a real API server', ({ skip }) => skip(NO_REAL));
}
