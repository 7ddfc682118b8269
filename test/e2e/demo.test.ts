/** `npm run demo -- --json`: its numbers, its time, and that it leaves nothing behind, also when it is interrupted. */
import { describe, expect, it } from 'vitest';
import { startDemo, tracesOf, uniqueId } from './support.ts';

/** Two minutes after set-up. */
const BUDGET_MS = 120_000;

describe('demo', () => {
  it('whole - the last line holds the numbers, and they are what Bailiff promises', async () => {
    const id = uniqueId('m');
    const begun = performance.now();
    const demo = startDemo('--json', '--id', id);
    expect(await demo.ended, demo.output()).toBe(0);
    expect(performance.now() - begun).toBeLessThan(BUDGET_MS);
    const summary = JSON.parse(demo.output().trim().split('\n').at(-1)!) as Record<string, Record<string, number>>;
    const { control, guarded, legit, latencyMs } = summary as Record<string, Record<string, number>>;
    expect(Object.keys(summary)).toEqual([
      'control',
      'guarded',
      'legit',
      'verdicts',
      'responses',
      'deletedPods',
      'latencyMs',
    ]);
    expect(control).toEqual({ sent: 200, landed: 200 });
    expect(guarded!['sent']).toBeGreaterThanOrEqual(10);
    expect(guarded).toMatchObject({ dropped: guarded!['sent'], landed: 0, countedOnBus: guarded!['sent'] });
    expect(legit!['received']).toBe(legit!['sent']);
    expect(summary).toMatchObject({ verdicts: 1, responses: 3, deletedPods: 1 });
    expect(latencyMs!['firstViolation']).toBeLessThan(latencyMs!['deleteCall']!);
    expect(tracesOf(id)).toEqual([]);
  });

  it('interrupted - in the middle of the attack it removes everything first', async () => {
    const id = uniqueId('i');
    const demo = startDemo('--id', id);
    await demo.said('Guarded run');
    demo.interrupt();
    expect(await demo.ended).toBe(130);
    expect(tracesOf(id)).toEqual([]);
  });
});
