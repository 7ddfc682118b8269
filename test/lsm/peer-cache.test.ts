// The cache of addresses, and of pods without policy, against everything that changes what a decision
// about a connect reads. A program that leaves out one check of the cache fails the same attack.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EXEC_AND_OPEN_HOOKS, withHooksOnly } from './harness/doctored.ts';
import { loadOwn, type OwnLoaded } from './harness/loaded.ts';
import { leaveOut, type OpenCheck, openCacheObject } from './harness/open-cache-object.ts';
import { type Container, LOAD_TIMEOUT_MS, type Pod, Rig, Running } from './harness/rig.ts';
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

  it('without epoch: the first policy of a pod', async () => {
    const outcomes = await beside('epoch', async () => {
      loaded.object.maps.pods.delete(pod.uid);
      const older = await waiting(container);
      expect(await connects(older)).toBe('ok');
      pod.apply(DENIED);
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

  it('without own: a process whose state is lost during its connect, and whose memory a fork of another pod gets', async () => {
    loaded.object.maps.pods.delete(pod.uid);
    const other = served();
    other.pod.apply(DENIED);
    const attack = (...leftOut: OpenCheck[]) => connectsOfForks(other.container, leftOut);
    expect(await attack()).toEqual(['EPERM', 'EPERM', 'EPERM', 'EPERM']);
    // The control: it succeeds whenever a fork gets that memory.
    let without: string[] = [];
    for (let n = 0; n < 6 && !without.includes('ok'); n += 1) without = await attack('own');
    expect(without).toContain('ok');
    rig.end(other.pod);
  }, 240_000);
});

const CGROUPS = '/sys/fs/cgroup';
const move = (pid: number, cgroup: string) => writeFileSync(path.join(cgroup, 'cgroup.procs'), `${pid}`);
/** The memory of a deleted state is used again on the same processor. */
const pin = (pid: number, processors: string) => execFileSync('taskset', ['-pc', processors, `${pid}`]);

/**
 * The host moves a process into `pod`, and out again while it connects. Tasks of another pod are forked
 * meanwhile, and connect afterwards. Repeated until the connect lasted long enough for that.
 */
async function connectsOfForks(of: Container, leftOut: readonly OpenCheck[]): Promise<string[]> {
  const beside = path.join(CGROUPS, 'beside');
  mkdirSync(beside, { recursive: true });
  const other = Running.start('sleep', ['600']);
  pin(process.pid, '0');
  try {
    for (let attempt = 0; attempt < 8; attempt += 1) {
      const words = ['--mount', 'taskset', '-c', '1', programPath('net-ops'), 'socket,2,2,0', 'line', HERE];
      const service = Running.start('unshare', words);
      const forks = of.start(['/bin/net-ops', 'socket,2,2,0', 'line', 'fork', 'line', HERE]);
      await Promise.all([service, forks].map((one) => one.line('socket,2,2,0 ok')));
      pin(forks.child.pid!, '0');
      move(service.child.pid!, pod.cgroup);
      leaveOut(loaded.pinDir, 'slow', ...leftOut);
      // While others move, a move does not wait for the hooks that run.
      const others = () => {
        for (let n = 0; n < 40; n += 1) move(other.child.pid!, n % 2 === 0 ? beside : CGROUPS);
      };
      others();
      service.go();
      await service.line('line ok');
      others();
      move(service.child.pid!, CGROUPS);
      forks.go();
      await forks.until((lines) => lines.filter((line) => line === 'fork ok').length === 4);
      // What it printed until now is read.
      await new Promise((resolve) => setTimeout(resolve, 0));
      const isInTime = service.lines.length === 2;
      await service.until((lines) => lines.length === 3);
      leaveOut(loaded.pinDir);
      const connected = () => forks.lines.filter((line) => line.startsWith('connect'));
      for (let n = 0; n < 4; n += 1) forks.go();
      await forks.until(() => connected().length === 4);
      if (isInTime) return connected().map((line) => line.split(' ')[1]!);
    }
    throw new Error('no connect lasted until the process was moved');
  } finally {
    pin(process.pid, '0-1');
    other.child.kill('SIGKILL');
  }
}
