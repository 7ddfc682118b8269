/** Honest traffic between guarded pods: all of it arrives, and no violation is counted. */
import { randomBytes } from 'node:crypto';
import type { Live, Scenario } from './scenario.ts';
import { castOf, uidsOf } from './spoof.ts';

const DATAGRAMS = 300;

export const BENIGN: Scenario = {
  name: 'benign',
  about: `${DATAGRAMS} datagrams per IP family through the socket API, from the pod's own addresses`,
  prepare: async (live: Live) => uidsOf(await castOf(live)),
  run: async (live) => {
    const { attacker, victim } = await castOf(live);
    const before = live.watch.of(attacker.uid).totalPackets;
    const problems: string[] = [];
    const measured: Record<string, number> = {};
    for (const to of [victim.ip4, victim.ip6].filter(Boolean)) {
      const marker = randomBytes(16);
      await victim.watch([marker]);
      const request = { op: 'datagrams', to, marker: marker.toString('hex'), count: DATAGRAMS };
      const { sent } = await attacker.call<{ sent: number }>(request);
      const { counts } = await victim.counts();
      const landed = counts[marker.toString('hex')] ?? 0;
      measured[to.includes(':') ? 'landed IPv6' : 'landed IPv4'] = landed;
      if (landed !== sent || sent !== DATAGRAMS) problems.push(`${landed} of ${sent} datagrams arrived at ${to}`);
    }
    const counted = live.watch.of(attacker.uid).totalPackets - before;
    if (counted > 0) problems.push(`the bus counts ${counted} violations of honest traffic`);
    if (problems.length > 0) return { status: 'failed', detail: problems.join('; '), measured };
    return { status: 'passed', detail: 'all datagrams arrived, no violation was counted', measured };
  },
};
