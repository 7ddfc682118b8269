// The cache of opens against everything that changes what a decision about an open reads. After each
// change, an open has the outcome of its name and policy at that moment, and the refused opens are
// counted exactly. A program that leaves out one check of the cache fails the same attack.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { compileProgram } from '../vm/compile.ts';
import { EXEC_AND_OPEN_HOOKS, withHooksOnly } from './harness/doctored.ts';
import { loadOwn, type OwnLoaded } from './harness/loaded.ts';
import { leaveOut, type OpenCheck, openCacheObject } from './harness/open-cache-object.ts';
import { LOAD_TIMEOUT_MS, type Pod, Rig, type Running } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';

const program = (): string =>
  compileProgram(path.join(import.meta.dirname, 'programs/open-cache.c'), { flags: ['-static'] });

/** As in open-cache.c. */
const POLICY: RuntimePolicyInput = {
  rules: [
    {
      name: 'sealed',
      action: 'block',
      file: { directories: ['/sealed', '/dev/shm/sealed'], recursive: true, operations: ['read'] },
    },
    { name: 'hidden', action: 'block', file: { suffixes: ['.hidden'], operations: ['read'] } },
    { name: 'unwritten', action: 'block', file: { paths: ['/pub/w'], operations: ['write'] } },
    {
      name: 'by-other',
      action: 'block',
      fromSource: [{ path: '/bin/other' }],
      file: { paths: ['/pub/by'], operations: ['read'] },
    },
  ],
};
const NO_F: RuntimePolicyInput = {
  rules: [{ name: 'f', action: 'block', file: { paths: ['/pub/f'], operations: ['read'] } }],
};
const AUDITED: RuntimePolicyInput = {
  rules: [{ name: 'f', action: 'audit', file: { paths: ['/pub/f'], operations: ['read'] } }],
};

/** Linux 6.1 decides each open by the rules. */
const NO_CAST = 'the kernel has no symbol bpf_rdonly_cast';

/** Each kind so often; BAILIFF_OPEN_CACHE_ROUNDS for a longer run. */
const ROUNDS = Number(process.env['BAILIFF_OPEN_CACHE_ROUNDS'] || 4);
/** A rename or mount elsewhere on the machine empties the cache, and with it a stale entry. */
const CONTROL_ROUNDS = 8;
/** A race without its check is lost in most attempts, not in each. */
const RACES = 20;

interface Outcome {
  readonly opens: number;
  readonly refused: number;
  readonly wrong: number;
}

class Served {
  readonly pod: Pod;
  readonly running: Running;

  private constructor(pod: Pod, running: Running) {
    this.pod = pod;
    this.running = running;
  }

  static async start(rig: Rig): Promise<Served> {
    const pod = rig.pod();
    const container = pod.container();
    container.install(program(), '/bin/open-cache');
    container.install(program(), '/bin/other');
    for (const dir of ['pub', 'sealed']) {
      mkdirSync(container.image(dir));
      container.script(`${dir}/lower`, '');
    }
    const running = container.start(['/bin/open-cache', 'serve']);
    await running.line('ready');
    return new Served(pod, running);
  }

  get pid(): string {
    return `${this.running.child.pid}`;
  }

  attack(kinds: readonly string[], rounds = 1, env: NodeJS.ProcessEnv = {}): Record<string, Outcome> {
    const words = ['attack', this.pid, `${rounds}`, ...kinds];
    const lines = execFileSync(program(), words, { encoding: 'utf8', env }).trim().split('\n');
    return Object.fromEntries(
      lines.map((line) => {
        const [kind = '', opens, refused, wrong] = line.split(' ');
        return [kind, { opens: Number(opens), refused: Number(refused), wrong: Number(wrong) }];
      }),
    );
  }

  /** Opens of /pub/f that were refused, of two. */
  look(env: NodeJS.ProcessEnv = {}, kind = 'look'): number {
    return this.attack([kind], 1, env)[kind]!.refused;
  }

  counted(): number {
    return Object.values(this.pod.counts()).reduce((sum, count) => sum + count, 0);
  }
}

const sum = (outcomes: Record<string, Outcome>, of: keyof Outcome): number =>
  Object.values(outcomes).reduce((total, outcome) => total + outcome[of], 0);

beforeAll(() => {
  program();
});

describe('cached opens', () => {
  const rig = useRig();

  it('model - each open after a change has the outcome of its name, and is counted exactly', async () => {
    const served = await Served.start(rig);
    served.pod.apply(POLICY);
    expect([null, NO_CAST]).toContain(rig.object.cacheProblem);
    const outcomes = served.attack(['all'], ROUNDS);
    expect(Object.entries(outcomes).filter(([, { wrong }]) => wrong > 0)).toEqual([]);
    expect(Object.keys(outcomes)).toHaveLength(20);
    expect(served.counted()).toBe(sum(outcomes, 'refused'));
  });
});

