// Each system call with a path, a descriptor, an address or another task, by its number: refused if
// a policy denies it, passing beside that, and landing without a policy. Calls that
// system-calls.ts lists as not judged also pass under the policy.
import path from 'node:path';
import type { RuntimePolicyInput } from '@bailiff/policy';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileProgram } from '../vm/compile.ts';
import { FilesRig, whyLacking } from './files-rig.ts';
import { LOAD_TIMEOUT_MS, type Running } from './harness/rig.ts';
import { useRig } from './harness/use-rig.ts';
import { type CallRow, JUDGED_CALLS, UNJUDGED_CALLS } from './system-calls.ts';

const program = (): string =>
  compileProgram(path.join(import.meta.dirname, 'programs/syscall-ops.c'), { flags: ['-static'] });

/** Ways beside the plain call, and whether a hook judges them. */
const MORE: Readonly<Record<string, boolean>> = {
  'open-32bit': true,
  'mmap-implied': true,
  'core-dump': true,
  'fanotify-event': true,
  'queue-by-path': true,
  sqpoll: true,
  'tree-as-namespace': true,
  'execveat-check': false,
  'open-path': false,
  'open_tree-path': false,
  'open_tree-clone': false,
};
/**
 * It creates another name for everything below a directory, so it is refused if any path is
 * protected.
 */
const REFUSED_EVERYWHERE = ['tree-as-namespace'];
/**
 * Read access to the memory of others: from this kernel on, CAP_PERFMON and CAP_SYS_ADMIN replace
 * ptrace.
 */
const READ_BY_CAPABILITY = { calls: ['environ', 'process_madvise'], since: [6, 15] } as const;

type Rule = NonNullable<RuntimePolicyInput['rules']>[number];

/** `<call> <where> <outcome>` → by call and where. */
type Outcomes = ReadonlyMap<string, Readonly<Record<string, string>>>;

function outcomesOf(lines: readonly string[]): Outcomes {
  const outcomes = new Map<string, Record<string, string>>();
  for (const line of lines) {
    const [call = '', where = '', ...outcome] = line.split(' ');
    if (outcome.length > 0) outcomes.set(call, { ...outcomes.get(call), [where]: outcome.join(' ') });
  }
  return outcomes;
}

/** Calls whose table row names this part of the file as their test, and whether they are judged. */
function triedHere(part: string): (readonly [call: string, judged: boolean])[] {
  const namesOf = (rows: readonly CallRow[]) =>
    rows.filter(({ tests }) => tests.includes(`\`syscalls.test.ts › ${part}\``)).flatMap(({ calls }) => calls);
  return [
    ...namesOf(JUDGED_CALLS).map((call) => [call, true] as const),
    ...namesOf(UNJUDGED_CALLS).map((call) => [call, false] as const),
  ];
}

const isAbsent = (outcomes: Outcomes, call: string): boolean =>
  Object.values(outcomes.get(call) ?? {}).every((outcome) => outcome === 'absent');

const FILES: RuntimePolicyInput = {
  mode: 'enforce',
  rules: [
    { name: 'files', action: 'block', file: { directories: ['/volume/denied'], recursive: true } },
    {
      name: 'programs',
      action: 'block',
      execute: { directories: ['/volume/denied'], recursive: true, operations: ['execute', 'map'] },
    },
  ],
};

describe('files', () => {
  let rig: FilesRig;
  let control: Outcomes;
  let guarded: Outcomes;
  beforeAll(async () => {
    rig = new FilesRig();
    const attempt = async (policy: RuntimePolicyInput | null): Promise<Outcomes> => {
      const container = rig.container();
      const running = container.run(container.install(program(), 'syscall-ops'), ['files']);
      await running.line('ready');
      if (policy !== null) rig.apply(container, policy);
      running.go();
      await running.line('done');
      return outcomesOf(running.lines);
    };
    control = await attempt(null);
    guarded = await attempt(FILES);
  }, LOAD_TIMEOUT_MS);
  afterAll(() => rig?.[Symbol.dispose]());

  const tried = [...triedHere('files'), ...Object.entries(MORE)];

  it('table - its calls are the ones that are tried', () => {
    expect(tried.map(([call]) => call).sort()).toEqual([...control.keys()].sort());
  });

  it.for(tried)('%s - judged: %s', ([call, judged], context) => {
    if (isAbsent(control, call)) context.skip(`optional: this kernel has no ${call}`);
    expect({ call, control: control.get(call), guarded: guarded.get(call) }).toEqual({
      call,
      control: { denied: 'landed', open: 'landed' },
      guarded: {
        denied: judged ? 'refused' : 'landed',
        open: REFUSED_EVERYWHERE.includes(call) ? 'refused' : 'landed',
      },
    });
  });
});

