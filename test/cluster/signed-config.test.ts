/**
 * Signed configuration on a real bus: what an administrator of the bus can change. Each attack has a control, the same
 * reader without signers, which obeys. The administrator has every right on NATS and all former signed messages.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Bus, type KvEntry, openBucket, readConfig, type StoredConfig, signedConfigBy } from '@bailiff/bus';
import type { TestNats } from '@bailiff/bus/testing';
import { podRef } from '@bailiff/correlation/testing';
import {
  NO_SIGNERS,
  parseConfigKey,
  RESOURCE_PLURALS,
  type ResourceKind,
  SIGNATURE_HEADER,
  SignedConfig,
} from '@bailiff/policy';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { writeAll } from '../../apps/cli/src/shared/config/change.ts';
import { readSigner } from '../../apps/cli/src/shared/key-file.ts';
import type { Session } from '../../apps/cli/src/shared/session.ts';
import { captureCli, runCli } from '../../apps/cli/src/testing.ts';
import { ConfigReceiver } from '../../apps/collector/src/desired/config-receiver.ts';
import { DesiredState } from '../../apps/collector/src/desired/desired-state.ts';
import { DocumentCache } from '../../apps/collector/src/desired/document-cache.ts';
import { startBus } from '../support/bus.ts';
import { logged } from '../support/config-log.ts';
import { CorrelatorRig, NODE_A } from './correlator-rig.ts';
import { launch, startWorld } from './ipam-sync/harness.ts';
import { Rig } from './responder/rig.ts';

const CRDS = path.resolve(import.meta.dirname, '../../k8s/crds');
const SPOOF = 'spoof.cluster._.default';
const SHELL = 'runtime.cluster._.no-shell';

let directory: string;
let keyFile: string;
let signers: string;
beforeAll(async () => {
  directory = temporaryDirectory();
  keyFile = path.join(directory, 'anna@prod.key');
  signers = path.join(directory, 'signers');
  const { privateKey } = generateKeyPairSync('ed25519');
  writeFileSync(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const line = await runCli(['config', 'signer', keyFile]);
  expect(line).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^anna@prod\+[0-9a-f]{8}\+\S+\n$/) });
  writeFileSync(signers, line.stdout);
});

/** The command line of an operator on a bus. */
function operator(nats: TestNats) {
  const password = path.join(mkdtempSync(path.join(directory, 'cli-')), 'password');
  writeFileSync(password, nats.options('cli').password ?? '', { mode: 0o600 });
  const bus = ['--nats-url', nats.url, '--nats-password-file', password];
  return async (...args: string[]) => {
    const done = await runCli([...args, ...bus]);
    expect(done, done.stderr).toMatchObject({ exitCode: 0 });
    return done.stdout;
  };
}

/** What an administrator of the bus writes: any value under any key, also with a copied signature. */
function administrator(admin: Bus) {
  const bucket = openBucket(admin, 'bailiff_config');
  const headersOf = (signature: string) => (signature === '' ? {} : { headers: { [SIGNATURE_HEADER]: signature } });
  return {
    put: (key: string, json: string, signature = '') => bucket.put(key, json, headersOf(signature)),
    remove: (key: string) => bucket.delete(key, {}),
    /** The newest message of a key, as it can be stored again. */
    stored: async (key: string) => {
      const entry = (await bucket.newest(key)) as KvEntry;
      return { json: entry.value.toString('utf8'), signature: entry.header(SIGNATURE_HEADER) };
    },
  };
}