/**
 * Check → kind of attack that succeeds without it. A dentry that becomes a mount point counts as a rename
 * as well (d_set_mounted), so some changes of mounts are noticed twice.
 */
const KINDS: readonly (readonly [OpenCheck | 'renames and mounts', string])[] = [
  ['renames', 'rename-file'],
  ['renames', 'rename-suffix'],
  ['renames', 'rename-parent'],
  ['renames', 'rename-ancestor'],
  ['renames', 'exchange'],
  ['renames', 'race'],
  ['mounts', 'move-mount'],
  ['renames and mounts', 'move-upper-mount'],
  ['renames and mounts', 'pivot'],
  ['dentries', 'recreate'],
  ['dentries', 'recreate-overlay'],
  ['mount', 'two-mounts'],
  ['operations', 'other-operation'],
  ['effects', 'other-program'],
  ['before', 'race'],
];

describe('cached opens with and without one check', () => {
  let loaded: OwnLoaded;
  let rig: Rig;
  let served: Served;
  beforeAll(() => {
    const objectPath = withHooksOnly([...EXEC_AND_OPEN_HOOKS, 'd_instantiate'], openCacheObject());
    loaded = loadOwn('open-cache', { objectPath });
    rig = new Rig(loaded);
  }, LOAD_TIMEOUT_MS);
  beforeEach(async (context) => {
    if (loaded.object.cacheProblem === NO_CAST) context.skip(NO_CAST);
    served = await Served.start(rig);
  });
  afterEach(() => {
    leaveOut(loaded.pinDir);
    if (served) rig.end(served.pod);
  });
  afterAll(() => rig?.[Symbol.dispose]());

  it.each(KINDS)('without %s: %s', (check, kind) => {
    served.pod.apply(POLICY);
    const whole = served.attack([kind], 1)[kind]!;
    leaveOut(loaded.pinDir, ...(check === 'renames and mounts' ? (['renames', 'mounts'] as const) : [check]));
    let without = 0;
    for (let i = 0; i < RACES && without === 0; i++) without = served.attack([kind], CONTROL_ROUNDS)[kind]!.wrong;
    expect({ whole: whole.wrong, without: without > 0 }).toEqual({ whole: 0, without: true });
  });

  /** Refused opens of two each after the change, with all checks and without one. */
  function beside(check: OpenCheck, change: () => number): { whole: number; without: number } {
    const whole = change();
    leaveOut(loaded.pinDir, check);
    let without = whole;
    for (let i = 0; i < CONTROL_ROUNDS && without === whole; i++) without = change();
    return { whole, without };
  }

  it('without epoch: a policy that changes', () => {
    const refused = beside('epoch', () => {
      loaded.object.maps.pods.delete(served.pod.uid);
      served.pod.apply(POLICY);
      expect(served.look()).toBe(0);
      served.pod.apply(NO_F);
      return served.look();
    });
    expect(refused).toEqual({ whole: 2, without: 0 });
  });

  it('without effects: what an audit rule counts', () => {
    served.pod.apply(AUDITED);
    expect(served.look()).toBe(0);
    expect(served.counted()).toBe(2);
    leaveOut(loaded.pinDir, 'effects');
    served.attack(['look'], CONTROL_ROUNDS);
    expect(served.counted()).toBeLessThan(2 + 2 * CONTROL_ROUNDS);
  });

  /** Refused opens of a task that only met the cache, after the policy of its pod is gone. */
  function ofTwin(one: Served): number {
    one.pod.apply(POLICY);
    expect([one.look(), one.look({ TWIN: '1' })]).toEqual([0, 0]);
    loaded.object.maps.pods.delete(one.pod.uid);
    return one.look({ TWIN: '1' });
  }

  it('without bound: a policy that is gone, for a task that only met the cache', async () => {
    const whole = ofTwin(served);
    leaveOut(loaded.pinDir, 'bound');
    const second = await Served.start(rig);
    expect({ whole, without: ofTwin(second) }).toEqual({ whole: 2, without: 0 });
    rig.end(second.pod);
  });

  it('without container: a program of another pod in the same mount namespace', async () => {
    const other = await Served.start(rig);
    served.pod.apply(POLICY);
    other.pod.apply(NO_F);
    const there = { THERE: served.pid };
    expect(served.look()).toBe(0);
    expect(other.look(there, 'look-from-there')).toBe(2);
    leaveOut(loaded.pinDir, 'container');
    expect(served.look()).toBe(0);
    expect(other.look()).toBe(0);
    rig.end(other.pod);
  });

  it('a restart goes on with the cache, and a policy that changed meanwhile holds', () => {
    served.pod.apply(POLICY);
    expect(served.look()).toBe(0);
    loaded.reopen();
    expect(loaded.object.cacheProblem).toBeNull();
    expect(served.look()).toBe(0);
    served.pod.apply(NO_F);
    expect(served.look()).toBe(2);
  });
});
