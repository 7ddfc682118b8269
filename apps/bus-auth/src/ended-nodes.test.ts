import { describe, expect, it } from 'vitest';
import type { Excess } from './connection-shares.ts';
import { ENDED_MS, EndedNodes, MAX_ENDED } from './ended-nodes.ts';

const AT = 1_790_000_000_000;
const excess = (user: string | null, reason: Excess['reason'] = 'flooding') => ({
  host: '10.0.0.9',
  user,
  reason,
});
const admitted = () => undefined;

describe('ended nodes', () => {
  it('names the node of the granted login, the newest reason and how many connections ended', () => {
    const ended = new EndedNodes();
    ended.add(excess('collector-node-a', 'too-many'), AT);
    ended.add(excess('push-node-a'), AT + 1_000);
    ended.add(excess(null), AT + 2_000);
    const known = { reason: 'flooding', host: '10.0.0.9' };
    expect(ended.list(AT + 3_000, (node) => (node === 'node-a' ? AT + 61_000 : undefined))).toEqual([
      {
        ...known,
        node: 'node-a',
        connections: 2,
        endedAt: new Date(AT + 1_000).toISOString(),
        keptOutUntil: new Date(AT + 61_000).toISOString(),
      },
      { ...known, node: '', connections: 1, endedAt: new Date(AT + 2_000).toISOString() },
    ]);
  });

  it('forgets a node after a quarter of an hour, and the first one beyond its limit', () => {
    const ended = new EndedNodes();
    for (let index = 0; index <= MAX_ENDED; index += 1) ended.add(excess(`collector-n${index}`), AT + index);
    const nodes = ended.list(AT + MAX_ENDED, admitted).map(({ node }) => node);
    expect([nodes.length, nodes[0], nodes.at(-1)]).toEqual([MAX_ENDED, 'n1', `n${MAX_ENDED}`]);
    expect(ended.list(AT + ENDED_MS + MAX_ENDED, admitted)).toEqual([]);
    // The count begins again.
    ended.add(excess('collector-n5'), AT + 2 * ENDED_MS);
    expect(ended.list(AT + 2 * ENDED_MS, admitted)).toMatchObject([{ node: 'n5', connections: 1 }]);
  });
});
