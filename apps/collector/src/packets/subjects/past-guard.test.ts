// Frames that a pod receives past its guard, by the counters of both ends.
import { describe, expect, it } from 'vitest';
import { framesPastGuard, MAX_PAIRS_PER_LOOK, PastGuard } from './past-guard.ts';

const NSID = 3;
const end = (ifindex: number, peerIfindex: number, packets: { rx?: number; tx?: number }, kind = 'veth') => ({
  ifindex,
  peerIfindex,
  kind,
  rxPackets: packets.rx ?? 0,
  txPackets: packets.tx ?? 0,
});

describe('frames past the guard', () => {
  it.each([
    ['all through the host side', end(2, 7, { rx: 9 }), end(7, 2, { tx: 9 }), 0],
    ['some past it', end(2, 7, { rx: 12 }), end(7, 2, { tx: 9 }), 3],
    ['more were sent between the two readings', end(2, 7, { rx: 9 }), end(7, 2, { tx: 11 }), 0],
    ['another link has the index of the pod’s end', end(2, 8, { rx: 12 }), end(7, 2, { tx: 9 }), 0],
    ['and it is no veth', end(2, 7, { rx: 12 }, 'dummy'), end(7, 2, { tx: 9 }), 0],
    ['the pod’s end is gone', null, end(7, 2, { tx: 9 }), 0],
  ])('%s', (_, pod, host, frames) => {
    expect(framesPastGuard(pod, host)).toBe(frames);
  });

  it('all pairs in turn, also beside a namespace that is gone; a number does not fall', () => {
    const count = MAX_PAIRS_PER_LOOK + 10;
    const link = (ifindex: number) => ({ name: `veth${ifindex}`, kind: 'veth', mac: '', linkNetnsid: NSID });
    const ifaces = Array.from({ length: count }, (_, at) => {
      const ifindex = 1_000 + at;
      return { ifindex, link: { ...link(ifindex), ifindex, peerIfindex: at + 1 }, pastGuardFrames: 0 };
    });
    let past = 5;
    const problems: unknown[] = [];
    const guard = new PastGuard({
      registry: { allLive: () => ifaces },
      readLink: (ifindex, at) => {
        if (ifindex === 1) throw Object.assign(new Error('no namespace'), { errnoName: 'EINVAL' });
        if (ifindex === 2) throw Object.assign(new Error('no buffers'), { errnoName: 'ENOBUFS' });
        return at?.targetNsid === NSID ? end(ifindex, 999 + ifindex, { rx: past }) : end(ifindex, 0, { tx: 0 });
      },
      onProblem: (name) => problems.push(name),
    });
    guard.check();
    const found = () => ifaces.filter(({ pastGuardFrames }) => pastGuardFrames === 5).length;
    expect(found()).toBe(MAX_PAIRS_PER_LOOK - 2);
    guard.check();
    expect(found()).toBe(count - 2);
    expect(problems).toEqual(['veth1001', 'veth1001']);
    past = 4;
    guard.check();
    expect(found()).toBe(count - 2);
  });
});
