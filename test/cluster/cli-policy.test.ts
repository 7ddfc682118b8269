/**
 * `bailiff policy`: stored documents, their authors and reasons, all or none applied; on a real
 * server under the rights of `cli`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { configHistory, encodeToken, readConfig, writeConfig } from '@bailiff/bus';
import type { RuntimeStatus } from '@bailiff/schemas';
import { podIdentityOf, sampleRuntimeStatus } from '@bailiff/schemas/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { healthyStatus, NODE_A, NODE_B, WEB, World } from './cli/world.ts';

let world: World;
beforeAll(async () => {
  world = await World.start();
});
afterAll(() => world?.[Symbol.asyncDispose]());

const POD = podIdentityOf(WEB, {
  labels: { app: 'web' },
  containers: [
    { name: 'app', id: 'containerd://1' },
    { name: 'side', id: 'containerd://2' },
  ],
});
const SHELL = 'runtime.cluster._.no-shell';
const text = (name: string, rule: string, extra = '', namespace = '') => `kind: RuntimePolicy
metadata:
  name: ${name}${namespace === '' ? '' : `\n  namespace: ${namespace}`}
spec:
  mode: enforce
${extra}  rules:
    - name: r
      action: block
${rule}
`;
const mount = '      mount: {}';
const shell = '      execute:\n        paths: [/bin/sh]';

function file(name: string, ...documents: string[]): string {
  const at = path.join(world.directory, name);
  writeFileSync(at, documents.join('---\n'));
  return at;
}
const policy = (args: string[], options: Parameters<World['cli']>[1] = {}) => world.cli(['policy', ...args], options);
async function json(args: string[]): Promise<never> {
  const { exitCode, stdout, stderr } = await policy([...args, '--json']);
  expect([exitCode, stderr]).toEqual([0, expect.not.stringMatching(/bailiff:/)]);
  return JSON.parse(stdout) as never;
}

describe('cli policy apply', () => {
  it('several documents - written with author and reason; the same again changes nothing; a change shows the difference', async () => {
    const both = file('both.yaml', text('no-shell', shell), text('no-mounts', mount, '', 'shop'));
    const first = await policy(['apply', both, '--reason', 'to begin with', '--yes']);
    expect(first).toMatchObject({
      exitCode: 0,
      stdout: `${SHELL}: revision 1\nruntime.namespace.shop.no-mounts: revision 1\n`,
      stderr: expect.stringMatching(/no-shell: new: enforce, 1 rule \(--full shows all\)\n/),
    });
    expect(first.stderr).not.toMatch(/^\+/m);
    expect(first.stderr).toMatch(/check that it is in force: bailiff policy status/);
    const full = file('other.yaml', text('other-shell', shell));
    expect((await policy(['apply', full, '--full', '--dry-run'])).stderr).toMatch(
      /other-shell: adds a value\n[\s\S]*\+ mode: enforce\n/,
    );
    const again = await policy(['apply', both]);
    expect(again).toMatchObject({ exitCode: 0, stdout: '', stderr: expect.stringMatching(/nothing to change\n$/) });
    const changed = file('no-shell.yaml', text('no-shell', shell.replace('/bin/sh', '/bin/bash')));
    const diff = await policy(['diff', changed]);
    expect(diff.stdout).toMatch(/changes revision 1 by tester@host\n[\s\S]*- {9}- \/bin\/sh\n\+ {9}- \/bin\/bash/);
    expect(await json(['diff', changed])).toMatchObject([{ key: SHELL, change: 'changed', against: 1 }]);
    const answers = await policy(['apply', changed], { answers: ['yes'] });
    expect(answers).toMatchObject({ exitCode: 0, stdout: `${SHELL}: revision 2\n` });
    const log = await configHistory(await world.as('admin'), SHELL);
    expect(log.map(({ revision, by, why }) => [revision, by, why])).toEqual([
      [1, 'tester@host', 'to begin with'],
      [2, 'tester@host', 'bailiff policy apply'],
    ]);
  });

  it('mistakes of several files - each with file, line and field; nothing of the good ones is written', async () => {
    const folder = path.join(world.directory, 'policies');
    mkdirSync(folder);
    writeFileSync(path.join(folder, '1-good.yaml'), text('good', mount));
    writeFileSync(path.join(folder, '2-bad.yaml'), text('bad', mount.replace('mount', 'mounts')));
    writeFileSync(path.join(folder, '3-twice.yml'), text('good', shell, '  severity: loud\n'));
    writeFileSync(path.join(folder, 'notes.txt'), 'not a policy');
    const refused = await policy(['apply', folder, '--yes']);
    expect([refused.exitCode, refused.stdout]).toEqual([6, '']);
    expect(refused.stderr).toMatch(/refused with \d errors; nothing was written/);
    expect(refused.stderr).toMatch(/2-bad\.yaml:9: spec\.rules\.0\.mounts: is unknown/);
    expect(refused.stderr).toMatch(/3-twice\.yml:6: spec\.severity: /);
    writeFileSync(path.join(folder, '2-bad.yaml'), text('bad', mount));
    writeFileSync(path.join(folder, '3-twice.yml'), text('good', shell));
    const twice = await policy(['apply', folder, '--yes']);
    expect(twice.stderr).toMatch(/3-twice\.yml: runtime\.cluster\._\.good is also in .*1-good\.yaml/);
    expect(await readConfig(await world.as('cli'), 'runtime.cluster._.good')).toBeNull();
    expect(await policy(['apply', `${world.directory}/none.yaml`])).toMatchObject({ exitCode: 2 });
  });

  it('stdin, --dry-run, no terminal - only confirmed changes are written', async () => {
    const stdin = text('piped', mount);
    const key = 'runtime.cluster._.piped';
    const cli = await world.as('cli');
    expect(await policy(['apply', '-', '--dry-run'], { stdin })).toMatchObject({ exitCode: 0, stdout: '' });
    expect((await policy(['apply', '-'], { stdin, answers: ['n'] })).exitCode).toBe(2);
    expect((await policy(['apply', '-'], { stdin })).stderr).toMatch(/pass --yes/);
    expect(await readConfig(cli, key)).toBeNull();
    const written = await policy(['apply', '-', '--yes', '--json'], { stdin });
    expect(JSON.parse(written.stdout)).toMatchObject([{ key, revision: 1, value: { mode: 'enforce' } }]);
    expect(JSON.parse((await policy(['apply', '-', '--yes', '--json'], { stdin })).stdout)).toEqual([
      { key, unchanged: true, revision: 1 },
    ]);
  });

  it('a concurrent write of one of three before the confirmation - none is changed, and that write stays', async () => {
    const names = ['race-a', 'race-b', 'race-c'];
    const key = (name: string) => `runtime.cluster._.${name}`;
    const cli = await world.as('cli');
    const old = file('race-a.yaml', text('race-a', shell));
    await policy(['apply', old, '--yes']);
    const three = file('race.yaml', ...names.map((name) => text(name, mount)));
    const other = { mode: 'audit', rules: [{ name: 'theirs', action: 'block', drift: {} }] };
    const raced = await policy(['apply', three, '--reason', 'three'], {
      answers: ['y'],
      onAsk: () => writeConfig(cli, key('race-b'), other, { by: 'x', why: 'y' }).then(() => undefined),
    });
    expect([raced.exitCode, raced.stdout]).toEqual([6, '']);
    const now = async (name: string) => JSON.parse((await readConfig(cli, key(name)))?.json ?? 'null') as unknown;
    expect(await now('race-a')).toMatchObject({ rules: [{ execute: { paths: ['/bin/sh'] } }], revision: 3 });
    expect(await now('race-b')).toMatchObject(other);
    expect(await now('race-c')).toBeNull();
    const log = await configHistory(await world.as('admin'), key('race-a'));
    expect(log.map(({ why }) => why)).toEqual(['bailiff policy apply', 'three', 'undone: three']);
    const again = await policy(['apply', three, '--yes']);
    expect([again.exitCode, await now('race-b')]).toEqual([0, expect.objectContaining({ mode: 'enforce' })]);
  });

  it('concurrent writes of one policy - each is written whole or refused, and none is lost', async () => {
    const key = 'runtime.cluster._.busy';
    const writers = Array.from({ length: 8 }, (_, index) => `/bin/w${index}`);
    const ended = await Promise.all(
      writers.map((program) =>
        policy(['apply', '-', '--yes'], { stdin: text('busy', shell.replace('/bin/sh', program)) }),
      ),
    );
    const log = await configHistory(await world.as('admin'), key);
    const written = log.map(({ json: stored }) => /\/bin\/w\d/.exec(stored)?.[0] as string);
    const succeeded = writers.filter((_, index) => ended[index]?.exitCode === 0);
    expect([...written].sort()).toEqual(succeeded);
    expect(log.map(({ revision }) => revision)).toEqual(written.map((_, index) => index + 1));
    for (const { exitCode, stdout } of ended)
      expect([[0, 6], stdout === '']).toEqual([expect.arrayContaining([exitCode]), exitCode === 6]);
  });

  it('more rules on one path of one pod than the kernel holds - refused, with the conflicting fields', async () => {
    const pod = { ...POD, labels: { app: 'crowded' } };
    await world.put('bailiff_pods', encodeToken(NODE_A), { nodeName: NODE_A, revision: 1, pods: [pod] });
    const selector = (app: string) => `  selector: { podLabels: { matchLabels: { app: ${app} } } }\n`;
    const many = (app: string) =>
      Array.from({ length: 40 }, (_, index) => text(`crowd-${index}`, shell, selector(app)));
    const crowded = await policy(['apply', file('crowd.yaml', ...many('crowded')), '--yes']);
    expect([crowded.exitCode, crowded.stderr]).toEqual([6, expect.stringMatching(/rules meet at .*\/bin\/sh/)]);
    expect(crowded.stderr).toMatch(/runtime\.cluster\._\.crowd-0 +rules\.0\.execute\.paths\.0/);
    expect(await readConfig(await world.as('cli'), 'runtime.cluster._.crowd-0')).toBeNull();
    const elsewhere = await policy(['apply', file('crowd.yaml', ...many('nowhere')), '--dry-run']);
    expect(elsewhere.exitCode).toBe(0);
  });
});

describe('cli policy list, show, history, rollback, delete', () => {
  it('list - policies and where they apply; a policy that all readers refuse is marked', async () => {
    await world.put('bailiff_config', 'runtime.cluster._.broken', '{"mode":"maybe"}');
    const { stdout, stderr } = await policy(['list']);
    expect(stdout).toMatch(/^POLICY +MODE +SEVERITY +RULES +SELECTS +REVISION/);
    expect(stdout).toMatch(/no-shell +enforce +medium +1 +all +2 /);
    expect(stdout).toMatch(/shop\/no-mounts +enforce +medium +1 +shop +1 /);
    expect(stdout).toMatch(/broken +REFUSED/);
    expect(stderr).toMatch(/broken is refused by readers of this version: mode: /);
    expect(await json(['list', '-n', 'shop'])).toMatchObject([
      { key: 'runtime.namespace.shop.no-mounts', revision: 1 },
    ]);
  });

  it('show - prints YAML that applies again without a change, and is refused after a concurrent write', async () => {
    const { stdout, stderr } = await policy(['show', 'no-shell']);
    expect(stderr).toMatch(/^revision 2, .* by tester@host: bailiff policy apply\n$/);
    expect(stdout).toMatch(/^apiVersion: bailiff\.dev\/v1alpha1\nkind: RuntimePolicy\n[\s\S]*revision: 2\n/);
    expect((await policy(['apply', '-', '--yes'], { stdin: stdout })).stderr).toMatch(/nothing to change/);
    const edited = stdout.replace('/bin/bash', '/bin/zsh');
    expect((await policy(['apply', '-', '--yes'], { stdin: edited })).stdout).toBe(`${SHELL}: revision 3\n`);
    const late = await policy(['apply', '-', '--yes'], { stdin: stdout.replace('/bin/bash', '/bin/ksh') });
    expect([late.exitCode, late.stderr]).toEqual([6, expect.stringMatching(/revision 2 is older than the stored 3/)]);
    expect((await policy(['show', 'no-shell', '--revision', '1'])).stdout).toContain('/bin/sh');
    const none = await policy(['show', 'no-mounts']);
    expect([none.exitCode, none.stderr]).toEqual([2, expect.stringMatching(/did you mean shop\/no-mounts/)]);
    expect((await policy(['show', 'shop/no-mounts'])).stdout).toMatch(/namespace: shop/);
  });

  it('rollback and delete - each with author and reason; of several names all or none are deleted', async () => {
    const back = await policy(['rollback', 'no-shell', '1', '--reason', 'zsh is needed', '--yes']);
    expect(back).toMatchObject({ exitCode: 0, stdout: `${SHELL}: revision 4\n` });
    expect((await policy(['show', 'no-shell'])).stdout).toContain('/bin/sh\n');
    const some = await policy(['delete', 'no-shell', 'not-there', '--yes']);
    expect([some.exitCode, some.stderr]).toEqual([
      2,
      expect.stringMatching(/not-there not found; nothing was deleted/),
    ]);
    const dry = ['delete', 'no-shell', 'shop/no-mounts', '--dry-run'];
    const short = await policy(dry);
    expect(short.stderr).toMatch(
      /no-shell: deletes revision 4 by \S+; it is no longer in force\n {2}enforce, 1 rule; no node has reported yet \(--full shows all\)\n/,
    );
    expect(short.stderr).not.toMatch(/^- /m);
    expect((await policy([...dry, '--full'])).stderr).toMatch(/^- .*rules:/m);
    const gone = await policy(['delete', 'no-shell', 'shop/no-mounts', '--reason', 'done', '--yes']);
    expect(gone.stdout).toBe(`${SHELL}: deleted\nruntime.namespace.shop.no-mounts: deleted\n`);
    const history = await policy(['history', 'no-shell']);
    expect(history.stdout).toMatch(/4 .*rollback to revision 1: zsh is needed/);
    expect(history.stdout).toMatch(/- .*deleted +cli +tester@host +done/);
    const again = await policy(['rollback', 'no-shell', '--yes']);
    expect([again.exitCode, again.stdout]).toEqual([0, `${SHELL}: revision 5\n`]);
  });
});

const runtimeOf = (revision: number, part: Partial<RuntimeStatus> = {}) =>
  sampleRuntimeStatus({
    policies: [{ key: SHELL, revision, state: 'in-force', reason: '', subjects: 2 }],
    subjects: 2,
    sets: 1,
    ...part,
  });

describe('cli policy explain', () => {
  it('pod - every policy in force, postures, rules with their policies, conflicts; by container', async () => {
    await using own = await World.start();
    await own.put('bailiff_pods', encodeToken(NODE_A), { nodeName: NODE_A, revision: 1, pods: [POD] });
    const posture = '  selector: { containers: [app] }\n  defaultPosture: { execute: block }\n';
    const files = [
      text('no-shell', shell),
      text('web', shell.replace('/bin/sh', '/bin/sh, /app'), posture, 'shop').replace('block\n ', 'allow\n '),
      text('other', mount, '', 'elsewhere'),
    ].join('---\n');
    expect((await own.cli(['policy', 'apply', '-', '--yes'], { stdin: files })).exitCode).toBe(0);
    const { stdout } = await own.cli(['policy', 'explain', 'shop/web-0']);
    expect(stdout).toMatch(/^shop\/web-0 on node-a\n {2}labels app=web\n/);
    expect(stdout).toMatch(
      /no-shell +enforce[\s\S]*shop\/web +enforce[\s\S]*1 other not for this pod, or disabled\n {2}! not in force on node-a: no/,
    );
    expect(stdout).toMatch(/no-shell +enforce +\S+ +1 +not in force/);
    expect(stdout).toMatch(/IN app\n[\s\S]*execute +is blocked +web\n[\s\S]*allow +web\/r +run,map \/bin\/sh, \/app/);
    expect(stdout).toMatch(
      /CONFLICTS\n {2}! execute of \/bin\/sh is blocked: rule no-shell\/r denies it, although web\/r/,
    );
    expect(stdout).toMatch(/IN side, containers of unknown name\n/);
    const asked = ['policy', 'explain', 'web-0', '--operation', 'execute', '--path'];
    const denied = await own.cli([...asked, '/usr/bin/id']);
    expect(denied.stdout).toMatch(
      /^app: execute of \/usr\/bin\/id would be blocked: no rule allows it and web\/execute-posture.*; not in force on node-a: no collector/,
    );
    expect(denied.stdout).toMatch(/\nside, .* passes/);
    const { stdout: asJson } = await own.cli([...asked, '/app', '--json']);
    expect(JSON.parse(asJson)).toMatchObject({
      pod: { name: 'web-0', nodeName: NODE_A },
      sets: [{ containers: ['app'], conflicts: [{ decidedBy: 'no-shell/r' }] }, { containers: ['side', null] }],
      decisions: [
        { outcome: 'pass', by: 'allow' },
        { outcome: 'pass', by: 'nothing' },
      ],
    });
    // The status of its node reports on the pod as well as on the whole node.
    const there = (part: Partial<RuntimeStatus>) => own.status(healthyStatus(NODE_A, { runtime: runtimeOf(1, part) }));
    await there({ refusedSubjects: [] });
    const held = (await own.cli(['policy', 'explain', 'shop/web-0'])).stdout;
    expect(held).toMatch(/no-shell +enforce +\S+ +1 +in force/);
    expect(held).toMatch(
      /shop\/web +enforce +\S+ +1 +not yet[\s\S]*! shop\/web: not yet here: node-a: not applied yet/,
    );
    await there({ refusedSubjects: [{ podUid: POD.uid, container: 'app', reason: 'no room' }] });
    const refused = (await own.cli(['policy', 'explain', 'shop/web-0'])).stdout;
    expect(refused).toMatch(/no-shell +enforce +\S+ +1 +refused[\s\S]*! refused here: container app: "no room"/);
    const absent = await own.cli(['policy', 'explain', 'shop/absent']);
    expect([absent.exitCode, absent.stderr]).toEqual([2, expect.stringMatching(/no pod "shop\/absent" exists/)]);
  });
});

describe('cli policy status', () => {
  it('in force on n of m nodes - with each reason once; in status and doctor too; --wait until it is', async () => {
    await using own = await World.start();
    await own.status(healthyStatus(NODE_A, { runtime: runtimeOf(1) }));
    const unable = {
      state: 'unavailable' as const,
      reason: 'loading is refused: EPERM',
      remedy: 'boot with lsm=…,bpf',
    };
    await own.status(healthyStatus(NODE_B, { runtime: runtimeOf(0, { ...unable, policies: [] }) }));
    await own.cli(['policy', 'apply', '-', '--yes'], { stdin: text('no-shell', shell) });
    const seen = await own.cli(['policy', 'status']);
    expect(seen.exitCode).toBe(3);
    expect(seen.stdout).toMatch(/no-shell +enforce +1 +on 1 of 2 nodes +2\n/);
    expect(seen.stdout).toMatch(
      /✗ node-b\.example: LSM unavailable: "loading is refused: EPERM"\n {2}→ the node proposes: "boot with lsm=…,bpf"\n/,
    );
    const asked = await own.cli(['policy', 'delete', 'no-shell'], { terminal: 100, answers: ['n'] });
    expect([asked.exitCode, asked.stderr]).toEqual([
      2,
      expect.stringMatching(
        /enforce, 1 rule; in force on 1 of 2 nodes, for 2 pods and containers \(--full shows all\)\nDelete it\? \[y\/N\]/,
      ),
    ]);
    const one = await own.cli(['policy', 'status', 'no-shell']);
    expect(one.stdout).toMatch(/node-a +in-force +1 +2[\s\S]*node-b\.example +unavailable +- +0 +LSM unavailable/);
    const status = await own.cli(['status']);
    expect(status.stdout).toMatch(
      /! node-b\.example: runtime policies are not in force: LSM unavailable: .*; what is denied by no-shell may pass/,
    );
    expect((await own.cli(['status', '--node', NODE_A])).stdout).toMatch(
      /Runtime policies\n {2}1 in force, for 2 pods and containers/,
    );
    const doctor = await own.cli(['doctor', '--only', 'bus']);
    expect(doctor.stdout).toMatch(/✓ runtime policies: LSM available on 1 node\n/);
    expect(doctor.stdout).toMatch(
      /! runtime policies: node-b\.example: runtime policies are not in force: LSM unavailable: "loading is refused: EPERM"; what is denied by no-shell may pass uncounted\n/,
    );
    await own.status(healthyStatus(NODE_B, { runtime: runtimeOf(1) }));
    await own.cli(['policy', 'apply', '-', '--yes'], { stdin: text('no-shell', shell.replace('/bin/sh', '/bin/ash')) });
    const behind = await own.cli(['policy', 'status', '--json']);
    expect([behind.exitCode, JSON.parse(behind.stdout)]).toMatchObject([
      7,
      { ok: false, policies: [{ inForce: 0, places: [{ state: 'pending' }, { state: 'pending', revision: 1 }] }] },
    ]);
    const waiting = own.cli(['policy', 'status', '--wait', '20s']);
    await own.status(healthyStatus(NODE_A, { runtime: runtimeOf(2) }));
    await own.status(healthyStatus(NODE_B, { runtime: runtimeOf(2) }));
    expect(await waiting).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/on 2 of 2 nodes +4\n$/) });
  });
});
