/**
 * The whole chain on both CNI plugins. With everything running but no guard attached, every packet
 * of an attack lands. With a guard, every packet is dropped and counted, the correlator issues a
 * verdict, and the responder deletes the pod; no other pod is affected.
 */
import { startLab } from '@bailiff/lab';
import { castOf, chainRun, controlRun, cutOffPackets, forgetNeighbours } from '@bailiff/lab/attack';
import { describe, expect, it } from 'vitest';
import { tracesOf, uniqueId } from './support.ts';

/** One attacker's node has a plain name, the other one has dots, for subjects, keys and files. */
const CASES = [
  { cni: 'bridge', node: 'node-0', vectors: ['arp-sender', 'ipv4-source', 'ipv6-source', 'nd-target'] },
  // Towards the node itself, forged neighbour discovery has a wrong source, which is the first
  // check.
  { cni: 'ptp', node: 'node-1.lab.internal', vectors: ['arp-sender', 'ipv4-source', 'ipv6-source'] },
] as const;
const CONTROL_FRAMES = 120;

describe.each(CASES)('attack through $cni from $node', ({ cni, node, vectors }) => {
  it('lands without a guard; with a guard it is dropped, counted, correlated and the pod deleted', async () => {
    const id = uniqueId(cni.slice(0, 1));
    {
      await using lab = await startLab({ id, cni, unguarded: true, enforce: true });
      const cast = castOf(lab, node);

      const control = await controlRun(lab, cast, CONTROL_FRAMES);
      const each = CONTROL_FRAMES / 4;
      expect(control).toMatchObject({ sent: CONTROL_FRAMES, landed: { ipv4: each, ipv6: each, arp: each, nd: each } });

      await forgetNeighbours(lab);
      await lab.setGuarded(true);
      const outcome = await chainRun(lab, cast);

      expect(outcome.landed).toEqual({ ipv4: 0, ipv6: 0, arp: 0, nd: 0 });
      expect(outcome.sent).toBeGreaterThanOrEqual(10);
      // From its deletion on the pod is cut off: packets then count as quarantine. Without any, all four numbers are equal.
      const { countedOnBus, countedByVector } = outcome;
      expect(outcome.dropped).toBeGreaterThanOrEqual(outcome.sent);
      expect(outcome.dropped).toBeLessThanOrEqual(countedOnBus);
      expect(countedOnBus - cutOffPackets(countedByVector)).toBeLessThanOrEqual(outcome.sent);
      const forged = Object.keys(countedByVector).filter((vector) => !vector.startsWith('quarantine-'));
      expect(forged.sort()).toEqual(vectors);
      expect(outcome.tally.verdicts.map((verdict) => verdict.rule)).toContain('repeated-spoofing');
      expect(
        outcome.tally.verdicts.every((verdict) => verdict.pod?.ownerName === 'web' && verdict.nodeName === node),
      ).toBe(true);
      // Of the first verdict: an attack over the end of a cooldown epoch has a second one.
      const { verdictId } = outcome.tally.verdicts[0]!;
      const answers = outcome.tally.finished.filter((response) => response.verdictId === verdictId);
      const done = answers.map(({ action, phase }) => `${action} ${phase}`);
      expect(done.toSorted()).toEqual(['delete succeeded', 'label succeeded', 'observe succeeded']);
      expect(outcome.deleted).toBe(true);

      expect(outcome.legit.received).toBe(outcome.legit.sent);
      expect(outcome.droppedOfInnocents).toBe(0);
      expect(outcome.tally.verdictsOnOthers).toEqual([]);
      expect(outcome.missingInnocents).toEqual([]);
    }
    expect(tracesOf(id)).toEqual([]);
  });
});
