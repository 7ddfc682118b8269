// What the console tries before it is changed: modes of packets, runtime policies from text, and policies that are
// learned from what a pod did. In Chromium, against a real bus; numbers are those of the commands.
import { encodeToken } from '@bailiff/bus';
import { podIdentityOf, sampleInterfaces, sampleLsmViolation, sampleOperation } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { accessibilityFindings, watchedPage } from '../support/browser.ts';
import { CART, healthyStatus, NODE_A, NODE_B, VPN, violationOf, WEB, World } from './cli/world.ts';
import { LOOKS, missing, type OpenedConsole, openConsole, screenshot, textOf } from './console/rig.ts';

const SHELL = 'runtime.cluster._.no-shell';
const NO_SHELL = `apiVersion: bailiff.dev/v1alpha1
kind: RuntimePolicy
metadata: { name: no-shell }
spec:
  mode: audit
  severity: high
  rules: [{ name: shells, action: block, execute: { paths: [/bin/sh] } }]
`;
const SECRETS = `kind: RuntimePolicy
metadata: { name: secrets, namespace: shop }
spec:
  rules: [{ name: shadow, action: block, file: { paths: [/etc/shadow], operations: [read] } }]
`;
const CLUSTER = 'spoof.cluster._.default';
/** A name that would run, hide and end lines. */
const EVIL = '/tmp/\u202e<img src=x onerror="globalThis.taken=true">\u2028- x: # "\'';

let world: World;
let opened: OpenedConsole;

const listed = (pod: typeof WEB, address: string) =>
  podIdentityOf(pod, {
    interfaces: sampleInterfaces(address),
    labels: { app: pod.ownerName },
    containers: [{ name: 'app', id: 'containerd://1' }],
    createdAt: new Date(Date.now() - 3_600_000).toISOString(),
  });

let epochs = 0;
/** An audited operation. */
const did = (pod: typeof WEB, operation: string, subject: string, part: { vector?: string; times?: number } = {}) => {
  const at = Date.now() * 1000;
  const { vector = 'learn-cart-1/file-posture', times = 1 } = part;
  epochs += 1;
  return sampleLsmViolation({
    ...{ pod, vector, action: 'audit', policy: SHELL, policyRevision: 1, counterEpoch: `boot/lsm/${epochs}` },
    ...{ count: times, suppressed: 0, cumulativePackets: times, firstSeenAt: at, lastSeenAt: at },
    operation: sampleOperation({ operation, subject, outcome: 'audit', executable: '/usr/bin/app', arguments: [] }),
  });
};

