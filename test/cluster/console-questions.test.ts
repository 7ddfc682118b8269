// The pages of the console that answer a question: who attacks whom, what is in force where, and what
// another threshold would have done. In Chromium, against a real bus; numbers are those of the commands.
import { encodeToken } from '@bailiff/bus';
import type { GraphView } from '@bailiff/console';
import {
  podIdentityOf,
  sampleInterfaces,
  sampleLsmViolation,
  sampleRuntimeStatus,
  sampleViolation,
} from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { accessibilityFindings, readText, watchedPage } from '../support/browser.ts';
import { CART, healthyStatus, NODE_A, NODE_B, uid, VPN, verdictId, violationOf, WEB, World } from './cli/world.ts';
import {
  LOOKS,
  missing,
  type OpenedConsole,
  openConsole,
  openedPage,
  runConsole,
  screenshot,
  textOf,
} from './console/rig.ts';

const DB = { ...WEB, uid: uid(20), name: 'db-0', namespace: 'payments', ownerName: 'db', ownerUid: uid(120) };
const SLOW = { ...WEB, uid: uid(21), name: 'slow-0', ownerName: 'slow', ownerUid: uid(121) };
const SHELL = 'runtime.cluster._.no-shell';
const POLICY = (name: string, mode: string) => `apiVersion: bailiff.dev/v1alpha1
kind: RuntimePolicy
metadata: { name: ${name} }
spec:
  mode: ${mode}
  severity: high
  rules: [{ name: shells, action: block, execute: { paths: [/bin/sh] } }]
`;

let world: World;
let opened: OpenedConsole;

const listed = (pod: typeof WEB, address: string) =>
  podIdentityOf(pod, {
    interfaces: sampleInterfaces(address),
    createdAt: new Date(Date.now() - 3_600_000).toISOString(),
  });

/** A packet of a pod with one claim, to one destination; `grown` packets in all. */
const forged = (pod: typeof WEB, grown: number, claim: string, to: string, part: object = {}) => {
  const { sample } = sampleViolation();
  const at = Date.now() * 1000;
  return violationOf(at, pod, {
    cumulativePackets: grown,
    count: Math.min(8, grown),
    suppressed: Math.max(0, grown - 8),
    sample: sample && { ...sample, observedAt: at, claimedAddress: claim, destinationAddress: to },
    ...part,
  });
};

/** Both nodes report: on a busy machine they are silent by the time of a test, after 30 s. */
let report: () => Promise<void>;

