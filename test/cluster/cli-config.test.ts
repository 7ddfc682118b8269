/**
 * `bailiff config effective`, `export` and `import`, and several commands that write at once, on a
 * real bus.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CONFIG_HISTORY, configHistory, encodeToken, openBucket, readConfig, writeConfig } from '@bailiff/bus';
import { parseConfigKey, SIGNATURE_HEADER, spoofCluster, spoofScoped, TUNABLE_VECTORS } from '@bailiff/policy';
import { podIdentityOf } from '@bailiff/schemas/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { modesFor } from '../../apps/collector/src/desired/effective-modes.ts';
import { healthyStatus, NODE_A, NODE_B, WEB, World } from './cli/world.ts';

let world: World;
const POD = podIdentityOf(WEB, {
  labels: { app: 'web' },
  owners: [
    { kind: 'ReplicaSet', name: 'web-5c', uid: 'rs' },
    { kind: 'Deployment', name: 'web', uid: 'd' },
  ],
  containers: [{ name: 'app', id: 'c1' }],
});

beforeAll(async () => {
  world = await World.start();
  const daemon = {
    ...POD,
    uid: `${WEB.uid.slice(0, -1)}9`,
    name: 'agent',
    owners: [{ kind: 'DaemonSet', name: 'agent', uid: 'a' }],
  };
  await world.put('bailiff_pods', encodeToken(NODE_A), { nodeName: NODE_A, revision: 1, pods: [POD, daemon] });
});
afterAll(() => world?.[Symbol.asyncDispose]());

interface Shown {
  setting: string;
  value: unknown;
  note: string;
  from: { source: string; key?: string; revision?: number; by?: string; why?: string; lastGood?: boolean };
}
type Report = Record<'spoof' | 'disarm' | 'runtime' | 'correlation' | 'response', Shown[]> & { refused: string[] };

async function effective(...args: string[]): Promise<Report> {
  const { exitCode, stdout, stderr } = await world.cli(['config', 'effective', ...args, '--json']);
  expect([exitCode, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Report;
}
const of = (settings: readonly Shown[], name: string) => settings.find(({ setting }) => setting === name);

describe('cli config effective', () => {
  const CLUSTER = {
    modes: { tunnel: 'audit', redirect: 'off' },
    sampling: { burst: 3 },
    quarantine: { allow: ['10.0.0.0/8'] },
  };
  const NAMESPACE = { modes: { redirect: 'audit', 'source-mac': 'audit' }, sampling: { perSecond: 50 } };
  const WORKLOAD = { modes: { redirect: 'enforce' } };

  it('nothing stored - all values are the built-in ones', async () => {
    const report = await effective('shop/web-0');
    expect([...report.spoof, ...report.correlation, ...report.response].map(({ from }) => from.source)).toEqual(
      expect.not.arrayContaining(['key']),
    );
    expect(of(report.spoof, 'modes.tunnel')).toMatchObject({ value: 'enforce', from: { source: 'default' } });
    expect(of(report.correlation, 'repeated-spoofing')?.value).toBe('high: 10 or more within 60s by pod');
    expect(report.disarm).toMatchObject([{ value: null, from: { source: 'default' } }]);
    expect(report.runtime).toEqual([]);
  });

  it('scopes - each value with its key, revision and author; a collector derives the same modes', async () => {
    const bus = await world.as('cli');
    const write = (key: string, value: object, by: string) => writeConfig(bus, key, value, { by, why: `by ${by}` });
    await write('spoof.cluster._.default', CLUSTER, 'anna');
    await write('spoof.namespace.shop.default', NAMESPACE, 'ben');
    await write('spoof.workload.shop.web', WORKLOAD, 'cleo');
    await write('spoof.workload.shop.cart', { modes: { redirect: 'off' } }, 'other pod');
    await write('spoof.namespace.bank.default', { modes: { tunnel: 'off' } }, 'other namespace');
    const { spoof } = await effective('shop/web-0');
    const from = (name: string) => [of(spoof, name)?.value, of(spoof, name)?.from.key, of(spoof, name)?.from.by];
    expect(from('modes.tunnel')).toEqual(['audit', 'spoof.cluster._.default', 'anna']);
    expect(from('modes.source-mac')).toEqual(['audit', 'spoof.namespace.shop.default', 'ben']);
    expect(from('modes.redirect')).toEqual(['enforce', 'spoof.workload.shop.web', 'cleo']);
    expect(from('modes.arp-sender')).toEqual(['enforce', undefined, undefined]);
    expect(from('sampling.burst')).toEqual([3, 'spoof.cluster._.default', 'anna']);
    expect(from('sampling.perSecond')).toEqual([50, 'spoof.namespace.shop.default', 'ben']);
    expect(from('quarantine.allow')).toEqual([['10.0.0.0/8'], 'spoof.cluster._.default', 'anna']);
    expect(from('unknown')).toEqual(['audit', undefined, undefined]);
    const collector = modesFor(spoofCluster.parse(CLUSTER), [
      spoofScoped.parse(NAMESPACE),
      spoofScoped.parse(WORKLOAD),
    ]);
    expect(Object.fromEntries(TUNABLE_VECTORS.map((vector) => [vector, of(spoof, `modes.${vector}`)?.value]))).toEqual(
      Object.fromEntries(TUNABLE_VECTORS.map((vector) => [vector, collector[vector]])),
    );
    const toCome = await effective('--namespace', 'shop');
    expect(of(toCome.spoof, 'modes.redirect')).toMatchObject({ value: 'audit', from: { by: 'ben' } });
  });

  it('rules, policies and break-glass - those that apply to the pod, and what protects it', async () => {
    const bus = await world.as('cli');
    const me = { by: 'dora', why: 'a test' };
    const rule = { type: 'event_count', level: 'low', timespan: '30s', condition: { gte: 3 } };
    await writeConfig(bus, 'correlation.cluster._.repeated-spoofing', { ...rule, level: 'high' }, me);
    await writeConfig(bus, 'correlation.cluster._.elsewhere', { ...rule, selection: { namespaces: ['bank'] } }, me);
    await writeConfig(
      bus,
      'correlation.cluster._.not-here',
      { ...rule, selection: { excludeNamespaces: ['shop'] } },
      me,
    );
    await writeConfig(
      bus,
      'response.cluster._.of-bank',
      { match: { namespaces: ['bank'] }, steps: [{ action: 'label' }] },
      me,
    );
    const mounts = { mode: 'enforce', rules: [{ name: 'no-mount', action: 'block', mount: {} }] };
    await writeConfig(bus, 'runtime.cluster._.all', { ...mounts, selector: { containers: ['app'] } }, me);
    await writeConfig(
      bus,
      'runtime.namespace.shop.web-only',
      { ...mounts, selector: { podLabels: { matchLabels: { app: 'web' } } } },
      me,
    );
    await writeConfig(
      bus,
      'runtime.namespace.shop.cart-only',
      { ...mounts, selector: { podLabels: { matchLabels: { app: 'cart' } } } },
      me,
    );
    await world.cli(['disarm', '--node', NODE_A, '--for', '10m', '--reason', 'a look', '--yes']);
    await world.cli(['disarm', '--namespace', 'shop', '--for', '20m', '--reason', 'longer', '--yes']);
    const report = await effective('shop/web-0');
    expect(of(report.correlation, 'repeated-spoofing')).toMatchObject({
      value: 'high: 3 or more within 30s by pod',
      from: { by: 'dora' },
    });
    expect(report.correlation.map(({ setting }) => setting)).not.toEqual(expect.arrayContaining(['elsewhere']));
    expect(of(report.correlation, 'not-here')).toBeUndefined();
    expect(report.response).toMatchObject([
      { setting: 'answer-high', value: 'dry run of observe, label, delete on high, critical', note: '' },
    ]);
    expect(report.runtime.map(({ setting, note }) => [setting, note])).toEqual([
      ['all', 'only containers app'],
      ['web-only', ''],
    ]);
    expect(report.disarm).toMatchObject([{ note: 'longer', from: { key: 'disarm.namespace.shop.all' } }]);
    const daemon = await effective('shop/agent');
    expect(daemon.response).toMatchObject([{ note: expect.stringContaining('DaemonSet are quarantined') }]);
    expect((await effective('-n', 'kube-system')).response).toMatchObject([
      { note: expect.stringContaining('observe only') },
    ]);
  });

  it('a value that readers refuse - the last good one is shown instead', async () => {
    await world.put('bailiff_config', 'spoof.namespace.shop.default', '{"modes":{"redirect":"maybe"}}');
    const report = await effective('shop/web-0');
    expect(of(report.spoof, 'modes.source-mac')).toMatchObject({
      value: 'audit',
      from: { key: 'spoof.namespace.shop.default', by: 'ben', revision: 1, lastGood: true },
    });
    expect(report.refused).toEqual(['spoof.namespace.shop.default']);
    const text = await world.cli(['config', 'effective', 'shop/web-0']);
    expect(text.stdout).toMatch(/modes\.source-mac +audit +spoof\.namespace\.shop\.default \(last good\) +1 +cli +ben/);
    expect(text.stdout).toMatch(/modes\.arp-sender +enforce +built in/);
    expect(text.stderr).toMatch(/1 stored value is refused by all readers/);
  });

  it('a value that all nodes refuse for its signature - what they keep is shown; control: one node accepts it', async () => {
    const key = 'spoof.namespace.shop.default';
    const report = (...refusing: string[]) =>
      Promise.all(
        [NODE_A, NODE_B].map((node) => {
          const reason = 'the value is not signed';
          return world.status(healthyStatus(node, { configRefused: refusing.includes(node) ? [{ key, reason }] : [] }));
        }),
      );
    const bucket = openBucket(await world.as('admin'), 'bailiff_config');
    const signature = { [SIGNATURE_HEADER]: 'a signature' };
    await bucket.put(key, JSON.stringify({ revision: 7, modes: { tunnel: 'audit' } }), { headers: signature });
    for (const [revision, mode] of [
      [8, 'enforce'],
      [9, 'off'],
    ] as const)
      await bucket.put(key, JSON.stringify({ revision, modes: { tunnel: mode } }));
    await report(NODE_A);
    expect(of((await effective('shop/web-0')).spoof, 'modes.tunnel')).toMatchObject({
      value: 'off',
      from: { key, revision: 9, lastGood: false },
    });
    await report(NODE_A, NODE_B);
    const { spoof, refused } = await effective('shop/web-0');
    expect(of(spoof, 'modes.tunnel')).toMatchObject({ value: 'audit', from: { key, revision: 7, lastGood: true } });
    expect(refused).toEqual([key]);
    const listed = await world.cli(['config', 'list']);
    expect(listed.stderr).toContain(`${key} is refused by all readers: "the value is not signed"`);
    await report();
    expect((await world.cli(['config', 'list'])).stderr).not.toContain(key);
  });

  it('wrong usage - prints the usage', async () => {
    expect(await world.cli(['config', 'effective'])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/no pod is given/),
    });
    expect(await world.cli(['config', 'effective', 'shop/absent'])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/no pod/),
    });
  });
});

describe('cli config export and import', () => {
  let own: World;
  let directory: string;
  const file = (relative: string) => path.join(directory, relative);
  const cli = (...args: string[]) => own.cli(['config', ...args]);
  const importing = (...args: string[]) => cli('import', directory, ...args);
  const revisions = async () =>
    Object.fromEntries(
      (await openBucket(await own.as('cli'), 'bailiff_config').entries()).map(({ key, revision }) => [key, revision]),
    );
  const POLICY = { mode: 'enforce', rules: [{ name: 'no-mount', action: 'block', mount: {} }] };
  const VALUES: [string, string, object][] = [
    ['spoof.cluster._.default', 'spoof/cluster.yaml', { modes: { tunnel: 'audit' } }],
    ['spoof.namespace.shop.default', 'spoof/namespaces/shop.yaml', { modes: { redirect: 'off' } }],
    ['spoof.workload.shop.web', 'spoof/workloads/shop/web.yaml', { sampling: { burst: 2 } }],
    [
      'correlation.cluster._.mine',
      'correlation/mine.yaml',
      { type: 'event_count', level: 'low', timespan: '30s', condition: { gte: 3 } },
    ],
    ['response.cluster._.answer-high', 'response/answer-high.yaml', { steps: [{ action: 'observe' }] }],
    ['runtime.namespace.shop.no-mounts', 'runtime/shop/no-mounts.yaml', POLICY],
  ];

  beforeAll(async () => {
    own = await World.start();
    directory = path.join(own.directory, 'config');
    const bus = await own.as('cli');
    for (const [key, , value] of VALUES) await writeConfig(bus, key, value, { by: 'anna', why: 'set up' });
    await own.cli(['disarm', '--all', '--for', '10m', '--reason', 'x', '--yes']);
  });
  afterAll(() => own?.[Symbol.asyncDispose]());

  it('export - one file per key in a readable layout; a second export writes nothing', async () => {
    const { exitCode, stdout, stderr } = await cli('export', directory);
    expect([exitCode, stderr]).toEqual([0, '6 keys: 6 written, 0 unchanged\n']);
    expect(stdout.trim().split('\n').sort()).toEqual(VALUES.map(([, relative]) => file(relative)).sort());
    expect(readFileSync(file('spoof/cluster.yaml'), 'utf8')).toBe('modes:\n  tunnel: audit\n');
    expect(readFileSync(file('runtime/shop/no-mounts.yaml'), 'utf8')).toMatch(
      /^apiVersion: bailiff\.dev\/v1alpha1\nkind: RuntimePolicy\nmetadata:\n {2}name: no-mounts\n {2}namespace: shop\nspec:\n {2}mode: enforce/,
    );
    expect(await cli('export', directory)).toMatchObject({ stdout: '', stderr: '6 keys: 0 written, 6 unchanged\n' });
    const single = await own.cli(['policy', 'diff', file('runtime/shop/no-mounts.yaml')]);
    expect(single).toMatchObject({ exitCode: 0, stdout: '' });
  });

  it('import - of stored values writes nothing; on another bus it writes all of them, once', async () => {
    const before = await revisions();
    expect(await importing('--yes')).toMatchObject({
      exitCode: 0,
      stdout: '',
      stderr: `6 keys in ${directory}: 0 to change, 6 unchanged\n`,
    });
    expect(await revisions()).toEqual(before);
    await using other = await World.start();
    const first = await other.cli(['config', 'import', directory, '--yes', '--by', 'ben', '--reason', 'release 12']);
    expect([first.exitCode, first.stdout.match(/: revision 1/g)?.length]).toEqual([0, 6]);
    const again = await other.cli(['config', 'import', directory, '--yes', '--json']);
    expect(JSON.parse(again.stdout)).toEqual({ written: [], unchanged: 6 });
    const [stored] = await configHistory(await other.as('cli'), 'correlation.cluster._.mine');
    expect(stored).toMatchObject({ by: 'ben', why: 'release 12' });
    await other.cli(['config', 'export', path.join(other.directory, 'again')]);
    for (const [, relative] of VALUES)
      expect(readFileSync(path.join(other.directory, 'again', relative), 'utf8')).toBe(
        readFileSync(file(relative), 'utf8'),
      );
  });

  it('import - mistakes of all files are reported by file, line and field, and nothing is written', async () => {
    const before = await revisions();
    const wrong = path.join(own.directory, 'wrong');
    const put = (relative: string, text: string) => {
      mkdirSync(path.dirname(path.join(wrong, relative)), { recursive: true });
      writeFileSync(path.join(wrong, relative), text);
    };
    put('spoof/cluster.yaml', 'modes:\n  tunnel: enforce\n');
    put('spoof/namespaces/shop.yaml', 'modes:\n  redirect: off\n  tunnel: maybe\ncolour: red\n');
    put('correlation/mine.yaml', 'type: event_count\nlevel: low\ntimespan: 30\ncondition: { gte: 3 }\n');
    put('response/acting.yaml', 'dryRun: false\nsteps:\n  - action: delete\nguards:\n  budget:\n    maxPods: 0\n');
    put('runtime/shop/other.yaml', readFileSync(file('runtime/shop/no-mounts.yaml'), 'utf8'));
    put('runtime/broken.yaml', 'kind: RuntimePolicy\nmetadata: { name: broken }\nspec:\n  mode: sometimes\n');
    put('notes/x.yaml', 'a: 1\n');
    put('spoof/workloads/shop/team/web.yaml', 'modes:\n  tunnel: off\n');
    put('response/no.yaml', 'steps: [');
    put('README.md', 'not ours');
    const { exitCode, stderr } = await cli('import', wrong, '--yes');
    expect(exitCode).toBe(6);
    for (const printed of [
      /spoof\/namespaces\/shop\.yaml:3: modes\.tunnel: /,
      /spoof\/namespaces\/shop\.yaml:4: colour: is unknown/,
      /correlation\/mine\.yaml:3: timespan: must be a duration with a unit/,
      /response\/acting\.yaml:6: guards\.budget\.maxPods: 0 allows no pod/,
      /runtime\/shop\/other\.yaml: contains runtime\.namespace\.shop\.no-mounts, but its path names/,
      /runtime\/broken\.yaml:4: spec\.mode: /,
      /notes\/x\.yaml: its path names no key/,
      /spoof\/workloads\/shop\/team\/web\.yaml: its path names no key/,
      /response\/no\.yaml:1: no YAML/,
    ])
      expect(stderr).toMatch(printed);
    expect(stderr).toMatch(/refused with 9 errors; nothing was written/);
    expect(await revisions()).toEqual(before);
  });

  it('import - --dry-run shows the difference; one confirmation; a concurrent write wins, and nothing of the import stays', async () => {
    writeFileSync(file('spoof/cluster.yaml'), 'modes:\n  tunnel: off\n');
    writeFileSync(file('correlation/new.yaml'), 'type: event_count\nlevel: low\ntimespan: 1m\ncondition:\n  gte: 9\n');
    const before = await revisions();
    const dry = await importing('--dry-run');
    expect(dry).toMatchObject({
      exitCode: 0,
      stdout: '',
      stderr: expect.stringMatching(/- {3}tunnel: audit\n\+ {3}tunnel: off\n[\s\S]*--dry-run/),
    });
    const json = JSON.parse((await importing('--dry-run', '--json')).stdout);
    expect(json).toMatchObject({
      dryRun: true,
      unchanged: 5,
      changes: [
        { key: 'correlation.cluster._.new', change: 'created' },
        { key: 'spoof.cluster._.default', change: 'changed' },
      ],
    });
    expect(await revisions()).toEqual(before);
    const bus = await own.as('cli');
    const raced = await own.cli(['config', 'import', directory], {
      answers: ['y'],
      onAsk: async () =>
        void (await writeConfig(
          bus,
          'spoof.cluster._.default',
          { modes: { tunnel: 'enforce' } },
          { by: 'cleo', why: 'x' },
        )),
    });
    expect([raced.exitCode, raced.stderr]).toEqual([6, expect.stringMatching(/Write these 2 keys\? .*was expected/s)]);
    expect(await readConfig(bus, 'correlation.cluster._.new')).toBeNull();
    expect(JSON.parse((await readConfig(bus, 'spoof.cluster._.default'))?.json ?? '')).toMatchObject({
      modes: { tunnel: 'enforce' },
    });
    expect(await importing('--yes')).toMatchObject({ exitCode: 0 });
    expect(JSON.parse((await readConfig(bus, 'spoof.cluster._.default'))?.json ?? '')).toMatchObject({
      modes: { tunnel: 'off' },
    });
  });

  it('a removed file - deletes nothing without --prune, and never break-glass; export keeps other files', async () => {
    const bus = await own.as('cli');
    rmSync(file('correlation/new.yaml'));
    rmSync(file('runtime/shop/no-mounts.yaml'));
    expect(await importing('--yes')).toMatchObject({ exitCode: 0, stdout: '' });
    const pruned = await importing('--prune', '--yes');
    expect(pruned).toMatchObject({
      exitCode: 0,
      stdout: 'correlation.cluster._.new: deleted\nruntime.namespace.shop.no-mounts: deleted\n',
    });
    expect(await readConfig(bus, 'disarm.cluster._.all')).not.toBeNull();
    await cli('delete', 'response.cluster._.answer-high', '--yes');
    writeFileSync(file('compose.yaml'), 'a: 1');
    expect((await cli('export', directory)).stderr).toMatch(
      /1 file of other keys, or with another ending: response\/answer-high\.yaml/,
    );
    expect((await cli('export', directory, '--prune')).stdout).toMatch(/answer-high\.yaml deleted/);
    expect([existsSync(file('response/answer-high.yaml')), existsSync(file('compose.yaml'))]).toEqual([false, true]);
  });

  it('export --prune - a file of a key whose value readers refuse stays; a second file of a key goes', async () => {
    const namespaces = file('spoof/namespaces/shop.yaml');
    expect(existsSync(namespaces)).toBe(true);
    await own.put('bailiff_config', 'spoof.namespace.shop.default', '{"modes":{"redirect":"maybe"}}');
    writeFileSync(file('spoof/cluster.yml'), 'modes: {}');
    const { stdout, stderr } = await cli('export', directory, '--prune');
    expect(stdout).toBe(`${file('spoof/cluster.yml')} deleted\n`);
    expect(stderr).toMatch(/omitted, because readers of this version refuse them: spoof\.namespace\.shop\.default/);
    for (let n = 0; n < 17; n += 1) await own.put('bailiff_config', `no-kind.${n}`, 'x');
    expect((await cli('export', directory)).stderr).toMatch(/refuse them: .* and 2 more\n/);
    expect(existsSync(namespaces)).toBe(true);
  });
});

describe('cli config rollback', () => {
  const key = 'spoof.namespace.rolled.default';
  const raw = async (text: string) => openBucket(await world.as('admin'), 'bailiff_config').put(key, text);
  const back = (...args: string[]) => world.cli(['config', 'rollback', key, '--yes', '--reason', 'r', ...args]);
  const modes = async () =>
    JSON.parse((await readConfig(await world.as('cli'), parseConfigKey(key)))?.json ?? '{}').modes;

  it('after values that no reader accepts - restores the newest one that they do; --to names any', async () => {
    expect((await world.cli(['config', 'set', key, 'modes.ipv4-source=audit', '--yes'])).exitCode).toBe(0);
    await raw('{"revision":2,"modes":{"nonsense":"audit"}}');
    await raw('not JSON');
    await raw('{"revision":4,"modes":{"nonsense-too":"audit"}}');
    // The control: readers would refuse the revision before.
    expect(await back('--to', '2')).toMatchObject({ exitCode: 6, stderr: expect.stringMatching(/nonsense/) });
    expect(await back()).toMatchObject({ exitCode: 0 });
    expect(await modes()).toEqual({ 'ipv4-source': 'audit' });
  });

  it('if none before was accepted - the built-in value applies again', async () => {
    await world.cli(['config', 'delete', key, '--yes']);
    await raw('[1]');
    expect(await back()).toMatchObject({ exitCode: 0 });
    expect(await modes()).toBeUndefined();
  });

  it('if only refused values are kept - nothing is written: what was before them is not known', async () => {
    expect((await world.cli(['config', 'set', key, 'modes.ipv4-source=audit', '--yes'])).exitCode).toBe(0);
    for (let at = 0; at < CONFIG_HISTORY; at += 1) await raw(`[${at}]`);
    const { exitCode, stderr } = await back();
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/no earlier value that is kept is valid/)]);
    expect((await readConfig(await world.as('cli'), parseConfigKey(key)))?.json).toBe(`[${CONFIG_HISTORY - 1}]`);
  });
});

describe('cli config set, concurrent commands', () => {
  it('concurrent commands on one key write on top of the revision they showed, or are refused: no update is lost', async () => {
    const key = 'spoof.namespace.crowded.default';
    const vectors = TUNABLE_VECTORS.slice(0, 6);
    let refused = 0;
    const setUntilWritten = async (vector: string, by: string) => {
      for (let attempt = 0; attempt < 40; attempt += 1) {
        const { exitCode, stderr } = await world.cli([
          'config',
          'set',
          key,
          `modes.${vector}=audit`,
          '--yes',
          '--by',
          by,
        ]);
        if (exitCode === 0) return;
        expect([exitCode, stderr]).toEqual([6, expect.stringMatching(/was expected|another client wrote first/)]);
        refused += 1;
      }
      throw new Error(`${by} was always refused`);
    };
    await Promise.all(vectors.map((vector, index) => setUntilWritten(vector, `operator-${index}`)));
    const history = await configHistory(await world.as('cli'), key);
    expect(JSON.parse(history.at(-1)?.json ?? '').modes).toEqual(
      Object.fromEntries(vectors.map((vector) => [vector, 'audit'])),
    );
    // Each revision has all fields of the one before, and one more.
    expect(history.map(({ revision, json }) => [revision, Object.keys(JSON.parse(json).modes).length])).toEqual(
      vectors.map((_, index) => [index + 1, index + 1]),
    );
    expect(refused, 'concurrent commands conflicted').toBeGreaterThan(0);
  });
});