describe('processes', () => {
  const rig = useRig();
  beforeAll(() => {
    program();
  }, LOAD_TIMEOUT_MS);

  const containerOf = () => {
    const pod = rig.pod();
    const container = pod.container();
    container.install(program(), '/bin/syscall-ops');
    const attempt = async (...words: string[]) => outcomesOf(await container.run(['/bin/syscall-ops', ...words]));
    return { pod, container, attempt };
  };
  const as = (tried: readonly string[], outcomes: Outcomes, outcome: (call: string) => object): object =>
    Object.fromEntries(tried.filter((call) => !isAbsent(outcomes, call)).map((call) => [call, outcome(call)]));
  const present = (outcomes: Outcomes): object =>
    Object.fromEntries([...outcomes].filter(([call]) => !isAbsent(outcomes, call)));

  it('network', async () => {
    const { pod, attempt } = containerOf();
    const calls = triedHere('network').map(([call]) => call);
    const control = await attempt('network');
    expect([...control.keys()].sort()).toEqual([...calls].sort());
    expect(present(control)).toEqual(as(calls, control, () => ({ denied: 'landed', open: 'landed' })));
    pod.apply({
      rules: [
        {
          name: 'far',
          action: 'block',
          network: { operations: ['connect', 'send'], cidrs: ['127.9.0.0/16'], ports: [150] },
        },
        { name: 'own', action: 'block', network: { operations: ['bind', 'listen'], ports: [7005] } },
        { name: 'kinds', action: 'block', socket: { families: ['inet', 'unix'], types: ['raw', 'seqpacket'] } },
      ],
    });
    const guarded = await attempt('network');
    expect(present(guarded)).toEqual(as(calls, control, () => ({ denied: 'refused', open: 'landed' })));
  });

  it('tasks', async () => {
    const { pod, container, attempt } = containerOf();
    const neighbour = rig.pod().container();
    const sleeper = async (of: typeof container): Promise<Running> => {
      const running = of.start(['/bin/acts', 'wait']);
      await running.line('ready');
      return running;
    };
    const [mate, foreign] = await Promise.all([sleeper(container), sleeper(neighbour)]);
    const [own, other] = [`${mate.child.pid}`, `${foreign.child.pid}`];
    const calls = [...triedHere('tasks'), ['environ', true] as const];
    const names = calls.map(([call]) => call);
    const judged = new Map(calls);
    /** Also for tasks of the same pod. */
    const ATTACH = ['ptrace', 'process_vm_readv', 'process_vm_writev', 'pidfd_getfd'];
    const control = await attempt('tasks', own, other);
    expect([...control.keys()].sort()).toEqual([...names].sort());
    expect(present(control)).toEqual(as(names, control, () => ({ [own]: 'landed', [other]: 'landed' })));
    const isReadByCapability = (call: string) =>
      READ_BY_CAPABILITY.calls.includes(call as 'environ') &&
      whyLacking({ what: '', since: READ_BY_CAPABILITY.since }) === null;
    const expected = (isRead: (call: string) => boolean) =>
      as(names, control, (call) => ({
        [own]: ATTACH.includes(call) ? 'refused' : 'landed',
        [other]: judged.get(call) && !isRead(call) ? 'refused' : 'landed',
      }));
    const tasks: Rule = { name: 'tasks', action: 'block', kernel: { operations: ['ptrace', 'signal'] } };
    pod.apply({ rules: [tasks] });
    expect(present(await attempt('tasks', own, other))).toEqual(expected(isReadByCapability));
    pod.apply({ rules: [tasks, { name: 'reading', action: 'block', capabilities: ['perfmon', 'sys_admin'] }] });
    expect(present(await attempt('tasks', own, other))).toEqual(expected(() => false));
  });

  it('capabilities', async () => {
    const { pod, attempt } = containerOf();
    const calls = triedHere('capabilities');
    const names = calls.map(([call]) => call);
    const judged = new Map(calls);
    const control = await attempt('capabilities');
    expect([...control.keys()].sort()).toEqual([...names].sort());
    expect(present(control)).toEqual(as(names, control, () => ({ own: 'landed' })));
    pod.apply({ defaultPosture: { capability: 'block' } });
    const guarded = await attempt('capabilities');
    expect(present(guarded)).toEqual(as(names, control, (call) => ({ own: judged.get(call) ? 'refused' : 'landed' })));
  });
});
