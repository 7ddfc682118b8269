import { type POSTURE_CLASSES as Classes, FILE_OPERATIONS, POSTURE_CLASSES } from '@bailiff/policy';
import {
  decide,
  loadPolicyFile,
  mergeSelected,
  type Operation,
  type OperationName,
  selectsPod,
} from '@bailiff/runtime';
import { sampleOperation } from '@bailiff/schemas/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { generalise, isRandomName, type SeenPath, widened } from './generalise-paths.ts';
import { proposePolicy } from './propose.ts';
import { cidrsOf } from './propose-network.ts';
import { proposalYaml } from './propose-yaml.ts';
import type { Learned } from './rule-parts.ts';

const NONE = { subject: '', address: '', port: 0, protocol: 0 };
const did = (operation: string, part: Partial<Learned['operation']> = {}, times = 1): Learned => ({
  operation: sampleOperation({ ...NONE, operation, executable: '/usr/bin/app', comm: 'app', ...part }),
  times,
});
const on = (operation: string, subject: string, times = 1) => did(operation, { subject }, times);
const to = (operation: string, address: string, port: number, protocol = 6) =>
  did(operation, { address, port, protocol });

function propose(learned: readonly Learned[], classes: readonly (typeof Classes)[number][] = POSTURE_CLASSES) {
  return proposePolicy(learned, { name: 'web', namespace: 'shop', matchLabels: { app: 'web' }, classes });
}
const FROM = { pod: 'shop/web-0', node: 'node-a', span: '10m', unsampled: 0, unsampledNow: 0, violations: 9 };

/** What the proposed file decides once it is enforced. */
function outcomesOf(learned: readonly Learned[], operations: readonly Operation[]): string[] {
  const text = proposalYaml(propose(learned), FROM).replace('mode: audit', 'mode: enforce');
  const set = mergeSelected(loadPolicyFile(text, 'proposed'));
  return operations.map((operation) => decide(set, operation, { chain: ['/usr/bin/app'], cut: false }).outcome);
}
const path = (op: OperationName, at: string): Operation => ({ kind: 'path', op, path: at });

describe('names of chance', () => {
  it.each([
    ['0f0e0d0c-1111-4222-8333-444455556666', true, true],
    ['cache-3f2a9bc41d', true, true],
    ['tmpAb12Cd', true, false],
    ['npm-12345', true, false],
    ['sess_aB3dE9.sock', true, false],
    ['config', false, false],
    ['libssl.so.3', false, false],
    ['node18', false, false],
    ['passwd', false, false],
    ['deadbeef', false, false],
    ['python3', false, false],
  ])('%s', (name, inTmp, elsewhere) => {
    expect([isRandomName(name, true), isRandomName(name, false)]).toEqual([inTmp, elsewhere]);
  });

  it.each([
    ['/tmp/tmpAb12Cd', { directory: '/tmp', recursive: false }],
    ['/tmp/npm-12345/lib/x.js', { directory: '/tmp', recursive: true }],
    ['/var/lib/app/3f2a9bc41d77/state', { directory: '/var/lib/app', recursive: true }],
    ['/etc/3f2a9bc41d77', null],
    ['/3f2a9bc41d77/x', null],
    ['/tmp/fixed', null],
  ])('%s', (at, wide) => {
    if (wide) expect(widened(at)).toMatchObject(wide);
    else expect(widened(at)).toBeNull();
  });
});

describe('paths', () => {
  const seen = (at: string, ...operations: string[]): SeenPath => ({
    path: at,
    operations,
    times: 1,
    programs: new Set(['/usr/bin/app']),
  });

  it('files of processes - read as the tree, changed by the end of their name', () => {
    const groups = generalise(
      [seen('/proc/12/stat', 'read'), seen('/proc/99/maps', 'read'), seen('/proc/12/oom_score_adj', 'write')],
      true,
    );
    expect(groups).toMatchObject([
      { directory: '/proc', recursive: true, operations: ['read'], times: 2 },
      { suffix: 'oom_score_adj', operations: ['write'], note: expect.stringMatching(/REVIEW/) },
    ]);
  });

  it('many files read in one directory - the directory, except protected ones and written or executed files', () => {
    const many = (folder: string, ...operations: string[]) =>
      Array.from({ length: 20 }, (_, index) => seen(`${folder}/f${String.fromCharCode(97 + index)}`, ...operations));
    expect(generalise(many('/app/templates', 'read'), true)).toMatchObject([
      { directory: '/app/templates', times: 20, note: '20 files in it were read' },
    ]);
    expect(generalise(many('/etc', 'read'), true)).toHaveLength(20);
    expect(generalise(many('/app/data', 'write'), true)).toHaveLength(20);
    expect(generalise(many('/usr/lib/x', 'map'), false)).toHaveLength(20);
  });
});