describe('collector', () => {
  /** The part of a collector that decides what it enforces, on a node of its own state directory. */
  async function collector(nats: TestNats, stateDir: string, file: string) {
    mkdirSync(stateDir, { recursive: true });
    const desired = new DesiredState('node-a');
    const policies = new Map<string, string>();
    const received: string[] = [];
    const documents = new DocumentCache(stateDir, { onProblem: (_, reason) => received.push(reason) });
    const receiver = new ConfigReceiver({
      desired,
      documents,
      signed: file === '' ? new SignedConfig(NO_SIGNERS) : signedConfigBy(file),
      runtime: {
        restore: ({ key, json }) => policies.set(key, json),
        // As the engine of operations does with accepted policies.
        receive: ({ json, ...rest }) => {
          if (json === null) policies.delete(rest.key);
          else policies.set(rest.key, json);
          if (json === null) documents.remove(rest);
          else documents.save({ ...rest, json });
        },
        policyKeys: () => [...policies.keys()],
        synced: () => received.push('synced'),
      },
      latency: { documentApplied: () => {} },
      bindings: () => [],
      nowMicros: () => 0,
      engines: [],
      onRefused: ({ key }, reason) => received.push(`${key}: ${reason}`),
      problems: { report: () => {}, attempt: (_part, action) => action() },
    });
    receiver.restore();
    const bus = await nats.connect('collector-node-a');
    const following = receiver.follow({ reads: bus, pushes: bus });
    const until = (isSo: () => boolean) =>
      waitFor(isSo, { what: 'the collector', state: () => ({ received, refused: [...desired.configRefused] }) });
    await until(() => received.includes('synced'));
    return {
      desired,
      policies,
      until,
      tunnel: () => desired.modesOf(null, 'shop').tunnel,
      refused: (key: string) => desired.configRefused.get(key) ?? '',
      [Symbol.dispose]: () => following.close(),
    };
  }

  it('an administrator of the bus weakens nothing, before and after a restart; control: obeyed without signers', async () => {
    await using nats = await startBus();
    const run = operator(nats);
    const admin = administrator(await nats.connect('admin'));
    const sign = ['--sign', keyFile, '--yes'];
    const policy = path.join(directory, 'no-shell.json');
    const rules = [{ name: 'shell', action: 'block', execute: { paths: ['/bin/sh'] } }];
    writeFileSync(policy, JSON.stringify({ mode: 'enforce', rules }));
    await run('config', 'set', SPOOF, 'modes.tunnel=audit', ...sign);
    const old = await admin.stored(SPOOF);
    await run('config', 'set', SPOOF, 'modes.tunnel=enforce', ...sign);
    await run('config', 'set', SHELL, '-f', policy, ...sign);

    const state = path.join(directory, 'node');
    {
      using guarded = await collector(nats, state, signers);
      using control = await collector(nats, path.join(directory, 'control'), '');
      // The built-in value enforces too: wait until the signed one is known.
      for (const one of [guarded, control])
        await one.until(() => one.desired.configKeys('spoof').length === 1 && one.policies.has(SHELL));
      expect([guarded.tunnel(), control.tunnel()]).toEqual(['enforce', 'enforce']);

      await admin.put(SPOOF, '{"modes":{"tunnel":"off"}}');
      await admin.remove(SHELL);
      await control.until(() => control.tunnel() === 'off' && !control.policies.has(SHELL));
      await guarded.until(() => guarded.refused(SPOOF) !== '' && guarded.refused(SHELL) !== '');
      expect([guarded.refused(SPOOF), guarded.refused(SHELL)]).toEqual([
        'the value is not signed',
        'the deletion is not signed',
      ]);
      await admin.put(SPOOF, old.json, old.signature);
      await control.until(() => control.tunnel() === 'audit');
      await guarded.until(() => guarded.refused(SPOOF).startsWith('an old value'));
      await admin.put(SPOOF, '{"modes":{"tunnel":"off"}}', old.signature);
      await control.until(() => control.tunnel() === 'off');
      await guarded.until(() => guarded.refused(SPOOF) !== '');
      expect([guarded.tunnel(), guarded.policies.has(SHELL)]).toEqual(['enforce', true]);
    }
    {
      using again = await collector(nats, state, signers);
      await again.until(() => again.refused(SPOOF) !== '' && again.refused(SHELL) !== '');
      expect([again.tunnel(), again.policies.has(SHELL)]).toEqual(['enforce', true]);
      // Signed changes and deletions pass, also over what the administrator left.
      const vpn = path.join(directory, 'vpn.json');
      writeFileSync(vpn, '{"modes":{"tunnel":"audit"}}');
      await run('config', 'set', SPOOF, '-f', vpn, '--reason', 'a VPN', ...sign);
      await run('config', 'delete', SHELL, ...sign);
      await again.until(() => again.tunnel() === 'audit' && !again.policies.has(SHELL));
      expect([again.refused(SPOOF), again.refused(SHELL)]).toEqual(['', '']);
    }
    expect(await run('config', 'history', SPOOF)).toMatch(/ anna@prod +\S+ +a VPN/);
    const listed = await run('config', 'list', '--json', '--config-signers', signers);
    expect(JSON.parse(listed).filter(({ refused }: { refused: string }) => refused !== '')).toEqual([]);
  });
});

