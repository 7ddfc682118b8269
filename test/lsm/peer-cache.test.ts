// The cache of addresses against everything that changes what a decision
// about a connect reads. A program that leaves out one check of the cache fails the same attack.
import type { RuntimePolicyInput } from '@bailiff/policy';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { setOf } from '../../libs/runtime/src/testing.ts';
import { EXEC_AND_OPEN_HOOKS, withHooksOnly } from './harness/doctored.ts';
import { loadOwn, type OwnLoaded } from './harness/loaded.ts';
import { leaveOut, type OpenCheck, openCacheObject } from './harness/open-cache-object.ts';
import { type Container, LOAD_TIMEOUT_MS, type Pod, prepareSubject, Rig, type Running } from './harness/rig.ts';
import { programPath } from './operations.ts';

type Rule = NonNullable<RuntimePolicyInput['rules']>[number];

const rule = (action: 'audit' | 'block', cidr: string, more: Partial<Rule> = {}): RuntimePolicyInput => ({
  rules: [{ name: 'peer', action, network: { operations: ['connect'], cidrs: [cidr] }, ...more } as Rule],
});
const HERE = 'connect,udp,127.9.0.1,150';
const DENIED = rule('block', '127.9.0.1/32');
/** It decides about connects, and none of these. */
const ELSEWHERE = rule('block', '127.8.0.1/32');

let loaded: OwnLoaded;
let rig: Rig;
let pod: Pod;
let container: Container;

function served(): { pod: Pod; container: Container } {
  const own = rig.pod();
  const of = own.container();
  of.install(programPath('net-ops'), '/bin/net-ops');
  of.install(programPath('net-ops'), '/bin/other');
  return { pod: own, container: of };
}

/** Refused connects. Each is made twice: the second may come from the cache. */
async function refused(of: Container, operation = HERE, program = '/bin/net-ops'): Promise<number> {
  const lines = await of.run([program, operation, operation]);
  return lines.filter((line) => line.endsWith(' EPERM')).length;
}

/** A process that runs before a policy is applied, and connects once for each line. */
async function waiting(of: Container): Promise<Running> {
  const running = of.start(['/bin/net-ops', 'socket,2,2,0', 'line', HERE, 'line', HERE]);
  await running.line('socket,2,2,0 ok');
  return running;
}

async function connects(running: Running): Promise<string> {
  const before = running.lines.length;
  running.go();
  await running.until((lines) => lines.length === before + 2);
  return running.lines.at(-1)!.split(' ')[1]!;
}

beforeAll(() => {
  const objectPath = withHooksOnly([...EXEC_AND_OPEN_HOOKS, 'socket_connect'], openCacheObject());
  loaded = loadOwn('peer-cache', { objectPath });
  rig = new Rig(loaded);
}, LOAD_TIMEOUT_MS);
beforeEach(() => {
  ({ pod, container } = served());
});
afterEach(() => {
  leaveOut(loaded.pinDir);
  rig.end(pod);
});
afterAll(() => rig?.[Symbol.dispose]());

/** The outcome with all checks, and without one. */
async function beside<T>(check: OpenCheck, attack: () => Promise<T>): Promise<{ whole: T; without: T }> {
  const whole = await attack();
  leaveOut(loaded.pinDir, check);
  return { whole, without: await attack() };
}

describe('cached addresses with and without one check', () => {
  it('without epoch: a policy that changes', async () => {
    const outcomes = await beside('epoch', async () => {
      pod.apply(ELSEWHERE);
      expect(await refused(container)).toBe(0);
      pod.apply(DENIED);
      return refused(container);
    });
    expect(outcomes).toEqual({ whole: 2, without: 0 });
  });

  it('without effects: what an audit rule counts', async () => {
    const outcomes = await beside('effects', async () => {
      pod.apply(rule('audit', '127.9.0.1/32'));
      expect(await refused(container)).toBe(0);
      return pod.counts()['peer'];
    });
    expect(outcomes).toEqual({ whole: 2, without: 1 });
  });

  it('without effects: a rule about another program', async () => {
    const outcomes = await beside('effects', async () => {
      pod.apply(rule('block', '127.9.0.1/32', { fromSource: [{ path: '/bin/other' }] }));
      expect(await refused(container)).toBe(0);
      return refused(container, HERE, '/bin/other');
    });
    expect(outcomes).toEqual({ whole: 2, without: 0 });
  });

  it('without container: a pod with another policy', async () => {
    const other = served();
    pod.apply(ELSEWHERE);
    other.pod.apply(DENIED);
    const outcomes = await beside('container', async () => {
      expect(await refused(container)).toBe(0);
      return refused(other.container);
    });
    rig.end(other.pod);
    expect(outcomes).toEqual({ whole: 2, without: 0 });
  });

  it('without container: a container of the same pod with its own policy', async () => {
    const own = pod.container();
    own.install(programPath('net-ops'), '/bin/net-ops');
    pod.apply(ELSEWHERE);
    const index = loaded.nextIndex();
    loaded.object.maps.containers.set(own.cgroupId, prepareSubject(loaded, index, setOf(DENIED)));
    loaded.object.maps.pods.set(pod.uid, { ...pod.subject(), hasContainers: true });
    const outcomes = await beside('container', async () => {
      expect(await refused(container)).toBe(0);
      return refused(own);
    });
    loaded.object.maps.containers.delete(own.cgroupId);
    expect(outcomes).toEqual({ whole: 2, without: 0 });
  });

  it('without address: another address or port', async () => {
    pod.apply(rule('block', '127.9.0.1/32', { network: { cidrs: ['127.9.0.1/32'], ports: [150] } } as Partial<Rule>));
    const outcomes = await beside('address', async () => {
      expect(await refused(container, 'connect,udp,127.9.0.2,150')).toBe(0);
      expect(await refused(container, 'connect,udp,127.9.0.1,151')).toBe(0);
      return refused(container);
    });
    expect(outcomes).toEqual({ whole: 2, without: 0 });
  });

  it('without operations: another protocol', async () => {
    const network = { operations: ['connect'], cidrs: ['127.9.0.1/32'], protocols: ['tcp'] };
    pod.apply(rule('block', '127.9.0.1/32', { network } as Partial<Rule>));
    const outcomes = await beside('operations', async () => {
      expect(await refused(container)).toBe(0);
      return refused(container, 'connect,tcp,127.9.0.1,150');
    });
    expect(outcomes).toEqual({ whole: 2, without: 0 });
  });

  it('without bound: a policy that is gone, for a task that only met the cache', async () => {
    const outcomes = await beside('bound', async () => {
      loaded.object.maps.pods.delete(pod.uid);
      const older = await waiting(container);
      pod.apply(ELSEWHERE);
      expect(await refused(container)).toBe(0);
      expect(await connects(older)).toBe('ok');
      loaded.object.maps.pods.delete(pod.uid);
      return connects(older);
    });
    expect(outcomes).toEqual({ whole: 'EPERM', without: 'ok' });
  });

  it('a restart goes on with the cache, and a policy that changed meanwhile holds', async () => {
    pod.apply(ELSEWHERE);
    expect(await refused(container)).toBe(0);
    loaded.reopen();
    expect(await refused(container)).toBe(0);
    pod.apply(DENIED);
    expect(await refused(container)).toBe(2);
  });
});
