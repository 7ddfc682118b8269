/** More pods attack than a response policy may delete: exactly the budget is used, the rest is explained. */
import { apiPath, type Pod } from '@bailiff/kube';
import { waitFor } from '@bailiff/service/testing';
import { isMissing } from '../cluster/stage.ts';
import { attackUntil, pairIn, policy, RESPONSE_TIMEOUT_MS, reach } from './responses.ts';
import type { Scenario } from './scenario.ts';

const ATTACKERS = 5;
const BUDGET = 2;

function budget(exhausted: 'refuse' | 'quarantine'): Scenario {
  return {
    name: `response-budget-${exhausted}`,
    about: `${ATTACKERS} pods attack, and a budget permits ${BUDGET} deletions; the others: ${exhausted}`,
    run: async (live) => {
      const namespace = await live.stage.namespace(`budget-${exhausted}`);
      // Only the namespace's share is small: other scenarios used the budget of the cluster.
      const limits = { window: '1h', maxPods: 1_000, maxPodsPerNamespace: BUDGET, exhausted };
      await policy(live, namespace, [{ action: 'delete', gracePeriodSeconds: 0 }], { budget: limits });
      const victim = await live.stage.pod(namespace, 'victim');
      const names = Array.from({ length: ATTACKERS }, (_, index) => `attacker-${index}`);
      await Promise.all(names.map((name) => live.stage.startPod(namespace, name)));
      const pairs = await Promise.all(names.map((name) => pairIn(live, namespace, name, victim)));
      const outcomes = await Promise.all(pairs.map((pair) => attackUntil(live, pair, 'delete')));
      const all = outcomes.map(({ response }, index) => ({
        response,
        pod: (pairs[index] as (typeof pairs)[0]).attacker,
      }));
      const deleted = all.filter(({ response }) => response.phase === 'succeeded');
      const refused = all.filter(({ response }) => response.reasonCode === 'budget-exhausted');
      const seen = `${deleted.length} deleted, ${refused.length} refused`;
      const reason = refused[0]?.response.reason ?? '';
      if (deleted.length !== BUDGET || refused.length !== ATTACKERS - BUDGET || !reason.includes(`share is ${BUDGET}`))
        return { status: 'failed', detail: `${seen}: ${all.map(({ response }) => response.reasonCode)}: ${reason}` };
      const path = (name: string) => apiPath`/api/v1/namespaces/${namespace}/pods/${name}`;
      for (const { pod } of deleted)
        await waitFor(() => isMissing(live.kube.request({ path: path(pod.name) })), {
          what: `${pod.name} to be gone`,
          timeoutMs: RESPONSE_TIMEOUT_MS,
        });
      const arrived: number[] = [];
      for (const { pod } of refused) {
        const { metadata } = await live.kube.request<Pod>({ path: path(pod.name) });
        if (metadata.uid !== pod.uid || metadata.deletionTimestamp)
          return { status: 'failed', detail: `${seen}, but ${pod.name} did not stay` };
        if (exhausted === 'quarantine')
          await waitFor(async () => (await live.watch.interfaceOf(live.node, pod.uid))?.quarantinedUntil, {
            what: `the quarantine of ${pod.name} in the status of the node`,
            timeoutMs: RESPONSE_TIMEOUT_MS,
            intervalMs: 500,
          });
        arrived.push(await reach(pod, victim));
      }
      const expected = exhausted === 'quarantine' ? 0 : 20;
      const isGood = arrived.every((count) => count === expected);
      const detail = `${seen} ("${reason}"); of 20 honest datagrams of each of these: ${arrived}`;
      return { status: isGood ? 'passed' : 'failed', detail };
    },
  };
}

export const BUDGETS: readonly Scenario[] = [budget('refuse'), budget('quarantine')];