describe('command line', () => {
  it('signs no field that an administrator of the bus wrote without showing it; control: without --sign it is kept', async () => {
    await using nats = await startBus();
    const run = operator(nats);
    const bus = await nats.connect('admin');
    const admin = administrator(bus);
    const flags = ['--nats-url', nats.url, ...passwordOf(nats)];
    const sign = ['--sign', keyFile];
    const attacked = '{"revision":7,"modes":{"tunnel":"off"}}';
    const audited = JSON.stringify({
      mode: 'audit',
      rules: [{ name: 'none', action: 'block', execute: { paths: ['/x'] } }],
    });
    const refused = async (...args: string[]) => {
      const { exitCode, stderr } = await runCli([...args, ...sign, '--yes', ...flags]);
      expect([exitCode, stderr]).toEqual([2, expect.stringContaining('has no signature of anna@prod')]);
    };
    const signedValue = async (key: string) => {
      const { json, signature } = await admin.stored(key);
      return signedConfigBy(signers).problemOf({ key, json, signature }) === '' ? JSON.parse(json) : null;
    };
    await run('config', 'set', SPOOF, 'modes.tunnel=enforce', ...sign, '--yes');
    await run('config', 'set', SPOOF, 'modes.redirect=audit', ...sign, '--yes');
    expect(await signedValue(SPOOF)).toMatchObject({ modes: { tunnel: 'enforce', redirect: 'audit' } });

    await admin.put(SPOOF, attacked);
    await admin.put(SHELL, audited);
    await refused('config', 'set', SPOOF, 'modes.redirect=enforce');
    await refused('config', 'release', SPOOF);
    await refused('policy', 'promote', 'no-shell', '--since', '1h');
    expect([await signedValue(SPOOF), await signedValue(SHELL)]).toEqual([null, null]);
    // The control, which no reader with signers accepts.
    await run('config', 'set', SPOOF, 'modes.redirect=enforce', '--yes');
    expect(JSON.parse((await admin.stored(SPOOF)).json)).toMatchObject({
      modes: { tunnel: 'off', redirect: 'enforce' },
    });
    // A person sees the whole value.
    const args = ['config', 'set', SPOOF, 'modes.redirect=audit', ...sign, ...flags];
    const asked = await runCli(args, { answers: ['n'] });
    expect(asked.stderr).toMatch(/anna@prod has not signed the stored value[^?]*\+ *"?tunnel"?: "?off/);
    // With the author's own value, and a rollback to one of it, no question is open.
    const file = path.join(directory, 'own.json');
    writeFileSync(file, '{"modes":{"tunnel":"enforce"}}');
    await run('config', 'set', SPOOF, '-f', file, ...sign, '--yes');
    await run('config', 'set', SPOOF, 'modes.redirect=audit', ...sign, '--yes');
    await run('config', 'rollback', SPOOF, ...sign, '--yes');
    expect(await signedValue(SPOOF)).toMatchObject({ modes: { tunnel: 'enforce' } });
    await refused('config', 'rollback', SPOOF, '--to', '7');
  });

  it('status and doctor with signers show what no reader reports; control: without them they believe the reports', async () => {
    await using nats = await startBus();
    const run = operator(nats);
    const admin = administrator(await nats.connect('admin'));
    const shown = async (file: string, command: readonly string[]) => {
      const flags = file === '' ? [] : ['--config-signers', file];
      const { stdout } = await runCli([...command, ...flags, '--nats-url', nats.url, ...passwordOf(nats)]);
      return /signers: do not allow what the bus has of (\S+): (.*)/.exec(stdout)?.slice(1, 3) ?? [];
    };
    const commands = [['status'], ['doctor', '--only', 'bus']];
    const shownBy = (file: string) => Promise.all(commands.map((command) => shown(file, command)));
    const twice = (...problem: string[]) => commands.map(() => problem);
    const named = path.join(directory, 'named');
    writeFileSync(named, `${readFileSync(signers, 'utf8')}since 2026-01-01T00:00:00.000Z ${SHELL}\n`);
    await run('config', 'set', SPOOF, 'modes.tunnel=enforce', '--sign', keyFile, '--yes');
    expect(await shownBy(signers)).toEqual(twice());
    expect(await shownBy(named)).toEqual(twice(SHELL, expect.stringContaining('the bus has no value or deletion')));

    await admin.put(SPOOF, '{"modes":{"tunnel":"off"}}');
    expect(await shownBy(signers)).toEqual(twice(SPOOF, 'the value is not signed'));
    expect(await shownBy('')).toEqual(twice());
    await run('config', 'delete', SPOOF, '--sign', keyFile, '--yes');
    expect(await shownBy(signers)).toEqual(twice());
    const missing = await runCli(['status', '--config-signers', path.join(directory, 'none'), '--nats-url', nats.url]);
    expect([missing.exitCode, missing.stderr]).toEqual([6, expect.stringContaining('cannot use the signers')]);
  });

  it('a batch that is undone restores no value that the signer did not sign; control: unsigned, it does', async () => {
    await using nats = await startBus();
    const bus = await nats.connect('cli');
    const admin = administrator(await nats.connect('admin'));
    const signer = readSigner(keyFile);
    const { io } = captureCli();
    const session = { bus, io } as Session;
    const [first, second] = [parseConfigKey(SPOOF), parseConfigKey('spoof.namespace.shop.default')];
    for (const sign of [undefined, signer]) {
      await admin.put(SPOOF, '{"modes":{"tunnel":"off"}}');
      const stored = await readConfig(bus, first);
      const next = { modes: { tunnel: 'enforce' } };
      // The second key was changed since it was read.
      const lost = { key: second, stored: { ...(stored as StoredConfig), bucketRevision: 99 }, next, because: '' };
      const changes = [{ key: first, stored, next, because: '' }, lost];
      await expect(writeAll(session, changes, sign ? { sign } : {})).rejects.toThrow(
        sign ? /stays as written/ : /is stored, 99 was expected/,
      );
      const { json, signature } = await admin.stored(SPOOF);
      expect(JSON.parse(json)).toMatchObject({ modes: { tunnel: sign ? 'enforce' : 'off' } });
      expect(signedConfigBy(signers).problemOf({ key: SPOOF, json, signature }) === '').toBe(sign !== undefined);
    }
  });
});

describe('correlator', () => {
  it('unsigned, replayed and deleted rules are refused, and status says so; control: obeyed without signers', async () => {
    for (const isGuarded of [false, true]) {
      await using rig = await CorrelatorRig.start();
      const [first, second] = [podRef('first'), podRef('second')];
      await rig.list(NODE_A, [first, second]);
      const run = operator(rig.nats);
      const admin = administrator(rig.admin);
      const key = 'correlation.cluster._.mine';
      const file = path.join(directory, 'rule.json');
      const rule = (gte: number) =>
        JSON.stringify({ type: 'event_count', level: 'low', timespan: '60s', condition: { gte } });
      writeFileSync(file, rule(900));
      await run('config', 'set', key, '-f', file, '--sign', keyFile, '--yes');
      const old = await admin.stored(key);
      writeFileSync(file, rule(3));
      await run('config', 'set', key, '-f', file, '--sign', keyFile, '--yes');
      const flags = isGuarded ? ['--config-signers', signers] : [];
      const correlator = await rig.correlator({ flags });
      await admin.put(key, rule(800));
      await admin.put(key, old.json, old.signature);
      await logged(rig.admin, { key, ...old });
      await rig.settle();
      await rig.spoof(NODE_A, first, 3);
      const mine = () => rig.verdicts.filter((one) => one.rule === 'mine').map(({ groupKey }) => groupKey);
      if (isGuarded) await waitFor(() => mine().length === 1, { what: 'a verdict', state: mine });
      expect(await correlator.stop()).toBe(0);
      await admin.remove(key);
      await logged(rig.admin, { key, json: '' });
      const restarted = await rig.correlator({ flags });
      await rig.settle();
      await rig.spoof(NODE_A, second, 3);
      if (isGuarded) {
        await waitFor(() => mine().length === 2, { what: 'a verdict after the restart', state: mine });
        await waitFor(async () => {
          const { stdout } = await runCli(['status', '--nats-url', rig.nats.url, ...passwordOf(rig.nats)]);
          return /correlator: refuses correlation\.cluster\._\.mine, .*the deletion is not signed/.test(stdout);
        });
      }
      expect(await restarted.stop()).toBe(0);
      expect(mine()).toEqual(isGuarded ? [first.uid, second.uid] : []);
    }
  }, 120_000);
});

function passwordOf(nats: TestNats): string[] {
  const file = path.join(mkdtempSync(path.join(directory, 'cli-')), 'password');
  writeFileSync(file, nats.options('cli').password ?? '', { mode: 0o600 });
  return ['--nats-password-file', file];
}

describe('responder', () => {
  it('an unsigned policy and disarm are refused, also after a restart; control: obeyed without signers', async () => {
    for (const configSigners of ['', signers]) {
      await using rig = await Rig.start();
      const run = operator(rig.nats);
      const admin = administrator(rig.bus);
      const key = 'response.cluster._.mine';
      const policy = (action: string) =>
        JSON.stringify({ dryRun: false, match: { rules: ['mine'] }, steps: [{ action }] });
      const file = path.join(directory, 'policy.json');
      writeFileSync(file, policy('label'));
      await run('config', 'set', key, '-f', file, '--sign', keyFile, '--yes');
      const attack = policy('observe');
      for (const round of ['running', 'restarted']) {
        const responder = await rig.start({ configSigners });
        const until = new Date(Date.now() + 3_600_000).toISOString();
        const disarm = JSON.stringify({ until, duration: '1h', reason: round });
        await admin.put(key, attack);
        await logged(rig.bus, { key, json: attack });
        if (configSigners !== '') await admin.put('disarm.cluster._.all', disarm);
        await rig.settle();
        const action = configSigners === '' ? 'observe' : 'label';
        const verdict = await rig.verdict(rig.pod(), { rule: 'mine' });
        await rig.until(verdict, action, 'succeeded');
        expect(rig.of(verdict, action === 'label' ? 'observe' : 'label')).toEqual([]);
        expect(await responder.stop()).toBe(0);
      }
    }
  }, 120_000);
});

describe('ipam-sync', () => {
  it('a resource passes with the annotation of a signer and is refused without; so is an unsigned permit', async () => {
    await using world = await startWorld();
    const { api } = world.kube.server;
    for (const file of readdirSync(CRDS).filter((name) => name !== 'kustomization.yaml'))
      for (const document of parseAllDocuments(readFileSync(path.join(CRDS, file), 'utf8')))
        api.create('customresourcedefinitions.apiextensions.k8s.io', document.toJS());
    const key = 'correlation.cluster._.mine';
    const rule = (gte: number) => `# reviewed
apiVersion: bailiff.dev/v1alpha1
kind: CorrelationRule
metadata: {name: mine}
spec: {type: event_count, level: high, timespan: 60s, condition: {gte: ${gte}}}
`;
    const unsigned = parseAllDocuments(rule(3))[0]?.toJS();
    const { metadata } = api.create('correlationrules.bailiff.dev', unsigned) as { metadata: { name: string } };
    const ref = { name: metadata.name };
    const accepted = () => {
      const one = api.get('correlationrules.bailiff.dev', ref) as {
        status?: { conditions: { type: string; status: string; message: string }[] };
      };
      return one.status?.conditions.find(({ type }) => type === 'Accepted');
    };
    world.running('vpn', 'node-1', ['10.1.0.5'], {
      annotations: { 'bailiff.dev/allowed-source-prefixes': '10.50.0.0/16' },
    });
    const sync = await launch(world, ['--config-signers', signers]);
    const comesTo = (status: string, message: RegExp) =>
      waitFor(() => accepted()?.status === status && message.test(accepted()?.message ?? ''), {
        what: `${status} ${message}`,
        state: accepted,
      });
    await comesTo('False', /metadata\.annotations\[bailiff\.dev\/signature\]: the value is not signed/);
    expect(await openBucket(world.admin, 'bailiff_config').get(key)).toBeNull();

    const file = path.join(directory, 'rule.yaml');
    writeFileSync(file, rule(3));
    const signed = await runCli(['config', 'sign-resource', file, '--sign', keyFile]);
    expect(signed, signed.stderr).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^# reviewed/) });
    const annotations = parseAllDocuments(signed.stdout)[0]?.toJS().metadata.annotations as Record<string, string>;
    const patch = (body: object) =>
      api.patch('correlationrules.bailiff.dev', ref, 'application/merge-patch+json', body);
    patch({ metadata: { annotations } });
    await comesTo('True', /is written at revision 1/);
    // Another value under the same signature: the last accepted one stays.
    patch({ spec: { condition: { gte: 900 } } });
    await comesTo('False', /the signature by anna@prod is not of this key and the value/);
    const stored = await openBucket(world.admin, 'bailiff_config').get(key);
    expect(JSON.parse(stored?.value.toString() ?? '')).toMatchObject({ condition: { gte: 3 } });

    // A reader with these signers accepts the stored value, which has the defaults of the API server.
    const json = stored?.value.toString('utf8') ?? '';
    const signature = stored?.header(SIGNATURE_HEADER) ?? '';
    expect(signedConfigBy(signers).problemOf({ key, json, signature })).toBe('');

    // Without its resource it stays, also for a process that starts now, until a person signs the deletion.
    api.delete('correlationrules.bailiff.dev', ref);
    const status = async () =>
      (await runCli(['status', '--nats-url', world.nats.url, ...passwordOf(world.nats)])).stdout;
    await waitFor(
      async () =>
        /ipam-sync: refuses correlation\.cluster\._\.mine, .*CorrelationRule mine was deleted; sign the deletion/.test(
          await status(),
        ),
      { what: 'the deleted resource in status', state: status },
    );
    expect(await openBucket(world.admin, 'bailiff_config').get(key)).not.toBeNull();
    await operator(world.nats)('config', 'delete', key, '--take-over', '--sign', keyFile, '--yes');
    expect(await openBucket(world.admin, 'bailiff_config').get(key)).toBeNull();
    await waitFor(async () => !/CorrelationRule mine/.test(await status()), { what: 'status', state: status });

    const granted = async () =>
      (await world.snapshot('node-1'))?.pods.find(({ name }) => name === 'vpn')?.allowedPrefixes ?? [];
    const permit = JSON.stringify({ allowedPrefixes: [{ namespace: 'default', prefixes: ['10.50.0.0/16'] }] });
    await administrator(world.admin).put(SPOOF, permit);
    const run = operator(world.nats);
    await waitFor(async () => /ipam-sync: refuses spoof\.cluster\._\.default, .*not signed/.test(await status()));
    expect(await granted()).toEqual([]);
    await run('config', 'sign', SPOOF, '--sign', keyFile, '--yes');
    await waitFor(async () => (await granted()).length === 1, { what: 'the signed permit' });
    // A restart knows the value before an unsigned deletion.
    await administrator(world.admin).remove(SPOOF);
    expect(await sync.stop()).toBe(0);
    const restarted = await launch(world, ['--config-signers', signers]);
    await waitFor(async () =>
      /ipam-sync: refuses spoof\.cluster\._\.default, .*the deletion is not signed/.test(await status()),
    );
    world.running('other', 'node-1', ['10.1.0.6'], {});
    await waitFor(async () => (await world.snapshot('node-1'))?.pods.length === 2, { what: 'the snapshot' });
    expect(await granted()).toEqual(['10.50.0.0/16']);

    // Every ready-made policy and example, with the defaults that the API server adds.
    const folders = ['policies', 'k8s/examples'].map((folder) => path.resolve(import.meta.dirname, '../..', folder));
    const resources = await Promise.all(
      folders.flatMap((folder) =>
        readdirSync(folder)
          .filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml')
          .map((name) => runCli(['config', 'sign-resource', path.join(folder, name), '--sign', keyFile])),
      ),
    );
    const objects = resources.flatMap(({ stdout, exitCode, stderr }) => {
      expect(exitCode, stderr).toBe(0);
      return parseAllDocuments(stdout).flatMap((document) => document.toJS() ?? []);
    });
    expect(objects.length).toBeGreaterThan(9);
    const known = await openBucket(world.admin, 'bailiff_config').keys();
    for (const object of objects) {
      const plural = `${RESOURCE_PLURALS[object.kind as ResourceKind]}.bailiff.dev`;
      const { metadata } = api.create(plural, object) as { metadata: { name: string } };
      const isAccepted = () => {
        const one = api.get(plural, { name: metadata.name }) as { status?: { conditions: unknown[] } };
        return one.status?.conditions;
      };
      await waitFor(() => JSON.stringify(isAccepted() ?? '').includes('"reason":"Written"'), {
        what: `${object.kind} ${metadata.name}`,
        state: isAccepted,
      });
    }
    expect((await openBucket(world.admin, 'bailiff_config').keys()).length).toBeGreaterThan(known.length + 9);
    expect(await restarted.stop()).toBe(0);
  }, 120_000);
});

it('a file of signers that cannot be used - ends the start with exit code 6', async () => {
  await using rig = await CorrelatorRig.start();
  const wrong = path.join(directory, 'wrong');
  writeFileSync(wrong, 'anna\n');
  for (const file of [wrong, path.join(directory, 'absent')]) {
    const correlator = await rig.correlator({ wait: false, flags: ['--config-signers', file] });
    const failed = () => correlator.log().some(({ msg }) => msg === 'failed');
    await waitFor(failed, { what: 'the end of the start', state: correlator.log });
    expect(await correlator.stop()).toBe(6);
  }
});
