/** How long things take: a forged packet to the bus, what the node and the bus say to the kernel, a threshold to the API server. */

import { answerLatencies } from './latency-answer.ts';
import { nodeLatencies } from './latency-node.ts';
import { fixed, quantile, type Section } from './report.ts';

const BUDGETS: Record<string, number> = {
  'first spoofed packet → violation on the bus': 50,
  'CNI record written → kernel map': 50,
  'pod change on the bus → kernel map': 250,
  'threshold crossed → delete call at the API server': 250,
};

export async function bench(): Promise<Section> {
  const measured = { ...(await nodeLatencies()), ...(await answerLatencies()) };
  const p99 = (name: string) => quantile(measured[name] ?? [], 0.99);
  return {
    title: 'Latencies',
    method:
      'One trial after another, with nothing else to do. A packet’s time is taken before it is sent, a violation’s is the bus’s own; kernel maps are read every millisecond; records and documents are timed from before they are written or put. The node has as many pods as there are trials. Threshold to delete goes through a correlator and a responder as processes, a real nats-server and Redis, the built-in steps (observe, label, delete) and the API stand-in, which notes when a request’s head arrives.',
    header: ['from → to', 'trials', 'p50 ms', 'p99 ms', 'longest ms'],
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
