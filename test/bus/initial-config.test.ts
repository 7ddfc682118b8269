// Initial policies and rules of the chart: the files of its ConfigMap, in a volume as the kubelet
// lays it out, stored by `bus setup --initial-config` unless a key was ever stored.

import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { deleteConfig, readConfig, writeConfig } from '@bailiff/bus';
import { startNats } from '@bailiff/bus/testing';
import { temporaryDirectory } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { helmProgram, NO_HELM, template } from '../../tools/helm.ts';
import { documentsOf, type Json } from '../k8s/rendered.ts';

const program = helmProgram();
const NO_SHELL = 'runtime.cluster._.no-shell';
const GUARD = 'runtime.cluster._.escape-guard';
/** Some have a selector, some have none. */
const READY_MADE = readdirSync('policies').map((file) => path.basename(file, '.yaml'));
const RULE = 'correlation.cluster._.mine';
const RULE_VALUES = ['type=event_count', 'group-by=pod', 'timespan=1m', 'condition.gte=3', 'level=low'];

/** Folders and files are links into a hidden folder, as in every volume of a ConfigMap. */
function mountVolume(directory: string, objects: readonly Json[]): void {
  const { data } = objects.find(({ metadata }) => metadata.name === 'bailiff-initial-config');
  const job = objects.find(({ kind, metadata }) => kind === 'Job' && metadata.name.startsWith('bailiff-bus-setup'));
  const { items } = job.spec.template.spec.volumes.find(({ name }: Json) => name === 'initial').configMap;
  const hidden = path.join(directory, '..2026_01_01');
  for (const item of items) {
    mkdirSync(path.dirname(path.join(hidden, item.path)), { recursive: true });
    writeFileSync(path.join(hidden, item.path), data[item.key]);
  }
  symlinkSync('..2026_01_01', path.join(directory, '..data'));
  for (const first of new Set<string>(items.map((item: Json) => item.path.split('/')[0])))
    symlinkSync(path.join('..data', first), path.join(directory, first));
}

test('initial configuration - is stored once, in audit, and an upgrade undoes no decision', async (context) => {
  if (program === null) return context.skip(NO_HELM);
  await using nats = await startNats();
  const directory = temporaryDirectory();
  const password = path.join(directory, 'password');
  writeFileSync(password, 'password-of-admin\n');
  const setup = (volume: string) =>
    runCli([
      ...['bus', 'setup', '--nats-url', nats.url, '--nats-user', 'admin', '--nats-password-file', password],
      ...['--initial-config', volume],
    ]);
  const volumeOf = (name: string, ...set: string[]) => {
    const volume = path.join(directory, name);
    mkdirSync(volume);
    mountVolume(volume, documentsOf(template(program, { set, namespace: 'security' })));
    return volume;
  };
  const rule = RULE_VALUES.map((value) => `initialConfig.correlation/mine.${value}`);
  const first = await setup(volumeOf('first', 'initialPolicies={no-shell}', ...rule));
  expect([first.exitCode, first.stderr, first.stdout]).toEqual([
    0,
    '',
    expect.stringMatching(/correlation\.cluster\._\.mine: stored\nruntime\.cluster\._\.no-shell: stored/),
  ]);
  const admin = await nats.connect('admin');
  const storedValue = async (key: string) => JSON.parse((await readConfig(admin, key))?.json ?? 'null') as Json;
  const policy = await storedValue(NO_SHELL);
  // The ready-made file says enforce, and excludes bailiff-system alone.
  expect([policy.mode, policy.selector.excludeNamespaces]).toEqual([
    'audit',
    ['kube-system', 'bailiff-system', 'security'],
  ]);
  expect((await readConfig(admin, NO_SHELL))?.released).toBe(true);

  const { revision: _renewed, ...rest } = policy;
  const note = { by: 'anna', why: 'promoted' };
  await writeConfig(admin, NO_SHELL, { ...rest, mode: 'enforce' }, note);
  await deleteConfig(admin, RULE, note);
  const upgrade = await setup(volumeOf('second', `initialPolicies={${READY_MADE}}`, ...rule));
  expect([upgrade.exitCode, upgrade.stdout]).toEqual([
    0,
    expect.stringContaining('2 initial keys exist or existed, and stay as they are'),
  ]);
  expect((await storedValue(NO_SHELL)).mode).toBe('enforce');
  expect((await readConfig(admin, RULE))?.deleted ?? true).toBe(true);
  // A key that the upgrade brings is added.
  expect((await storedValue(GUARD)).mode).toBe('audit');
  for (const name of READY_MADE) {
    const { selector } = await storedValue(`runtime.cluster._.${name}`);
    expect([name, selector.excludeNamespaces]).toEqual([name, expect.arrayContaining(['security'])]);
  }

  const refused = await setup(volumeOf('third', 'initialConfig.correlation/mine.type=none'));
  expect([refused.exitCode, refused.stderr]).toEqual([6, expect.stringContaining('correlation/mine.yaml:1: type')]);
});
