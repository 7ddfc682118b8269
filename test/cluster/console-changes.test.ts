// Changes from the console of a cluster: by the visitor's own rights, and recorded under the visitor's name.
// Bus, API server with the definitions, ipam-sync and browser are real.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePort } from '@bailiff/bus/testing';
import { type AppliedView, configSchema, KUBE_RULES, type ProposalView, VIEWER_RULE } from '@bailiff/console';
import { waitFor } from '@bailiff/service/testing';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { start } from '../../apps/cli/src/console/serve.ts';
import { definitionOf } from '../../libs/policy/src/crd/definitions.ts';
import { RESOURCE_KINDS } from '../../libs/policy/src/index.ts';
import { accessibilityFindings, newPage, readText, startBrowser } from '../support/browser.ts';
import { type KubeHarness, startKube } from '../support/kube.ts';
import { IPAM_SYNC_RULES } from '../support/kube-rules.ts';
import { Services } from '../support/service.ts';
import { World } from './cli/world.ts';
import { ask, screenshot } from './console/rig.ts';
import { IPAM_SYNC_USER, launch, syncFlags } from './ipam-sync/harness.ts';

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
  namespace?: string;
  resourceNames?: string[];
}
const rulesOf = (
  rules: readonly { apiGroups: readonly string[]; resources: readonly string[]; verbs: readonly string[] }[],
) =>
  rules.map(({ apiGroups, resources, verbs }): Rule => {
    return { apiGroups: [...apiGroups], resources: [...resources], verbs: [...verbs] };
  });
const [viewer] = rulesOf([VIEWER_RULE]) as [Rule];
const editor = (...resources: string[]): Rule => {
  return { apiGroups: ['bailiff.dev'], resources, verbs: ['get', 'update', 'create'] };
};
const users = {
  console: { user: 'console', token: 'token-console', allow: rulesOf(KUBE_RULES) },
  sync: { user: IPAM_SYNC_USER, token: 'token-sync', allow: rulesOf(IPAM_SYNC_RULES) },
  vera: { user: 'vera', token: 'token-vera', allow: [viewer] },
  anna: {
    user: 'anna@example.com',
    token: 'token-anna',
    allow: [viewer, editor('correlationrules', 'runtimepolicies')],
  },
  mona: { user: 'mona', token: 'token-mona', allow: [viewer, editor('spoofpolicies')] },
  // May update one policy, and no other.
  otto: {
    user: 'otto',
    token: 'token-otto',
    allow: [viewer, { ...editor('runtimepolicies'), resourceNames: ['no-mounts'] }],
  },
  // May update everything, and see one namespace.
  shop: { user: 'shop', token: 'token-shop', allow: [{ ...viewer, namespace: 'shop' }, editor('correlationrules')] },
};
type Name = keyof typeof users;

const RULE = 'correlation.cluster._.repeated-spoofing';
const SHELL = 'runtime.cluster._.no-shell';
const MOUNTS = 'runtime.cluster._.no-mounts';
const SECRET = 'secret-of-the-proxy';
const policy = (name: string) => ({
  apiVersion: 'bailiff.dev/v1alpha1',
  kind: 'RuntimePolicy',
  metadata: { name },
  spec: { mode: 'audit', rules: [{ name: 'shells', action: 'block', execute: { paths: ['/bin/sh'] } }] },
});

let world: World;
let kube: KubeHarness;
let sync: Awaited<ReturnType<typeof launch>>;
let browser: Browser;
const services = new Services();
let origin = '';

