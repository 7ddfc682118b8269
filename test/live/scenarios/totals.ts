/**
 * Compares the totals of the run once more, after everything else: a count that arrives late or
 * twice would show here.
 */
import type { Scenario } from './scenario.ts';

export const TOTALS: Scenario = {
  name: 'totals',
  about: 'packets of all scenarios by pod and vector: sent, and counted on the bus',
  run: async (live) => {
    if (live.sent.size === 0) return { status: 'skipped', detail: 'no scenario sent forged packets' };
    const rows = [...live.sent].map(([key, sent]) => {
      const [uid = '', vector = ''] = key.split(' ');
      return { uid, vector, sent, counted: live.watch.packets(uid, vector) };
    });
    const wrong = rows.filter(({ sent, counted }) => sent !== counted);
    const total = rows.reduce((sum, { sent }) => sum + sent, 0);
    if (wrong.length === 0)
      return {
        status: 'passed',
        detail: `${total} packets of ${rows.length} pairs of pod and vector are counted exactly`,
      };
    const named = wrong.map(({ uid, vector, sent, counted }) => `${uid.slice(0, 8)} ${vector}: ${counted} of ${sent}`);
    return { status: 'failed', detail: named.join('; ') };
  },
};