beforeAll(async () => {
  world = await World.start();
  await world.put('bailiff_pods', encodeToken(NODE_A), {
    nodeName: NODE_A,
    revision: 1,
    pods: [listed(WEB, '10.1.0.11'), listed(CART, '10.1.0.12'), listed(SLOW, '10.1.0.13')],
  });
  await world.put('bailiff_pods', encodeToken(NODE_B), {
    nodeName: NODE_B,
    revision: 1,
    pods: [listed(VPN, '10.1.1.2'), listed(DB, '10.1.1.5')],
  });
  for (const [name, mode] of [
    ['no-shell', 'audit'],
    ['no-mounts', 'enforce'],
  ] as const)
    expect((await world.cli(['policy', 'apply', '-', '--yes'], { stdin: POLICY(name, mode) })).exitCode).toBe(0);
  const runtime = sampleRuntimeStatus({
    policies: [
      { key: SHELL, revision: 1, state: 'in-force' as const, reason: '', subjects: 2 },
      { key: 'runtime.cluster._.no-mounts', revision: 1, state: 'in-force' as const, reason: '', subjects: 2 },
    ],
    subjects: 2,
    sets: 1,
  });
  const unable = { state: 'unavailable' as const, reason: 'loading is refused: EPERM', remedy: 'boot with lsm=…,bpf' };
  report = async () => {
    await world.status(healthyStatus(NODE_A, { runtime }));
    await world.status(healthyStatus(NODE_B, { runtime: { ...runtime, ...unable, policies: [] } }));
  };
  await report();
  // shop/web forges the database's address to the cart; slow-0 stays below the threshold of 10.
  await world.frame(NODE_A, [forged(WEB, 322, '10.1.1.5', '10.1.0.12')]);
  await world.frame(NODE_A, [forged(SLOW, 7, '192.0.2.9', '10.1.1.5')]);
  const audited = { vector: 'tunnel-other', action: 'audit' as const, counterEpoch: `boot/${VPN.uid}/1/tunnel` };
  await world.frame(NODE_B, [forged(VPN, 40, '10.1.1.2', '198.51.100.7', audited)]);
  await world.frame(NODE_A, [
    sampleLsmViolation({
      pod: CART,
      action: 'audit',
      vector: 'no-shell/shells',
      policy: SHELL,
      policyRevision: 1,
      counterEpoch: `boot/lsm/${CART.uid}`,
      cumulativePackets: 3,
      count: 3,
      suppressed: 0,
      firstSeenAt: Date.now() * 1000,
      lastSeenAt: Date.now() * 1000,
    }),
  ]);
  opened = await openConsole(world);
});
afterAll(async () => {
  await opened?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

const shown = (path: string, text: string) => opened.shown(path, text);

const KEY = 'correlation.cluster._.repeated-spoofing';

it('pages - no refused resource, no finding of axe, no sideways scrolling, in both schemes and widths', async () => {
  const { page, errors } = await watchedPage(opened.context);
  for (const [name, path, words] of [
    ['graph', '/graph', 'Who attacks whom'],
    ['policies', '/policies', 'What programs may do'],
    ['what-if', `/what-if?key=${KEY}&set=condition.gte=5`, 'The whole rule'],
  ] as const) {
    await page.goto(opened.running.origin + path);
    await page.getByText(words).first().waitFor();
    if (name === 'what-if') {
      await page.getByRole('button', { name: 'Try it' }).click();
      await page.getByText('To change it:').waitFor();
    }
    for (const [colorScheme, width] of LOOKS) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      const found = await accessibilityFindings(page);
      const wide = await page.evaluate('document.documentElement.scrollWidth > document.documentElement.clientWidth');
      expect([name, colorScheme, width, found, wide, errors]).toEqual([name, colorScheme, width, [], false, []]);
      await screenshot(page, `${name}-${colorScheme}-${width}`);
    }
  }
  await page.close();
});

describe('graph', () => {
  it('sender, claimed identity and destination of forged packets; audited packets; no less than the command', async () => {
    const { page, errors } = await shown('/graph', 'Who attacks whom');
    const text = await textOf(page);
    expect(text).toMatch(/3 workloads forged 369 packets: 40 were only watched, and got through/);
    const rows = await page.locator('table tbody tr').allInnerTexts();
    const rowOf = (word: string) => rows.find((row) => row.startsWith(word)) ?? '';
    expect(rowOf('shop/web')).toMatch(
      /322[\s\S]*all dropped[\s\S]*payments\/db \(StatefulSet\)[\s\S]*10\.1\.1\.5[\s\S]*shop\/cart/,
    );
    expect(rowOf('shop/slow')).toMatch(/7[\s\S]*192\.0\.2\.9 \(no pod has this address now\)[\s\S]*payments\/db/);
    expect(rowOf('payments/vpn')).toMatch(/40[\s\S]*40 got through[\s\S]*198\.51\.100\.7/);
    expect(text).toContain('3 operations of programs are not shown here');
    // The picture has the same lines as the table.
    expect(await page.locator('.graph path').count()).toBe(6);
    const { stdout } = await world.cli(['events', '--kind', 'spoof', '--json']);
    const events = stdout
      .trim()
      .split('\n')
      .map(
        (line) =>
          JSON.parse(line) as { pod: { name: string }; sample: { claimedAddress: string; destinationAddress: string } },
      );
    expect(events).toHaveLength(3);
    for (const { pod, sample } of events)
      for (const word of [pod.name, sample.claimedAddress, sample.destinationAddress]) expect(text).toContain(word);
    expect(errors).toEqual([]);
    await page.close();
  });

  it('a flood of claims is capped, and the page says so', async () => {
    await using flooded = await World.start();
    const at = Date.now() * 1000;
    const { sample } = sampleViolation();
    for (let first = 0; first < 600; first += 60) {
      await flooded.frame(
        NODE_A,
        Array.from({ length: 60 }, (_, n) => {
          const index = first + n;
          const pod = { ...WEB, uid: uid(1_000 + index), name: `pod-${index}`, ownerName: '', ownerUid: '' };
          const claimedAddress = `10.9.${index >> 8}.${index & 255}`;
          return violationOf(at, pod, { sample: sample && { ...sample, claimedAddress } });
        }),
      );
    }
    await using own = await runConsole(flooded);
    const { page } = await openedPage(opened.browser, own);
    await page.goto(`${own.origin}/graph`);
    await page.getByText('600 packets').first().waitFor();
    await page.getByText('576 more attackers or lines are not shown').waitFor();
    const { nodes } = await page.evaluate<GraphView>(
      `fetch('/api/graph', { headers: { 'x-bailiff-key': localStorage.getItem('bailiff-key') } }).then((r) => r.json())`,
    );
    expect(nodes.filter(({ column }) => column === 'attacker')).toHaveLength(24);
    await page.context().close();
  });
});

describe('policies', () => {
  it('in force n of m and why not; what enforcing would have denied; no less than the commands', async () => {
    await report();
    const { page, errors } = await shown('/policies', 'What programs may do');
    const text = await textOf(page);
    expect(text).toMatch(/2 of 2 policies are not in force everywhere; 1 only watch \(audit\)/);
    expect(text).toMatch(/node-b\.example: LSM unavailable: "loading is refused: EPERM"/);
    for (const words of [
      ['policy', 'status'],
      ['policy', 'list'],
      ['doctor', '--would-drop'],
    ]) {
      const { stdout } = await world.cli(words);
      expect(missing(stdout.replace(/ since \S+:/, '').replaceAll('→ ', ''), text), words.join(' ')).toEqual([]);
    }
    // Which vectors only watch, and what an operator can do about it.
    const vectors = await readText(page.locator('table[aria-label="Vectors that are not enforced"] tbody'));
    expect(vectors).toMatch(
      /cluster, built in\s+audit\s+tunnel-other[\s\S]*counted, and pass[\s\S]*bailiff config set/,
    );
    const operations = page.locator('table[aria-label="Audited operations"] tbody');
    expect(await readText(operations)).toMatch(/no-shell\/shells\s+3\s+bailiff policy promote no-shell/);
    expect(errors).toEqual([]);
    // What the change would deny is what the command says, and the change is that of the command.
    const promote = ['policy', 'promote', 'no-shell', '--since', '7d'];
    const { stdout } = await world.cli([...promote, '--dry-run']);
    expect(stdout).toContain('Enforcing no-shell would have denied 3 operations of 1 pod since 7d');
    await report();
    await page.getByRole('button', { name: 'Enforce no-shell' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('Enforcing it would have denied 3 operations of 1 pod').waitFor();
    await dialog.getByText('Now: in force on 1 of 2 nodes').waitFor();
    await dialog.getByLabel('Why?').fill('watched long enough');
    await dialog.getByRole('button', { name: 'Apply this change' }).click();
    await dialog.getByText('Written as revision 2').waitFor();
    await dialog.getByRole('button', { name: 'Close' }).click();
    expect((await world.cli(promote)).stderr).toContain('no-shell is enforced already, at revision 2');
    await page.getByRole('button', { name: 'Read again' }).click();
    await page.getByText('policies are not in force everywhere').filter({ hasNotText: 'audit' }).waitFor();
    expect(await operations.count(), 'it is enforced now').toBe(0);
    expect(await textOf(page)).toMatch(/the policy is in mode enforce now; .*: no-shell\/shells 3/);
    await page.close();
  });

  it('vectors of a value that all nodes refuse for its signature - not listed, as in status; control: one accepts it', async () => {
    const key = 'spoof.namespace.shop.default';
    const refusedBy = async (...refusing: string[]) => {
      const configRefused = [{ key, reason: 'the value is not signed' }];
      for (const node of [NODE_A, NODE_B])
        await world.status(healthyStatus(node, refusing.includes(node) ? { configRefused } : {}));
    };
    await world.put('bailiff_config', key, '{"modes":{"tunnel":"audit"}}');
    await refusedBy(NODE_A);
    const { page } = await shown('/policies', 'What programs may do');
    const vectors = page.locator('table[aria-label="Vectors that are not enforced"] tbody');
    const status = async () => (await world.cli(['status'])).stdout;
    expect(await readText(vectors)).toMatch(/namespace shop\s+audit\s+tunnel/);
    expect(await status()).toMatch(/namespace shop: tunnel is in audit/);
    await refusedBy(NODE_A, NODE_B);
    await page.getByRole('button', { name: 'Read again' }).click();
    await vectors.getByText('namespace shop').waitFor({ state: 'detached' });
    const text = await status();
    expect(text).toMatch(/all readers: refuse spoof\.namespace\.shop\.default/);
    expect(text).not.toMatch(/namespace shop: tunnel/);
    await page.close();
  });
});

describe('what if', () => {
  it('a threshold of 5 - what the command says, and the command to apply it, by keyboard', async () => {
    const { page, errors } = await shown(`/what-if?key=${KEY}`, 'With the violations of the last');
    const threshold = page.getByLabel('Threshold');
    expect(await threshold.inputValue()).toBe('10');
    expect(await page.getByRole('button', { name: 'Try it' }).isDisabled()).toBe(true);
    await threshold.focus();
    await page.keyboard.press('Control+A');
    await page.keyboard.type('5');
    await page.keyboard.press('Enter');
    await page.getByText('There would have been 1 verdict more').waitFor();
    const text = await textOf(page);
    expect(text).toContain(`bailiff config set ${KEY} condition.gte=5 --reason`);
    const file = (await page.locator('pre.file').last().textContent()) ?? '';
    const { stdout, exitCode } = await world.cli(['backtest', '--rules', '-', '--since', '1d', '--all'], {
      stdin: file,
    });
    expect(exitCode).toBe(10);
    expect(missing(stdout, text)).toEqual([]);
    expect(stdout).toMatch(/WOULD APPEAR \(1\)[\s\S]*shop\/slow-0/);
    // Applied by keyboard, and in the history under the name of the person.
    await page.getByRole('button', { name: 'Apply it here' }).press('Enter');
    await page.getByLabel('Why?').fill('slow attackers');
    await page.keyboard.press('Enter');
    await page.getByText('Written as revision 1 by').waitFor();
    await page.getByRole('link', { name: 'See it in the history' }).press('Enter');
    await page.getByText('slow attackers').waitFor();
    const history = await world.cli(['config', 'history', KEY, '--json']);
    const { by, why } = JSON.parse(history.stdout) as { by: string; why: string };
    expect([why, await textOf(page)]).toEqual(['slow attackers', expect.stringContaining(`by ${by}`)]);
    expect(by).toContain('@');
    expect((await world.cli(['config', 'delete', KEY, '--yes', '--reason', 'back'])).exitCode).toBe(0);
    // The control: without a change nothing appears.
    await page.goto(`${opened.running.origin}/what-if?key=${KEY}&set=condition.gte=11`);
    await page.getByRole('button', { name: 'Try it' }).click();
    await page.getByText('Nothing would have been different').waitFor();
    expect(errors).toEqual([]);
    await page.close();
  });

  it('what cannot be is refused with a reason; a trial is cancelled', async () => {
    const { page } = await shown(`/what-if?key=${KEY}&set=timespan=soon`, 'With the violations of the last');
    await page.getByRole('button', { name: 'Try it' }).click();
    await page.getByText('is not a duration').waitFor();
    const { nats } = world;
    // The bus holds the trial up, so that it can be cancelled.
    await page.getByLabel('Window').fill('30s');
    process.kill(nats.pid, 'SIGSTOP');
    try {
      await page.getByRole('button', { name: 'Try it' }).click();
      await page.getByRole('button', { name: 'Cancel' }).click();
      await waitFor(() => page.getByRole('button', { name: 'Try it' }).isEnabled());
    } finally {
      process.kill(nats.pid, 'SIGCONT');
    }
    await page.getByRole('button', { name: 'Try it' }).click();
    await page.getByText('To change it:').waitFor();
    await page.close();
  });
});

/** Sees what is on the screen, and counts clicks. */
class Person {
  readonly page: Page;
  clicks = 0;

  constructor(page: Page) {
    this.page = page;
  }

  /** What has this text on it, for a person: a link, a button or a field. */
  async click(text: string): Promise<void> {
    this.clicks += 1;
    await this.page
      .locator('a:visible, button:visible, label:visible')
      .getByText(text, { exact: true })
      .first()
      .click();
  }

  /** Waits until the words are on the screen. @returns all of its text */
  async sees(words: RegExp): Promise<string> {
    const text = () => readText(this.page.locator('body'));
    return waitFor(text, { until: (shown) => words.test(shown), what: String(words), state: text });
  }
}

it('a person who never saw it - answers by clicks and visible text alone what an attack did', async () => {
  const verdict = await world.verdict({
    verdictId: verdictId(0xaaaa),
    pod: { ...WEB },
    groupKey: WEB.uid,
    observed: 322,
    vectors: ['ipv4-source'],
    evidence: [{ streamSequence: 1, index: 0, vector: 'ipv4-source', packets: 322, process: null }],
  });
  await world.response(verdict, { action: 'quarantine', phase: 'succeeded' });
  const reason = 'the pod is protected by the annotation bailiff.dev/protected';
  await world.response(verdict, { action: 'delete', phase: 'refused', reasonCode: 'protected', reason });
  const { page } = await watchedPage(opened.context);
  const person = new Person(page);
  await page.goto(opened.running.origin);

  // Is anything getting through? What did Bailiff do, and refuse to do?
  const now = await person.sees(/40\s+got through: only audited[\s\S]*1 × delete refused/);
  expect(now).toMatch(/payments\/vpn-0\s+40\s+40 got through/);
  expect(now).toMatch(/In all: 1 × delete refused, 1 × quarantine succeeded\./);
  expect(now).toMatch(/shop\/web-0\s+delete\s+refused\s+\S+\s+.*protected/);
  expect(person.clicks, 'on the page that opens').toBe(0);
  // Verdicts are read apart from responses. What if begins with the rule of the newest one.
  await person.sees(/shop\/web-0[^\n]*\s+repeated-spoofing|repeated-spoofing[^\n]*\s+shop\/web-0/);

  // Which pod attacks whom?
  await person.click('Graph');
  const graph = await person.sees(/3 workloads forged 369 packets/);
  expect(graph).toMatch(/shop\/web \(StatefulSet\)\s+322\s+all dropped\s+payments\/db \(StatefulSet\).*\s+shop\/cart/);
  expect(person.clicks).toBe(1);

  // What would a threshold of 5 have done?
  await person.click('What if');
  await person.sees(/A pod keeps sending under an identity that is not its own/);
  await person.click('Threshold: a verdict from this many on');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('5');
  await person.click('Try it');
  const trial = await person.sees(/There would have been/);
  expect(trial).toMatch(/There would have been 1 verdict more/);
  expect(trial).toMatch(/Would appear \(1\)[\s\S]*shop\/slow-0\s+repeated-spoofing\s+7\/5/i);
  expect(person.clicks).toBe(4);
  await page.close();
});
