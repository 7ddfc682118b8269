/** Facts of a verdict, for tests of outputs. */
import type { Facts } from './facts.ts';

export const sampleFacts = (part: Partial<Facts> = {}): Facts => ({
  kind: 'verdict',
  uid: 'u',
  verdictId: 'v1',
  title: 'spoof: shop/web-0',
  summary: 'why',
  level: 'high',
  rule: 'spoof',
  clusterUid: 'c-uid',
  clusterName: 'eu',
  node: 'node-1',
  namespace: 'shop',
  pod: 'web-0',
  podUid: 'p1',
  action: '',
  phase: '',
  process: '',
  executable: '',
  tags: [],
  timeMs: 0,
  ...part,
});
