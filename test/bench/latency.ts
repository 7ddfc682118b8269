/** Latencies: packet to bus, CNI record and pod change to kernel map, threshold to API server. */
import { answerLatencies } from './latency-answer.ts';
import { nodeLatencies } from './latency-node.ts';
import { fixed, quantile, type Section } from './report.ts';

const BUDGETS: Record<string, number> = {
  'first spoofed packet → violation on the bus': 20,
  'CNI record written → kernel map': 100,
  'pod change on the bus → kernel map': 100,
  'threshold crossed → delete call at the API server': 100,
};

export async function bench(): Promise<Section> {
  const measured = { ...(await nodeLatencies()), ...(await answerLatencies()) };
  const p99 = (name: string) => quantile(measured[name] ?? [], 0.99);
  return {
    title: 'Latencies',
    method:
      'Trials run one after another without other load. A trial ends at the bus’s time of the violation, or at the change in the kernel map, read every millisecond. The node has a pod for each trial. The last two rows use real processes and the built-in steps (observe, label, delete), with a substitute API server.',
    header: ['from → to', 'trials', 'p50 ms', 'p99 ms', 'maximum ms'],
    rows: Object.entries(measured).map(([name, ms]) => [
      name,
      String(ms.length),
      fixed(quantile(ms, 0.5)),
      fixed(quantile(ms, 0.99)),
      fixed(quantile(ms, 1)),
    ]),
    budgets: Object.entries(BUDGETS).map(([name, budget]) => ({
      budget: `${name}: p99 at most ${budget} ms`,
      measured: `${fixed(p99(name))} ms`,
      met: p99(name) <= budget,
    })),
  };
}
