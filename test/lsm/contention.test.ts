// Many tasks of one pod that are preempted inside a program do not affect others: neither
// operations of another pod nor their own are refused or counted because of it. The machine is
// fully preemptible (test/vm/lsm.test.ts).
import { constants, setPriority } from 'node:os';
import path from 'node:path';
import { BpfMap } from '@bailiff/bpf';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { compileProgram } from '../vm/compile.ts';
import type { Container, Pod, Running } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';

const hammer = (): string =>
  compileProgram(path.join(import.meta.dirname, 'programs/hammer.c'), { flags: ['-static'] });
/** More than the entries of any earlier pool that all pods shared. */
const TASKS = 160;
const OPENS = 300;
const DEPTH = 50;
const NAME = `/${'deep'.repeat(15)}`;
const DEEP = `/tmp${NAME.repeat(DEPTH)}`;
/** At such depth that the programs are most of the cost of an open. */
const POLICY: RuntimePolicyInput = {
  onUnresolvable: 'block',
  rules: [{ name: 'other', action: 'block', file: { paths: [`${DEEP}/other`], operations: ['read'] } }],
};

describe('a pod with many tasks under full preemption', () => {
  const rig = useRig();
  let busy: Running | null = null;
  beforeAll(() => {
    hammer();
  });
  afterEach(() => {
    busy?.child.kill('SIGKILL');
    busy = null;
  });

  /** Spare slots of working memory in use: the second number of struct rt_totals. */
  const spares = (): number => {
    using totals = BpfMap.openPinned(path.join(rig.loaded.pinDir, 'runtime/maps/rt_totals'));
    return totals.get(Buffer.alloc(4))!.readInt32LE(4);
  };

  async function withDeepFile(pod: Pod): Promise<Container> {
    const container = pod.container();
    container.install(hammer(), '/bin/hammer');
    const dirs = Array.from({ length: DEPTH }, (_, i) => `/tmp${NAME.repeat(i + 1)}`);
    const made = await container.acts(
      ...dirs.flatMap((dir) => ['mkdir', dir]),
      'create',
      `${DEEP}/file`,
      'create',
      `${DEEP}/other`,
    );
    expect(made.filter((line) => !line.endsWith(': ok'))).toEqual([]);
    pod.apply(POLICY);
    return container;
  }

  it('all opens of another pod and its own land, and none is counted', async () => {
    const [attacker, other] = [rig.pod(), rig.pod()];
    const [many, few] = [await withDeepFile(attacker), await withDeepFile(other)];
    expect(await many.acts('map-plain', `${DEEP}/other`)).toEqual([`map-plain ${DEEP}/other: EPERM`]);
    const lost = rig.object.maps.losses()['no-scratch'];
    busy = many.start(['/bin/hammer', `${TASKS}`, `${DEEP}/file`, '0', 'near']);
    await busy.line('hammering');
    const opens = Array.from({ length: OPENS }, () => ['map-plain', `${DEEP}/file`]).flat();
    const served = few.start(['/bin/acts', 'wait', ...opens]);
    await served.line('ready');
    // Otherwise it waits long to be scheduled among so many tasks.
    setPriority(served.child.pid!, constants.priority.PRIORITY_HIGHEST);
    served.go();
    expect(await served.exit()).toBe(0);
    busy.go();
    expect(await busy.exit()).toBe(0);
    const landed = served.lines.filter((line) => line === `map-plain ${DEEP}/file: ok`).length;
    const [, refused = ''] = / refused (\d+) landed [1-9]/.exec(busy.lines.at(-1) ?? '') ?? [];
    expect({
      other: [OPENS - landed, other.counts()],
      attacker: [refused, attacker.counts()],
      lost: rig.object.maps.losses()['no-scratch'] - lost,
      spares: spares(),
    }).toEqual({ other: [0, {}], attacker: ['0', { other: 1 }], lost: 0n, spares: 0 });
  });
});
