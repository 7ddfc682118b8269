// What the admission policies of k8s/components refuse and admit. RBAC allows each account
// everything here, so that only the policy can refuse. Control: without the policy every request is
// admitted.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Json, objectsWith, ofKind } from '../k8s/rendered.ts';
import { AdmissionBench, type AdmissionCase, type Fixture } from './admission/bench.ts';
import { responderCases, responderFixtures } from './admission/responder.ts';
import { taintCases, taintFixtures } from './admission/taint.ts';
import { kubectlTargets, NO_REAL, START_TIMEOUT_MS } from './contract/kubectl-target.ts';

const targets = kubectlTargets(process.env);
const SUITES: {
  component: string;
  account: string;
  fixtures: readonly Fixture[];
  cases: readonly AdmissionCase[];
}[] = [
  { component: 'taint-unguarded', account: 'bailiff-ipam-sync', fixtures: taintFixtures, cases: taintCases },
  {
    component: 'responder-narrowed',
    account: 'bailiff-responder',
    fixtures: responderFixtures,
    cases: responderCases,
  },
];

describe.each(targets)('admission: $name', ({ start }) => {
  describe.each(SUITES)('$component', ({ component, account, fixtures, cases }) => {
    let bench: AdmissionBench;
    beforeAll(async () => {
      bench = await AdmissionBench.start(start, account, fixtures);
    }, START_TIMEOUT_MS);
    afterAll(() => bench?.[Symbol.asyncDispose]());

    test('without the policy every request is admitted', async () => {
      expect(cases.filter(({ refused }) => refused).length).toBeGreaterThan(3);
      for (const one of cases) expect([one.what, await bench.tried(one)]).toEqual([one.what, 'taken']);
    });

    test('the policy is in force, and each rule has a case', async () => {
      const objects = objectsWith('included', [component]);
      const messages = ofKind(objects, 'ValidatingAdmissionPolicy').flatMap(({ spec }) =>
        spec.validations.map(({ message }: Json) => message),
      );
      expect(new Set(cases.flatMap(({ refused }) => refused ?? []))).toEqual(new Set(messages));
      await bench.apply(objects);
      await bench.inForce(cases.find(({ refused }) => refused) as AdmissionCase);
    }, 60_000);

    test.each(cases)('$what', async (one) => {
      expect(await bench.tried(one)).toEqual(one.refused ?? 'taken');
    });

    test('the policy does not restrict other accounts', async () => {
      for (const one of cases) expect([one.what, await bench.tried(one, bench.admin)]).toEqual([one.what, 'taken']);
    });
  });
});

if (targets.length === 1) test('admission: a real API server', ({ skip }) => skip(NO_REAL));
