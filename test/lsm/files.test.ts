// Every file hook: each operation in every way, io_uring included, is refused if a rule denies that
// operation alone, and allowed if a rule denies all others. Without a policy all of it lands. Also
// extended attributes, which need no mount.

import type { RuntimePolicyInput } from '@bailiff/policy';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Container,
  FilesRig,
  FTRUNCATE_BY_RING,
  LOAD_TIMEOUT_MS,
  staticProgram,
  TMPFILE_ON_OVERLAY,
  whyLacking,
} from './files-rig.ts';

type FileOperation = NonNullable<
  NonNullable<NonNullable<RuntimePolicyInput['rules']>[number]['file']>['operations']
>[number];

const OPERATIONS = [
  ...['read', 'write', 'create', 'unlink', 'rename', 'link', 'symlink', 'mkdir', 'rmdir', 'mknod', 'chmod', 'chown'],
  ...['truncate', 'setxattr', 'chroot', 'mount-point'],
] as FileOperation[];
const UNIX_BIND = 'unix-bind';

/** A directory for each operation, in which that operation is denied. */
const POLICY: RuntimePolicyInput = {
  mode: 'enforce',
  rules: [
    ...OPERATIONS.map((operation) => ({
      name: operation,
      action: 'block' as const,
      file: { directories: [`/only/${operation}`], recursive: true, operations: [operation] },
    })),
    {
      name: UNIX_BIND,
      action: 'block',
      unix: { directories: [`/only/${UNIX_BIND}`], recursive: true, operations: ['bind'] },
    },
  ],
};

/** Ways that older kernels lack. */
const SINCE = [
  { way: 'tmpfile', feature: TMPFILE_ON_OVERLAY },
  { way: 'ring-ftruncate', feature: FTRUNCATE_BY_RING },
].map(({ way, feature }) => ({ way, what: feature.what, why: whyLacking(feature) }));
const LACKING = SINCE.filter(({ why }) => why !== null).map(({ way }) => way);

interface Ended {
  readonly way: string;
  readonly operation: string;
  readonly where: string;
  readonly outcome: string;
}

async function ways(container: Container, between: () => void): Promise<Ended[]> {
  const running = container.run(container.install(staticProgram('file-ops.c'), 'file-ops'));
  await running.line('ready');
  between();
  running.go();
  await running.line('done');
  return running.lines
    .filter((line) => / (own|other) /.test(line) && !LACKING.includes(line.split(' ')[0]!))
    .map((line) => {
      const [way = '', operation = '', where = '', ...outcome] = line.split(' ');
      return { way, operation, where, outcome: outcome.join(' ') };
    });
}

describe('files', () => {
  let rig: FilesRig;
  let container: Container;
  let control: Ended[];
  let guarded: Ended[];
  beforeAll(async () => {
    rig = new FilesRig();
    control = await ways(rig.container(), () => {});
    container = rig.container();
    guarded = await ways(container, () => rig.apply(container, POLICY));
  }, LOAD_TIMEOUT_MS);
  afterAll(() => rig?.[Symbol.dispose]());

  it('control - without policy every way lands', () => {
    expect(control.filter(({ outcome }) => outcome !== 'landed')).toEqual([]);
  });

  it.for(SINCE)('control - $what is among them', ({ way, why }, context) => {
    if (why !== null) context.skip(why);
    expect(control.filter((ended) => ended.way === way)).toHaveLength(2);
  });

  it('operations - each has a way', () => {
    expect([...new Set(control.map(({ operation }) => operation))].sort()).toEqual([...OPERATIONS, UNIX_BIND].sort());
  });

  it.each([...OPERATIONS, UNIX_BIND])('%s - is refused where it is denied, in every way', (operation) => {
    const own = guarded.filter((ended) => ended.operation === operation && ended.where === 'own');
    expect(own.filter(({ outcome }) => outcome !== 'refused')).toEqual([]);
    expect(rig.counts(container)[operation]).toBe(own.length);
  });

  it('allowed - every way lands where nothing is denied', () => {
    expect(guarded.filter(({ where, outcome }) => where === 'other' && outcome !== 'landed')).toEqual([]);
  });
});
