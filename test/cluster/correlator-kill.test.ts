// Correlators as processes of their own, killed with SIGKILL while violations arrive. Afterwards
// the bus has exactly the verdicts that one run of the rule engine over the whole stream gives.
import { consumeOrdered, parseSubject } from '@bailiff/bus';
import { CorrelationEngine, RuleHistory } from '@bailiff/correlation';
import { podInventoryOf, podRef } from '@bailiff/correlation/testing';
import { decodeViolationFrame } from '@bailiff/schemas';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { launchApp, type RunningProcess } from '../support/process.ts';
import { CorrelatorRig, NODE_A, NODE_B } from './correlator-rig.ts';

const KILLS = 6;

/** A ready correlator in a process of its own. */
async function launchCorrelator(rig: CorrelatorRig): Promise<RunningProcess> {
  const correlator = launchApp('correlator', rig.flags());
  await correlator.logged('ready');
  return correlator;
}

/** Verdicts that the rule engine gives for the whole stream, as `subject parts`. */
async function foldedVerdicts(rig: CorrelatorRig, lists: Parameters<typeof podInventoryOf>[0]): Promise<string[]> {
  const printed: string[] = [];
  const fold = new CorrelationEngine({
    rules: new RuleHistory(),
    inventory: podInventoryOf(lists),
    onVerdict: (verdict) => printed.push(`${verdict.level} ${verdict.pod?.name} ${verdict.verdictId}`),
  });
  const end = new AbortController();
  await consumeOrdered(rig.admin, 'VIOLATIONS', {
    start: 'all',
    onMessage: ({ subject, data, sequence, timestampMicros }) => {
      const parsed = parseSubject(subject);
      if (parsed?.what !== 'violations') throw new Error(subject);
      fold.processFrame({ sequence, timestampMicros, node: parsed.node }, decodeViolationFrame(data));
    },
    onIdle: () => end.abort(),
    signal: end.signal,
  });
  return printed.sort();
}

it(`correlator - ${KILLS} SIGKILLs over two replicas lose no verdict and repeat none`, {
  timeout: 120_000,
}, async () => {
  await using rig = await CorrelatorRig.start();
  const lists = {
    [NODE_A]: Array.from({ length: 60 }, (_, i) => podRef(`a-${i}`)),
    [NODE_B]: Array.from({ length: 60 }, (_, i) => podRef(`b-${i}`)),
  };
  const web = podRef('a-0');
  for (const node of [NODE_A, NODE_B] as const) await rig.list(node, lists[node] ?? []);
  await rig.settle();
  let phase = 0;
  let attacking = true;
  const attack = (async () => {
    for (let i = 0; attacking; i++) {
      const node = i % 2 === 0 ? NODE_A : NODE_B;
      // Each phase uses eight pods of its own on each node.
      const pod = lists[node]?.[phase * 8 + (Math.floor(i / 2) % 8)];
      await rig.spoof(node, pod ?? web, 1 + (i % 3));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  const running: RunningProcess[] = [];
  try {
    for (let kills = 0; kills < KILLS; kills++) {
      while (running.length < 2) running.push(await launchCorrelator(rig));
      const seen = rig.verdicts.length;
      phase++;
      await waitFor(() => rig.verdicts.length > seen, { what: 'a verdict', intervalMs: 1 });
      // While the phase's verdicts are published, kills one of the two; every third time both.
      const doomed = kills % 3 === 2 ? running.splice(0) : running.splice(kills % 2, 1);
      for (const one of doomed) await one.kill();
    }
    attacking = false;
    await attack;
    // Kills the remaining ones too; one that starts afterwards publishes the missing verdicts.
    for (const one of running.splice(0)) await one.kill();
    running.push(await launchCorrelator(rig));
    const expected = await foldedVerdicts(rig, lists);
    expect(expected.length).toBeGreaterThan(KILLS * 8);
    const stored = () => rig.verdicts.map(({ level, pod, verdictId }) => `${level} ${pod?.name} ${verdictId}`).sort();
    await waitFor(() => stored().length >= expected.length, { what: 'all verdicts', state: () => stored().length });
    expect(stored()).toEqual(expected);
  } finally {
    attacking = false;
    for (const one of running) await one.kill();
  }
});