beforeAll(async () => {
  world = await World.start();
  kube = await startKube({ tokens: [{ user: 'admin', token: 'token-admin' }, ...Object.values(users)] });
  const { api } = kube.server;
  for (const name of ['bailiff-system', 'shop']) api.create('namespaces', { metadata: { name } });
  for (const kind of RESOURCE_KINDS)
    api.create('customresourcedefinitions.apiextensions.k8s.io', definitionOf(kind) as never);
  for (const name of ['no-shell', 'no-mounts']) api.create('runtimepolicies.bailiff.dev', policy(name));
  const flags = syncFlags(world.nats, kube.server.kubeconfigPath(IPAM_SYNC_USER), world.directory);
  sync = await launch({ flags });
  const secretFile = path.join(world.directory, 'proxy-secret');
  const passwordFile = path.join(world.directory, 'console-password');
  for (const [file, text] of [
    [secretFile, SECRET],
    [passwordFile, 'password-of-console'],
  ] as const)
    writeFileSync(file, text, { mode: 0o600 });
  const at = `127.0.0.1:${await freePort()}`;
  origin = `http://${at}`;
  const argv = [
    ...['--nats-url', world.nats.url, '--nats-password-file', passwordFile, '--proxy-secret-file', secretFile],
    ...['--kubeconfig', kube.server.kubeconfigPath('console'), '--listen-address', at, '--external-url', origin],
    ...['--metrics-address', '127.0.0.1:0', '--probe-address', '127.0.0.1:0'],
  ];
  await services.start({ name: 'console', argv, schema: configSchema, start });
  browser = await startBrowser();
  await waitFor(async () => (await historyOf(SHELL)).length === 1, { what: 'the policy on the bus' });
});
afterAll(async () => {
  await browser?.close();
  await services[Symbol.asyncDispose]();
  await sync?.[Symbol.asyncDispose]();
  await kube?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

const bearer = (name: Name) => ({ authorization: `Bearer ${users[name].token}` });

interface Logged {
  by: string;
  why: string;
  value: { mode?: string; condition?: { gte: number } };
}
/** What the command prints. */
async function historyOf(key: string): Promise<Logged[]> {
  const { stdout } = await world.cli(['config', 'history', key, '--json']);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Logged);
}

async function proposed(name: Name, key: string, set: string): Promise<ProposalView> {
  const query = new URLSearchParams({ key, set });
  const { status, body } = await ask(origin, `/api/proposal?${query}`, { headers: bearer(name) });
  expect([status, body]).toEqual([200, expect.any(String)]);
  return JSON.parse(body) as ProposalView;
}
const confirmed = (key: string, set: string, basis: string, reason = 'too many false alarms') =>
  JSON.stringify({ key, set: [set], basis, reason });
/** A confirmation as the page of the console sends it. */
const post = (headers: Record<string, string>, body: string) =>
  ask(origin, '/api/change', {
    method: 'POST',
    body,
    headers: { origin, 'content-type': 'application/json', ...headers },
  });

describe('a forged confirmation', () => {
  it('is refused, and writes nothing; that of the page, by one who may, is written', async () => {
    const { basis } = await proposed('anna', RULE, 'condition.gte=5');
    const body = confirmed(RULE, 'condition.gte=5', basis);
    const anna = bearer('anna');
    const cases: [string, Record<string, string>, string, number][] = [
      ['by a viewer', bearer('vera'), body, 403],
      ['by a viewer of one namespace, who may update', bearer('shop'), body, 403],
      ['by one who may update another resource', bearer('otto'), body, 403],
      ['by a wrong token', { authorization: 'Bearer wrong' }, body, 401],
      [
        'by a name of the proxy',
        { 'x-forwarded-user': 'anna@example.com', 'x-bailiff-proxy-secret': SECRET },
        body,
        403,
      ],
      ['from another site', { ...anna, origin: 'http://evil.example' }, body, 403],
      ['from another site, by its kind', { ...anna, 'sec-fetch-site': 'same-site' }, body, 403],
      ['of a page without an origin', { ...anna, origin: 'null' }, body, 403],
      ['as a form', { ...anna, 'content-type': 'text/plain' }, body, 415],
      ['without a reason', anna, confirmed(RULE, 'condition.gte=5', basis, '  '), 400],
      ['with another field', anna, body.replace('{', '{"by":"otto",'), 400],
      ['of another proposal', anna, confirmed(RULE, 'condition.gte=5', `${users.anna.user} 1`), 409],
      ['of a value that cannot be', anna, confirmed(RULE, 'condition.gte=-1', basis), 400],
      ['of another key', anna, confirmed('disarm.cluster._.all', 'reason=any', basis), 400],
      ['too large', anna, `${' '.repeat(20_000)}${body}`, 400],
    ];
    for (const [name, headers, text, status] of cases)
      expect([name, (await post(headers, text)).status]).toEqual([name, status]);
    expect((await ask(origin, '/api/change', { headers: anna })).status, 'a GET').toBe(405);
    expect(await historyOf(RULE)).toEqual([]);
    // The control.
    const done = await post(anna, body);
    expect(JSON.parse(done.body) as AppliedView).toMatchObject({ isWritten: true, notes: [] });
    expect(await historyOf(RULE)).toMatchObject([
      { by: 'anna@example.com', why: 'too many false alarms', value: { condition: { gte: 5 } } },
    ]);
    expect((await post(anna, body)).status, 'the same again').toBe(409);
  });

  it('a right that was taken away after the proposal', async () => {
    const { basis } = await proposed('anna', RULE, 'condition.gte=6');
    const { allow } = users.anna;
    users.anna.allow = [viewer];
    try {
      expect((await post(bearer('anna'), confirmed(RULE, 'condition.gte=6', basis))).status).toBe(403);
    } finally {
      users.anna.allow = allow;
    }
    expect((await post(bearer('anna'), confirmed(RULE, 'condition.gte=6', basis))).status, 'the control').toBe(200);
    expect((await historyOf(RULE)).map(({ value }) => value.condition?.gte)).toEqual([5, 6]);
  });
});

describe('a resource that has the fields already', () => {
  it("nothing is written, and the next change of another client is not recorded as the visitor's", async () => {
    // ipam-sync does not run, so the value on the bus is an older one.
    await sync[Symbol.asyncDispose]();
    const kind = 'runtimepolicies.bailiff.dev';
    const patch = (spec: object) =>
      kube.server.api.patch(kind, { name: 'no-mounts' }, 'application/merge-patch+json', { spec });
    try {
      patch({ mode: 'enforce' });
      const { basis } = await proposed('anna', MOUNTS, 'mode=enforce');
      const { status, body } = await post(bearer('anna'), confirmed(MOUNTS, 'mode=enforce', basis));
      expect([status, body]).toEqual([400, expect.stringContaining('has these fields already')]);
      patch({ severity: 'low' });
    } finally {
      sync = await launch({
        flags: syncFlags(world.nats, kube.server.kubeconfigPath(IPAM_SYNC_USER), world.directory),
      });
    }
    await waitFor(async () => (await historyOf(MOUNTS)).length === 2, { what: 'the change of the other client' });
    expect((await historyOf(MOUNTS)).at(-1)).toMatchObject({ by: 'RuntimePolicy/no-mounts', why: 'generation 3' });
    // The control: a field that differs is written, and recorded.
    const { basis } = await proposed('anna', MOUNTS, 'mode=audit');
    expect((await post(bearer('anna'), confirmed(MOUNTS, 'mode=audit', basis, 'as before'))).status).toBe(200);
    await waitFor(async () => (await historyOf(MOUNTS)).length === 3, { what: 'the change of the visitor' });
    expect((await historyOf(MOUNTS)).at(-1)).toMatchObject({ by: 'anna@example.com', why: 'as before' });
  });
});

const opened = async (name: Name, at: string, text: string) => {
  const watched = await newPage(browser, { extraHTTPHeaders: bearer(name) });
  await watched.page.goto(origin + at);
  await watched.page.getByText(text).first().waitFor();
  return watched;
};
const buttons = (page: Page) => page.getByRole('button', { name: /^Enforce/ }).allInnerTexts();

it('a key that the command line released - the resource begins with the value in force', async () => {
  const key = 'correlation.cluster._.many-identities';
  const reason = ['--yes', '--reason', 'a test'];
  for (const words of [
    ['config', 'set', key, 'timespan=20m', ...reason],
    ['config', 'release', key, ...reason],
  ])
    expect([words, (await world.cli(words)).exitCode]).toEqual([words, 0]);
  const { basis, diff } = await proposed('anna', key, 'level=low');
  expect(diff.filter(({ sign }) => sign === '+' || sign === '-').map(({ text }) => text)).toEqual([
    expect.stringMatching(/^level: /),
    'level: low',
  ]);
  expect((await post(bearer('anna'), confirmed(key, 'level=low', basis))).status).toBe(200);
  await waitFor(async () => (await historyOf(key)).length === 3, { what: 'the change on the bus' });
  expect((await historyOf(key)).at(-1)).toMatchObject({
    by: 'anna@example.com',
    value: { level: 'low', timespan: '20m' },
  });
});

describe('modes of packets', () => {
  it('have the command: a SpoofPolicy has any name, and nothing is written, also for one who may update all', async () => {
    const key = 'spoof.cluster._.default';
    const set = 'modes.tunnel-other=enforce';
    for (const name of ['vera', 'mona'] as const) {
      const sent = await post(bearer(name), confirmed(key, set, 'revision 0'));
      expect([name, sent.status, sent.body]).toEqual([name, 403, expect.stringContaining('changes no SpoofPolicy')]);
    }
    expect(await historyOf(key)).toEqual([]);
  });
});

describe('in a browser', () => {
  it('two visitors at once - each has the buttons of the own rights, and a change is recorded under its name', async () => {
    const shown = 'Policies that only watch';
    const [vera, otto, anna] = await Promise.all(
      (['vera', 'otto', 'anna'] as const).map((name) => opened(name, '/policies', shown)),
    );
    if (!vera || !otto || !anna) throw new Error('three pages');
    expect(await buttons(vera.page)).toEqual([]);
    expect(await readText(vera.page.locator('main'))).toContain('you may not update runtimepolicies.bailiff.dev');
    expect(await buttons(otto.page)).toEqual(['Enforce no-mounts …']);
    expect(await buttons(anna.page)).toEqual(['Enforce no-mounts …', 'Enforce no-shell …']);

    const { page, errors } = anna;
    await page.getByRole('button', { name: 'Enforce no-shell' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('recorded as anna@example.com').waitFor();
    const text = await readText(dialog);
    expect(text).toMatch(/changes revision 1 by RuntimePolicy\/no-shell/);
    expect(text).toMatch(/- mode: audit\s+\+ mode: enforce/);
    expect(text).toContain('Enforcing it would have denied nothing that is recorded in the last 7 days');
    const apply = dialog.getByRole('button', { name: 'Apply this change' });
    expect(await apply.isDisabled(), 'without a reason').toBe(true);
    for (const [scheme, width] of [
      ['light', 1280],
      ['dark', 390],
    ] as const) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.setViewportSize({ width, height: 900 });
      expect([scheme, await accessibilityFindings(page)]).toEqual([scheme, []]);
      await screenshot(page, `change-${scheme}-${width}`);
    }
    await page.keyboard.press('Escape');
    expect(await dialog.count(), 'closed by a key').toBe(0);
    expect(await historyOf(SHELL), 'nothing is written before it is confirmed').toHaveLength(1);

    await page.getByRole('button', { name: 'Enforce no-shell' }).click();
    await dialog.getByLabel('Why?').fill('seven quiet days <b>ok</b>');
    await page.keyboard.press('Enter');
    await dialog.getByText('revision 2 on the bus').waitFor();
    await dialog.getByRole('link', { name: 'See it in the history' }).click();
    await page.getByText('seven quiet days <b>ok</b>').waitFor();
    expect(await readText(page.locator('.change').first())).toMatch(
      /by anna@example\.com, owner RuntimePolicy\/no-shell/,
    );
    expect((await historyOf(SHELL)).at(-1)).toMatchObject({
      by: 'anna@example.com',
      why: 'seven quiet days <b>ok</b>',
      value: { mode: 'enforce' },
    });
    expect([vera.errors, otto.errors, errors]).toEqual([[], [], []]);
    // Another client changes the resource later, and is not taken for anna.
    kube.server.api.patch('runtimepolicies.bailiff.dev', { name: 'no-shell' }, 'application/merge-patch+json', {
      spec: { mode: 'audit' },
    });
    await waitFor(async () => (await historyOf(SHELL)).length === 3, { what: 'the change of the other client' });
    expect((await historyOf(SHELL)).at(-1)).toMatchObject({ by: 'RuntimePolicy/no-shell', why: 'generation 3' });
    for (const one of [vera, otto, anna]) await one.page.context().close();
  });

  it('what was changed meanwhile is refused, and says so', async () => {
    const { page } = await opened('anna', '/policies', 'Policies that only watch');
    await page.getByRole('button', { name: 'Enforce no-mounts' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Why?').fill('quiet');
    kube.server.api.patch('runtimepolicies.bailiff.dev', { name: 'no-mounts' }, 'application/merge-patch+json', {
      spec: { severity: 'critical' },
    });
    await dialog.getByRole('button', { name: 'Apply this change' }).click();
    await dialog.getByText('was changed since you saw it; nothing was written').waitFor();
    await page.context().close();
  });

  it('what if - the button is for those who may change the rule', async () => {
    const at = `/what-if?key=${RULE}&set=condition.gte=7`;
    for (const [name, count] of [
      ['vera', 0],
      ['anna', 1],
    ] as const) {
      const { page } = await opened(name, at, 'With the violations of the last');
      await page.getByRole('button', { name: 'Try it' }).click();
      await page.getByText('To change it:').waitFor();
      expect([name, await page.getByRole('button', { name: 'Apply it here' }).count()]).toEqual([name, count]);
      await page.context().close();
    }
  });

  it('a key of the command line - the page has the command, and says why', async () => {
    const key = 'correlation.cluster._.audited-spoofing';
    const set = await world.cli(['config', 'set', key, 'condition.gte=50', '--yes', '--reason', 'a test']);
    expect(set.exitCode).toBe(0);
    const { page } = await opened(
      'anna',
      `/what-if?key=${key}&set=condition.gte=60`,
      'With the violations of the last',
    );
    await page.getByRole('button', { name: 'Try it' }).click();
    await page.getByText('Not from this page: the command line owns this key').waitFor();
    await page.context().close();
  });
});
