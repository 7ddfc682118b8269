import { expect, it } from 'vitest';
import { podsByInterface } from './event-listing.ts';

it('interfaces - by node, index and generation; unbound ones and those of unreadable nodes are omitted', () => {
  const iface = (ifindex: number, podName: string) => ({ ifindex, generation: 2, podNamespace: 'shop', podName });
  const status = { interfaces: [iface(7, 'web-0'), iface(8, '')] };
  const pods = podsByInterface(
    new Map([
      ['node-a', status as never],
      ['node-b', 'not JSON'],
    ]),
  );
  expect([...pods]).toEqual([['node-a 7 2', 'shop/web-0']]);
});
