// `bailiff lab attack`: without a guard the attack lands; with a guard no packet lands, and every
// vector is counted under its own name.
import { startLab } from '@bailiff/lab';
import { MANUAL_VECTORS } from '@bailiff/lab/attack';
import { waitFor } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { bailiff, lab as labProcess, uniqueId } from './support.ts';

interface Outcome {
  attacker: string;
  sent: number;
  landed: number;
}

it('manual attack - every vector', async () => {
  const id = uniqueId('y');
  await using lab = await startLab({ id, nodes: 1, unguarded: true });
  const pod = lab.pods()[0]!.name;
  const count = 10 * MANUAL_VECTORS.length;
  const attack = async () =>
    JSON.parse(
      await labProcess('attack', pod, '--lab', id, '--vector', 'all', '--count', String(count), '--json'),
    ) as Outcome;
  const control = await attack();
  expect(control).toMatchObject({ attacker: `default/${pod}`, sent: count });
  // A bridge removes or drops a VLAN tag, depending on its settings; the other frames arrive as
  // sent.
  expect(control.landed).toBeGreaterThanOrEqual(count - 10);

  await lab.setGuarded(true);
  expect(await attack()).toMatchObject({ sent: count, landed: 0 });
  const reported = async () => {
    const lines = await bailiff('events', '--lab', id, '--pod', pod, '--json');
    const rows = lines.trim().split('\n').filter(Boolean);
    const counts: Record<string, number> = {};
    for (const row of rows) {
      const {
        vector,
        count: shown,
        suppressed,
      } = JSON.parse(row) as { vector: string; count: number; suppressed: number };
      counts[vector] = (counts[vector] ?? 0) + shown + suppressed;
    }
    return counts;
  };
  const expected = Object.fromEntries(MANUAL_VECTORS.map((vector) => [vector, 10]));
  const all = async () =>
    JSON.stringify(Object.entries(await reported()).sort()) === JSON.stringify(Object.entries(expected).sort());
  await waitFor(all, { what: 'every vector with its count', state: reported });
});