describe('addresses', () => {
  it('few are named, many of one network are the network', () => {
    expect(cidrsOf(['10.0.0.1', 'fd00::1', '10.0.0.1']).map(({ cidr }) => cidr)).toEqual([
      '10.0.0.1/32',
      'fd00::1/128',
    ]);
    const many = Array.from({ length: 9 }, (_, index) => [`10.0.0.${index}`, `fd00:0:0:1::${index}`]).flat();
    expect(cidrsOf(many).map(({ cidr }) => cidr)).toEqual(['10.0.0.0/24', 'fd00:0:0:1::/64']);
  });
});

describe('proposal', () => {
  const learned = [
    on('execute', '/usr/bin/app', 3),
    on('map-execute', '/usr/lib/libc.so.6', 3),
    on('read', '/etc/hosts', 12),
    on('read', '/proc/41/status'),
    on('write', '/tmp/tmpAb12Cd'),
    on('create', '/tmp/tmpAb12Cd'),
    on('unix-connect', '/run/db.sock'),
    on('unix-connect', 'agent'),
    to('connect', '10.0.0.5', 5432),
    to('send', '10.0.0.10', 53, 17),
    ...[41234, 41235, 41236, 50001, 50002].map((port) => to('bind', '0.0.0.0', port, 17)),
    to('connect', '::ffff:10.0.0.7', 50051),
    on('socket', 'netlink/raw/0'),
    on('capability', 'net_bind_service', 2),
    on('mount', 'bind /mnt'),
    on('kernel', 'traceme'),
  ];

  it('allows what was seen and nothing else once it is enforced', () => {
    const seen: Operation[] = [
      path('execute', '/usr/bin/app'),
      path('map-execute', '/usr/lib/libc.so.6'),
      path('read', '/etc/hosts'),
      path('read', '/proc/77/status'),
      path('write', '/tmp/tmpZz99Yy'),
      path('unix-connect', '/run/db.sock'),
      { kind: 'abstract', op: 'unix-connect', name: 'agent' },
      { kind: 'address', op: 'connect', address: '10.0.0.5', port: 5432, protocol: 6 },
      { kind: 'address', op: 'send', address: '10.0.0.10', port: 53, protocol: 17 },
      { kind: 'address', op: 'bind', address: '0.0.0.0', port: 50000, protocol: 17 },
      { kind: 'address', op: 'connect', address: '10.0.0.7', port: 50051, protocol: 6 },
      { kind: 'value', op: 'socket', value: (16n << 32n) | (3n << 16n) },
      { kind: 'value', op: 'capability', value: 10n },
      { kind: 'value', op: 'mount', value: 1n },
      { kind: 'value', op: 'kernel', value: 1n },
    ];
    expect(outcomesOf(learned, seen)).toEqual(seen.map(() => 'pass'));
    const unseen: Operation[] = [
      path('execute', '/bin/sh'),
      path('map-execute', '/usr/bin/app'),
      path('read', '/etc/shadow'),
      path('write', '/etc/hosts'),
      path('write', '/proc/77/status'),
      path('unlink', '/tmp/tmpAb12Cd'),
      path('unix-connect', '/run/docker.sock'),
      { kind: 'abstract', op: 'unix-connect', name: 'other' },
      { kind: 'address', op: 'connect', address: '10.0.0.6', port: 5432, protocol: 6 },
      { kind: 'address', op: 'connect', address: '10.0.0.5', port: 22, protocol: 6 },
      { kind: 'address', op: 'bind', address: '0.0.0.0', port: 80, protocol: 17 },
      { kind: 'address', op: 'connect', address: '10.0.0.7', port: 50052, protocol: 6 },
      { kind: 'value', op: 'socket', value: (2n << 32n) | (3n << 16n) | 1n },
      { kind: 'value', op: 'capability', value: 21n },
      { kind: 'value', op: 'mount', value: 2n },
      { kind: 'value', op: 'kernel', value: 3n },
    ];
    expect(outcomesOf(learned, unseen)).toEqual(unseen.map(() => 'block'));
  });

  it('file - in audit mode, selects by labels, counts and programs beside each entry', () => {
    const text = proposalYaml(propose(learned), FROM);
    const [policy] = loadPolicyFile(text, 'proposed');
    expect(policy?.policy).toMatchObject({ mode: 'audit', defaultPosture: { file: 'block', kernel: 'block' } });
    expect(selectsPod(policy!, { namespace: 'shop', labels: { app: 'web', x: 'y' } })).toBe(true);
    expect(text).toMatch(
      /^# Proposed from 10m of shop\/web-0 on node-a: 36 operations in 9 violations, \d+ rules\.\n# Review/,
    );
    expect(text).toMatch(/- \/etc\/hosts # 12 times, by \/usr\/bin\/app\n/);
    expect(text).toMatch(/- \/tmp # 2 times, by \/usr\/bin\/app; tmpAb12Cd looks like a random name\n/);
    expect(text).toMatch(/- 10\.0\.0\.5\/32 # once, by \/usr\/bin\/app\n/);
    expect(text).toMatch(/# REVIEW: such sockets can send packets with any source\n +- name: socket-netlink-raw/);
    expect(text).not.toMatch(/Incomplete/);
  });

  it('operations that cannot be named - are listed as omitted; unobserved classes get no rules', () => {
    const odd = [
      on('read', '…/deep/file'),
      on('read', '/a*b'),
      on('eat', '/x'),
      on('mount', 'strange'),
      on('drift', 'layer /x'),
    ];
    const proposal = propose(odd);
    expect(proposal.left).toEqual([
      expect.stringMatching(/^eat \/x: /),
      expect.stringMatching(/its start is truncated/),
      expect.stringMatching(/wildcard/),
      expect.stringMatching(/^mount strange/),
    ]);
    expect(proposalYaml(proposal, { ...FROM, unsampled: 7, unsampledNow: 2 })).toMatch(
      /# Incomplete: 7 operations .*, 2 of them[\s\S]*# Omitted:\n# {3}eat/,
    );
    const onlyFiles = propose(learned, ['file']);
    expect(onlyFiles.spec.defaultPosture).toEqual({ file: 'block' });
    expect(onlyFiles.rules.map(({ rule }) => rule.execute ?? rule.network ?? rule.capabilities)).not.toContainEqual(
      expect.anything(),
    );
  });

  it('executed memory - is allowed with a review note; other files without a path are omitted', () => {
    const memory = [on('execute', '/memfd:x'), on('map-execute', 'memfd:y'), on('read', '/memfd:x')];
    const proposal = propose(memory);
    expect(proposal.rules.map(({ rule }) => rule.execute)).toEqual([{ anonymous: true }]);
    expect(proposal.left).toEqual([expect.stringMatching(/^read \/memfd:x \(1\): it has no path/)]);
    expect(proposalYaml(proposal, FROM)).toMatch(/REVIEW: malware uses programs without a file/);
  });

  it('much of everything - lists are parted, names are kept apart, and all of it is allowed', () => {
    const files = FILE_OPERATIONS.flatMap((op) => [on(op, '/app/a'), ...(op === 'chroot' ? [] : [on(op, '/app/b')])]);
    const many = [
      ...files,
      ...Array.from({ length: 300 }, (_, index) => on('execute', `/app/bin/p${index}`)),
      ...Array.from({ length: 40 }, (_, index) => on('write', `/proc/7/attr${index}`)),
      ...Array.from({ length: 70 }, (_, index) => on('unix-connect', `name${index}`)),
      ...Array.from({ length: 300 }, (_, index) => to('connect', `10.${index % 250}.${Math.floor(index / 250)}.1`, 80)),
      ...Array.from({ length: 20 }, (_, index) => on('socket', `inet/raw/${index}`)),
    ];
    const [policy] = loadPolicyFile(proposalYaml(propose(many), FROM), 'proposed');
    expect(propose(many).left).toEqual([]);
    const names = policy?.policy.rules.map(({ name }) => name) ?? [];
    expect(names).toEqual(
      expect.arrayContaining([
        'execute-execute-2',
        'write-suffixes-2',
        'unix-abstract-2',
        'connect-tcp-80-2',
        'socket-inet-raw-2',
      ]),
    );
    const checked: Operation[] = [
      path('chroot', '/app/a'),
      path('chmod', '/app/b'),
      path('execute', '/app/bin/p299'),
      path('write', '/proc/9/attr39'),
    ];
    expect(outcomesOf(many, checked)).toEqual(checked.map(() => 'pass'));
    expect(outcomesOf(many, [path('chroot', '/app/b')])).toEqual(['block']);
  });

  it('text from pods - cannot leave its comment', () => {
    const hostile = did('read', { subject: '/etc/hosts', executable: '/x\n    - name: evil\n      action: allow' });
    const text = proposalYaml(propose([hostile]), FROM);
    const [policy] = loadPolicyFile(text, 'proposed');
    expect(policy?.policy.rules).toHaveLength(1);
  });

  it('any operations - the file is taken, and allows each of them that is not named as left out', () => {
    const name = fc.stringMatching(/^[a-z0-9A-Z._-]{1,10}$/).filter((text) => text !== '.' && text !== '..');
    const file = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join('/')}`);
    const op = fc.constantFrom<OperationName>(
      'read',
      'write',
      'create',
      'execute',
      'map-execute',
      'unlink',
      'unix-connect',
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(op, file), { minLength: 1, maxLength: 40 }), (pairs) => {
        const operations = pairs.map(([operation, at]) => path(operation, at));
        const all = pairs.map(([operation, at]) => on(operation, at));
        expect(outcomesOf(all, operations)).toEqual(operations.map(() => 'pass'));
      }),
      { numRuns: 60 },
    );
  });
});
