/** Time until a policy change is in force, and denied operations at full rate, in the virtual machine. */
import type { LivePlan, LiveReport } from './lsm/live.ts';
import { inside } from './lsm/machine.ts';
import { fixed, quantile, type Section, thousands } from './report.ts';

const PLAN: LivePlan = { edits: 100, floodMs: 10_000 };

export async function bench(): Promise<Section> {
  const { inForceMs, flood } = await inside<LiveReport>('live', PLAN, { countInstructions: false });
  const [p50, p99] = [quantile(inForceMs, 0.5), quantile(inForceMs, 0.99)];
  return {
    title: 'Runtime policies: changes and events',
    method: `Collector, nats-server and pod run in the virtual machine with two emulated CPUs, many times slower than a real node. The policy of a running pod is edited ${PLAN.edits} times, measured from the bus’s acknowledgement to the change in the kernel map. Then one process opens a forbidden file as fast as it can.`,
    header: ['what', 'result'],
    rows: [
      ['policy change → in force, p50', `${fixed(p50)} ms`],
      ['policy change → in force, p99', `${fixed(p99)} ms`],
      ['denied operations/s', thousands(flood.tried / flood.seconds)],
      ['denied operations', thousands(flood.tried)],
      ['counted on the bus', thousands(flood.onTheBus)],
      ['samples', thousands(flood.samples)],
      ['frames', thousands(flood.frames)],
      ['collector CPU', `${fixed(flood.collectorCpu * 100)} % of an emulated CPU`],
    ],
    budgets: [
      { budget: 'policy change in force within 1 s', measured: `p99 ${fixed(p99)} ms`, met: p99 <= 1_000 },
      {
        budget: 'every operation denied and counted',
        measured: `${flood.onTheBus} of ${flood.tried}`,
        met: flood.onTheBus === flood.tried,
      },
    ],
  };
}