beforeAll(async () => {
  world = await World.start();
  for (const [nodeName, pods] of [
    [NODE_A, [listed(WEB, '10.1.0.11'), listed(CART, '10.1.0.12')]],
    [NODE_B, [listed(VPN, '10.1.1.2')]],
  ] as const) {
    await world.put('bailiff_pods', encodeToken(nodeName), { nodeName, revision: 1, pods });
    await world.status(healthyStatus(nodeName));
  }
  expect((await world.cli(['policy', 'apply', '-', '--yes'], { stdin: NO_SHELL })).exitCode).toBe(0);
  const at = Date.now() * 1000;
  const packets = (grown: number, part: object) => ({
    ...{ cumulativePackets: grown, count: grown, suppressed: 0, firstSeenAt: at, lastSeenAt: at },
    ...part,
  });
  const audited = { vector: 'tunnel-other', action: 'audit' as const, counterEpoch: `boot/${VPN.uid}/1/tunnel` };
  await world.frame(NODE_B, [violationOf(at, VPN, packets(40, audited))]);
  await world.frame(NODE_A, [violationOf(at, WEB, packets(12, { vector: 'ipv4-source' }))]);
  await world.frame(NODE_A, [
    did(CART, 'execute', '/bin/sh', { vector: 'no-shell/shells', times: 3 }),
    did(CART, 'read', '/etc/hosts', { times: 5 }),
    did(CART, 'read', EVIL),
    did(WEB, 'read', '/etc/shadow', { vector: 'no-shell/file-posture', times: 2 }),
  ]);
  opened = await openConsole(world);
});
afterAll(async () => {
  await opened?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

const shown = (path: string, text: string) => opened.shown(path, text);
const fileOf = async (page: Page): Promise<string> => (await page.locator('pre.file').last().textContent()) ?? '';

describe('a mode of packets', () => {
  it('what would be dropped, and which verdicts appear: what the commands say; and applied', async () => {
    const { page, errors } = await shown(`/what-if?key=${CLUSTER}`, 'Vectors that are enforced');
    const mode = page.getByLabel('tunnel-other', { exact: true });
    expect(await mode.inputValue()).toBe('audit');
    expect(await page.getByLabel('ipv4-source', { exact: true }).isVisible(), 'those in force are folded').toBe(false);
    await mode.selectOption('enforce');
    await page.getByRole('button', { name: 'Try it' }).click();
    await page.getByText('40 packets of tunnel-other dropped').first().waitFor();
    const text = await textOf(page);
    expect(text).toContain(`bailiff config set ${CLUSTER} modes.tunnel-other=enforce --reason`);
    const stdin = await fileOf(page);
    const { stdout, exitCode } = await world.cli(['backtest', '--rules', '-', '--since', '1d', '--all'], { stdin });
    expect(exitCode).toBe(10);
    expect(missing(stdout, text)).toEqual([]);
    expect(stdout).toMatch(/tunnel-other\s+audit\s+enforce\s+40\s+1\s+would be dropped/);
    expect((await world.cli(['doctor', '--would-drop'])).stdout).toContain('would have dropped 40 packets of 1 pod');
    // A drop is a repetition that the rule counts.
    expect(stdout).toMatch(/WOULD APPEAR \(1\)[\s\S]*payments\/vpn-0\s+repeated-spoofing/);
    await page.getByRole('button', { name: 'Apply it here' }).click();
    await page.getByLabel('Why?').fill('their VPN is gone');
    await page.getByRole('button', { name: 'Apply this change' }).click();
    await page.getByText('Written as revision 1 by').waitFor();
    const { stdout: stored } = await world.cli(['config', 'get', CLUSTER, '--json']);
    expect(JSON.parse(stored)).toMatchObject({ value: { modes: { 'tunnel-other': 'enforce' } } });
    expect((await world.cli(['config', 'delete', CLUSTER, '--yes', '--reason', 'back'])).exitCode).toBe(0);
    expect(errors).toEqual([]);
    await page.close();
  });

  it('weaker ones - verdicts vanish, and packets pass', async () => {
    const modes = [
      ['audit', 'passed and counted'],
      ['off', 'passed and not counted'],
    ] as const;
    for (const [mode, fate] of modes) {
      const { page } = await shown(
        `/what-if?key=${CLUSTER}&set=modes.ipv4-source=${mode}`,
        'Vectors that are enforced',
      );
      await page.getByRole('button', { name: 'Try it' }).click();
      await page.getByText(`12 packets of ipv4-source ${fate}`).first().waitFor();
      const stdin = await fileOf(page);
      const { stdout } = await world.cli(['backtest', '--rules', '-', '--since', '1d', '--all'], { stdin });
      expect(missing(stdout, await textOf(page))).toEqual([]);
      expect(stdout).toMatch(/WOULD VANISH \(1\)[\s\S]*shop\/web-0/);
      await page.close();
    }
    // The control: a vector that nothing violated.
    const { page } = await shown(`/what-if?key=${CLUSTER}&set=modes.arp-sender=audit`, 'Vectors that are enforced');
    await page.getByRole('button', { name: 'Try it' }).click();
    await page.getByText('Nothing would have been different').waitFor();
    await page.close();
  });

  it('of a namespace - holds for its pods alone', async () => {
    const file = (key: string) => JSON.stringify({ [key]: { modes: { 'tunnel-other': 'enforce' } } });
    const packets = async (key: string) => {
      const run = await world.cli(['backtest', '--rules', '-', '--since', '1d', '--json'], { stdin: file(key) });
      return (JSON.parse(run.stdout) as { packets: object[] }).packets;
    };
    const changed = [{ vector: 'tunnel-other', from: 'audit', to: 'enforce', packets: 40, pods: 1 }];
    expect(await packets('spoof.namespace.shop.default')).toEqual([]);
    expect(await packets('spoof.namespace.payments.default')).toEqual(changed);
    expect(await packets(`spoof.workload.payments.${VPN.ownerName}`)).toEqual(changed);
  });
});

describe('a policy of programs', () => {
  it('from text - what the command says; one that cannot be is refused with its line', async () => {
    const { page, errors } = await shown('/what-if', 'Policy file, which you may change here');
    await page.getByLabel('Policy', { exact: true }).selectOption('');
    const text = page.getByLabel('Policy file');
    await text.fill(SECRETS.replace('block', 'deny'));
    await page.getByRole('button', { name: 'Simulate', exact: true }).click();
    await page.getByText('policy.yaml:4: spec.rules.0.action').waitFor();
    await text.fill(SECRETS);
    await page.getByRole('button', { name: 'Simulate', exact: true }).click();
    const headline = 'Enforcing shop/secrets, with 1 other policy, would have denied 2 operations of 1 pod since 7d';
    await page.getByText(headline).waitFor();
    const { stdout, stderr } = await world.cli(['policy', 'simulate', '-'], { stdin: SECRETS });
    expect(stdout).toContain(headline);
    expect(missing(`${stdout.replace(/ since 7d:/, '')}${stderr}`, await textOf(page))).toEqual([]);
    expect(await fileOf(page)).toBe(SECRETS);
    expect(errors).toEqual([]);
    await page.close();
  });

  it('stored, in audit - simulated and enforced on one page', async () => {
    const { page, errors } = await shown('/policies', 'Simulate: what would a policy have denied?');
    const text = page.getByLabel('Policy file');
    await page.getByText('as stored').waitFor();
    expect(await text.inputValue()).toBe((await world.cli(['policy', 'show', 'no-shell'])).stdout);
    await page.getByRole('button', { name: 'Simulate', exact: true }).click();
    await page.getByText(/Enforcing no-shell, .* would have denied 3 operations of 1 pod/).waitFor();
    const answer = page.locator('.answer', { hasText: 'Enforcing no-shell' });
    await answer.getByRole('button', { name: 'Enforce no-shell now' }).click();
    await page.getByRole('dialog').getByText('Enforcing it would have denied 3 operations of 1 pod').waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
    // A text of one's own is not what is stored.
    await text.fill(`${await text.inputValue()}\n`);
    await page.getByRole('button', { name: 'Simulate', exact: true }).click();
    await page.getByText(/Enforcing no-shell, .* would have denied 3 operations/).waitFor();
    expect(await answer.getByRole('button', { name: 'Enforce no-shell now' }).count()).toBe(0);
    expect(errors).toEqual([]);
    await page.close();
  });

  it('learned from a pod - the file of the command, and simulated; hostile names are text', async () => {
    const { page, errors } = await shown('/policies', 'Learn: which policy allows what a pod did?');
    await page.getByLabel('Pod: namespace/name').fill('shop/cart-1');
    await page.getByLabel('Pod: namespace/name').press('Enter');
    await page.getByText('shop/cart-1: 2 operations became').waitFor();
    const proposed = await fileOf(page);
    const { stdout, exitCode } = await world.cli(['policy', 'learn', '--pod', 'shop/cart-1', '--since', '1d']);
    expect([exitCode, proposed]).toEqual([0, stdout]);
    expect(stdout).toContain('/etc/hosts');
    expect(proposed).not.toMatch(/[\u202e\u2028]/);
    expect(await page.locator('main img').count()).toBe(0);
    // Every class was recorded, so the proposal judges every class.
    expect(stdout).toMatch(/defaultPosture:\s+file: block\s+execute: block\s+network: block/);
    await page.getByRole('button', { name: 'Simulate this policy' }).click();
    const text = () => page.getByLabel('Policy file').inputValue();
    await waitFor(async () => (await text()) === proposed, { what: 'the proposal in the form', state: text });
    await page.getByRole('button', { name: 'Simulate', exact: true }).click();
    await page.getByText(/Enforcing shop\/cart, .* would have denied 3 operations of 1 pod/).waitFor();
    const simulated = await world.cli(['policy', 'simulate', '-'], { stdin: proposed });
    expect(missing(`${simulated.stdout.replace(/ since 7d:/, '')}${simulated.stderr}`, await textOf(page))).toEqual([]);
    expect(await page.evaluate('globalThis.taken')).toBe(undefined);
    // Nothing is recorded of this one.
    await page.getByLabel('Pod: namespace/name').fill('payments/vpn-0');
    await page.getByRole('button', { name: 'Propose a policy' }).click();
    await page.getByText('no operation of payments/vpn-0 was audited: nothing to propose').waitFor();
    await page.getByText('bailiff policy learn --pod payments/vpn-0 --for 10m --record').waitFor();
    expect(errors).toEqual([]);
    await page.close();
  });
});

describe('a hostile text', () => {
  it('is refused as text, and costs others nothing', async () => {
    const { page, errors } = await shown('/policies?policy=', 'Simulate: what would a policy have denied?');
    const large = [
      ['- '.repeat(50_000), 'nested too deep'],
      ['['.repeat(100_000), 'more than 4096 fields'],
      ['&a '.repeat(40_000), 'anchors, aliases and tags'],
      [Array.from({ length: 8_000 }, (_, n) => `k${n}: 1`).join('\n'), 'more than 4096 fields'],
      [`{${Array.from({ length: 15_000 }, (_, n) => `"${n}"`).join()}}`, 'more than 4096 fields'],
      [Array.from({ length: 8_000 }, (_, n) => `? k${n}`).join('\n'), 'more than 4096 fields'],
      ['x'.repeat(131_073), 'no policy file'],
      ['x'.repeat(400_000), 'too large'],
    ] as const;
    for (const [policy, reason] of large) {
      const body = JSON.stringify(JSON.stringify({ policy, since: '1d' }));
      const headers = `{ 'x-bailiff-key': localStorage.getItem('bailiff-key'), 'content-type': 'application/json' }`;
      const asked = `fetch('/api/simulation', { method: 'POST', headers: ${headers}, body: ${body} })`;
      expect(await page.evaluate<string>(`${asked}.then((r) => r.text())`)).toContain(reason);
    }
    const tries = [
      ['twice', `---\n${SECRETS}`.repeat(2), 'is defined twice'],
      [
        'many',
        Array.from({ length: 17 }, (_, n) => `---\n${SECRETS}`.replace('secrets', `s${n}`)).join(''),
        '16 policies',
      ],
      ['script', `${SECRETS}${JSON.stringify(EVIL)}: 1\n`, '<img src=x onerror="globalThis.taken=true">'],
      ['long', `${SECRETS}${'x'.repeat(900)}: 1\n`, 'is unknown'],
    ] as const;
    const text = page.getByLabel('Policy file');
    for (const [name, hostile, reason] of tries) {
      await text.fill(hostile);
      await page.getByRole('button', { name: 'Simulate', exact: true }).click();
      const alert = page.getByRole('alert').filter({ hasText: reason });
      await alert.waitFor({ timeout: 30_000 }).catch((cause) => Promise.reject(new Error(name, { cause })));
      const wide = await page.evaluate('document.documentElement.scrollWidth > document.documentElement.clientWidth');
      expect([name, wide, await page.locator('main img').count()]).toEqual([name, false, 0]);
    }
    expect(await page.evaluate('globalThis.taken')).toBe(undefined);
    // The control: the same page, with a policy.
    await text.fill(SECRETS);
    await page.getByRole('button', { name: 'Simulate', exact: true }).click();
    await page.getByText('would have denied 2 operations of 1 pod').waitFor();
    expect(errors.filter((error) => !/status of 4(00|13)/.test(error))).toEqual([]);
    await page.close();
  });

  it('is in no command that a person copies', async () => {
    const { page } = await shown('/policies', 'Learn: which policy allows what a pod did?');
    const get = (path: string) =>
      page.evaluate<string>(
        `fetch(${JSON.stringify(path)}, { headers: { 'x-bailiff-key': localStorage.getItem('bailiff-key') } }).then((r) => r.text())`,
      );
    const evil = encodeURIComponent('1d; touch /tmp/taken');
    const paths = [
      `/api/trial?key=${CLUSTER}&set=modes.tunnel=audit&since=${evil}`,
      `/api/trial?key=${encodeURIComponent(`${CLUSTER}; touch x`)}&set=modes.tunnel=audit`,
      `/api/trial?key=${CLUSTER}&set=${encodeURIComponent('modes.tunnel=$(touch x)')}`,
      `/api/trial?key=${CLUSTER}&set=${encodeURIComponent('__proto__.polluted=1')}`,
      `/api/learn?pod=${encodeURIComponent('shop/cart-1; touch x')}`,
      `/api/learn?pod=shop/cart-1&since=${evil}`,
      `/api/policy?key=${encodeURIComponent('no-shell; touch x')}`,
      `/api/graph?since=${evil}`,
      `/api/policies?since=${evil}`,
      `/api/history?since=${evil}`,
    ];
    for (const path of paths) {
      const answer = await get(path);
      expect([path, answer.includes('"error"'), answer.includes('"command"')]).toEqual([path, true, false]);
    }
    const good = await get(`/api/trial?key=${CLUSTER}&set=modes.tunnel=audit`);
    expect(good.includes('"command"'), 'the control').toBe(true);
    await page.close();
  });
});

it('pages - no refused resource, no finding of axe, no sideways scrolling, in both schemes and widths', async () => {
  const { page, errors } = await watchedPage(opened.context);
  const results: [string, string, (at: Page) => Promise<void>][] = [
    [
      'mode',
      `/what-if?key=${CLUSTER}&set=modes.tunnel-other=enforce`,
      async (at) => {
        await at.getByRole('button', { name: 'Try it' }).click();
        await at.getByText('To change it:').waitFor();
      },
    ],
    [
      'learn',
      '/policies?learn=shop/cart-1',
      async (at) => {
        await at.getByRole('button', { name: 'Propose a policy' }).click();
        await at.getByText('To watch with it first:').waitFor();
        await at.getByRole('button', { name: 'Simulate', exact: true }).click();
        await at.getByText('To enforce it:').waitFor();
      },
    ],
  ];
  for (const [name, path, act] of results) {
    await page.goto(opened.running.origin + path);
    await page.getByLabel('Policy file').waitFor();
    await act(page);
    for (const [colorScheme, width] of LOOKS) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      const found = await accessibilityFindings(page);
      const wide = await page.evaluate('document.documentElement.scrollWidth > document.documentElement.clientWidth');
      expect([name, colorScheme, width, found, wide, errors]).toEqual([name, colorScheme, width, [], false, []]);
      const copy = await page.locator('.answer .copy').first().boundingBox();
      expect([name, width, (copy?.width ?? 0) > (copy?.height ?? 0)], 'in one line').toEqual([name, width, true]);
      await screenshot(page, `${name}-${colorScheme}-${width}`);
    }
  }
  await page.close();
});
