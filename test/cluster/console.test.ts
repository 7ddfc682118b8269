// The page that `bailiff console` serves, in Chromium: what it shows, who may read it, and how it comes
// back. The bus and the readers are real.
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { accessibilityFindings, newPage, readText, startBrowser } from '../support/browser.ts';
import {
  healthyStatus,
  NODE_A,
  NODE_B,
  publishStory,
  type Story,
  uid,
  verdictId,
  violationOf,
  WEB,
  World,
} from './cli/world.ts';
import { ask, LOOKS, missing, openedPage, type RunningConsole, runConsole, screenshot, textOf } from './console/rig.ts';

let world: World;
let story: Story;
let browser: Browser;

const startConsole = (port = 0) => runConsole(world, port);

beforeAll(async () => {
  world = await World.start();
  story = await publishStory(world);
  for (const node of [NODE_A, NODE_B]) await world.status(healthyStatus(node));
  const why = ['--yes', '--reason', 'their VPN, until Friday'];
  await world.cli(['config', 'set', 'spoof.namespace.shop.default', 'modes.tunnel=audit', ...why]);
  await world.cli(['config', 'set', 'spoof.namespace.shop.default', 'modes.tunnel=off', ...why]);
});
afterAll(() => world?.[Symbol.asyncDispose]());

const tokenOf = (link: string) => new URL(link).hash.replace('#token=', '');

describe('rights', () => {
  const TRIAL = '/api/trial?key=correlation.cluster._.repeated-spoofing&set=condition.gte=5';
  const PAGES = ['/api/now', '/api/verdict?id=aaaa', '/api/pod?pod=shop/web-0', '/api/history'];
  const FILES = ['/api/evidence?id=aaaa', '/api/pod-file?pod=shop/web-0'];
  const TRIALS = [TRIAL, '/api/learn?pod=shop/web-0'];
  const DATA = [...PAGES, ...FILES, '/api/graph', '/api/policies', '/api/rules', ...TRIALS];

  it('data - only with cookie and key of a session, at the own address, for the own page', async () => {
    await using running = await startConsole();
    const { origin, link } = running;
    const session = (body: string, headers: Record<string, string> = { origin }) =>
      ask(origin, '/api/session', { method: 'POST', body, headers });
    expect((await session('wrong')).status, 'a wrong token').toBe(401);
    expect((await session(tokenOf(link), {})).status, 'no origin').toBe(403);
    expect((await session(tokenOf(link), { origin: 'http://evil.example' })).status, 'another origin').toBe(403);
    const opened = await session(tokenOf(link));
    expect(opened.status, 'the token').toBe(200);
    expect((await session(tokenOf(link))).status, 'the token again').toBe(401);

    const [set = ''] = opened.headers['set-cookie'] ?? [];
    expect(set).toMatch(/^bailiff_console_\d+=[\w-]{43}; HttpOnly; SameSite=Strict; Path=\/api\/$/);
    const [cookie = ''] = set.split(';');
    const { key } = JSON.parse(opened.body) as { key: string };
    const full = { cookie, 'x-bailiff-key': key };
    const cases: [string, Record<string, string>, number][] = [
      ['nothing', {}, 401],
      ['the cookie alone, as another port gets it', { cookie }, 401],
      ['the key alone', { 'x-bailiff-key': key }, 401],
      ['another key', { cookie, 'x-bailiff-key': 'x' }, 401],
      ['both by another name', { ...full, host: 'rebound.example' }, 421],
      ['both from another origin', { ...full, origin: 'http://127.0.0.1:80' }, 403],
      ['both from another site', { ...full, 'sec-fetch-site': 'cross-site' }, 403],
      ['both', full, 200],
    ];
    for (const path of DATA) {
      for (const [name, headers, status] of cases) {
        expect([path, name, (await ask(origin, path, { headers })).status]).toEqual([path, name, status]);
      }
      const post = { method: 'POST', headers: { ...full, origin } };
      expect((await ask(origin, path, post)).status, 'a reading changes nothing').toBe(405);
    }
    const rule = 'correlation.cluster._.audited-spoofing';
    const body = JSON.stringify({ key: rule, set: ['enabled=false'], basis: '0', reason: 'a test' });
    const policy = 'kind: RuntimePolicy\nmetadata: { name: any }\nspec: { defaultPosture: { file: block } }\n';
    const posts = { '/api/change': body, '/api/simulation': JSON.stringify({ policy, since: '1d' }) };
    for (const [path, text] of Object.entries(posts)) {
      for (const [name, headers, status] of cases) {
        const sent = { origin, 'content-type': 'application/json', ...headers };
        const { status: found } = await ask(origin, path, { method: 'POST', body: text, headers: sent });
        expect([path, name, found]).toEqual([path, name, status]);
      }
      const form = { ...full, origin, 'content-type': 'text/plain' };
      const { status } = await ask(origin, path, { method: 'POST', body: text, headers: form });
      expect([path, 'as a form sends it', status]).toEqual([path, 'as a form sends it', 415]);
    }
    const { stdout } = await world.cli(['config', 'history', rule, '--json']);
    expect(stdout.trim().split('\n'), 'one change, of the last case').toHaveLength(1);
  });

  it('pages - need no session, have no data, and forbid frames and foreign content', async () => {
    await using running = await startConsole();
    for (const path of [
      '/',
      '/graph',
      '/policies',
      '/what-if',
      '/verdict?id=aaaa',
      '/pod',
      '/history',
      '/app.js',
      '/style.css',
    ]) {
      const { status, headers, body } = await ask(running.origin, path);
      expect([path, status]).toEqual([path, 200]);
      expect(headers['content-security-policy']).toMatch(/^default-src 'self'; .*frame-ancestors 'none'/);
      expect(headers).toMatchObject({ 'x-frame-options': 'DENY', 'x-content-type-options': 'nosniff' });
      expect(headers).toMatchObject({ 'referrer-policy': 'no-referrer', 'cache-control': 'no-store' });
      expect(body).not.toContain('web-0');
      expect((await ask(running.origin, path, { headers: { host: 'rebound.example' } })).status).toBe(421);
    }
    expect((await ask(running.origin, '/../package.json')).status).toBe(404);
    expect((await ask(running.origin, '/constructor')).status).toBe(404);
  });

  it('port - one that is used is an error with a remedy', async () => {
    await using running = await startConsole();
    const { port } = new URL(running.origin);
    const { exitCode, stderr } = await world.cli(['console', '--port', port]);
    expect([exitCode, stderr]).toEqual([
      2,
      expect.stringMatching(/cannot listen on 127\.0\.0\.1:\d+ and \[::1\]:\d+: EADDRINUSE.*--port 0/s),
    ]);
  });
});

describe('in a browser', () => {
  beforeAll(async () => {
    browser = await startBrowser();
  });
  afterAll(() => browser?.close());

  const opened = (running: RunningConsole) => openedPage(browser, running);
  const pathOf = (kind: 'verdict' | 'pod' | 'history') =>
    ({
      verdict: `/verdict?id=${story.spoofing.verdictId.slice(0, 10)}`,
      pod: '/pod?pod=shop/web-0',
      history: '/history?key=spoof.namespace.shop.default&since=all',
    })[kind];

  it('link - opens a session once, and leaves no token in the address', async () => {
    await using running = await startConsole();
    const { page, errors } = await opened(running);
    expect(page.url()).toBe(`${running.origin}/`);
    expect(await page.evaluate('document.cookie')).toBe('');
    // A second browser with the same link.
    const second = await newPage(browser);
    await second.page.goto(running.link);
    await second.page.getByText('This browser has no session').waitFor();
    expect(await textOf(second.page)).not.toContain('web-0');
    // The first one goes on, also on another page.
    await page.goto(running.origin + pathOf('pod'));
    await page.locator('td').getByText('ipv4-source drop').waitFor();
    expect(errors).toEqual([]);
    for (const one of [page, second.page]) await one.context().close();
  });

  it('now - what status, verdicts and responses print; new violations and verdicts appear by themselves', async () => {
    await using running = await startConsole();
    const { page, errors } = await opened(running);
    await page.getByText('payments/vpn-0').first().waitFor();
    // An evidence-log with two witnesses, one of which fails.
    const at0 = new Date().toISOString();
    const failing = { code: 'WITNESS_UNREACHABLE', reason: 'ECONNREFUSED', since: '2026-11-01T00:00:00.000Z' };
    const witness = { name: 'w.example/1', size: 7, cosignedAt: at0 };
    await world.put('bailiff_services', 'evidence-log.one', {
      ...{ service: 'evidence-log', instance: 'one', version: '0.1.0', startedAt: at0, updatedAt: at0 },
      ...{ configRevision: 0, configRefused: [], ready: { ok: true, since: at0, reason: '' }, progress: [] },
      log: {
        ...{ origin: 'bailiff.example/log', keyId: '0a1b2c3d', size: 7, lagMs: 0, missed: 3 },
        witnesses: [witness, { ...witness, name: 'w.example/2', failing }],
      },
    });
    await page.getByText('cosigned by 1 of 2 witnesses').waitFor();
    for (const words of [['status'], ['verdicts'], ['responses'], ['responses', '--pending'], ['top', 'pods']]) {
      // Both read a state that changes.
      const left = async () =>
        missing((await world.cli(words)).stdout, await textOf(page)).filter((cell) => cell !== 'PACKETS, OPERATIONS');
      await waitFor(left, { until: (cells) => cells.length === 0, what: words.join(' '), state: () => textOf(page) });
    }
    expect(await textOf(page), 'of the witness').toContain('w.example/2: has not cosigned for');
    const at = Date.now() * 1000;
    const pod = { ...WEB, uid: uid(77), name: 'fresh-0' };
    await world.frame(NODE_A, [
      violationOf(at, pod, { vector: 'ipv6-source', cumulativePackets: 1_234, count: 8, suppressed: 1_226 }),
    ]);
    await world.verdict({
      verdictId: verdictId(0xdddd),
      rule: 'fresh-rule',
      pod: { ...story.spoofing.pod!, name: 'fresh-0' },
    });
    await page.getByText('fresh-rule').waitFor();
    await page.locator('table[aria-label^="Pods"]').getByText('1234').waitFor();
    await page.locator('.legend').getByText('ipv6-source drop').waitFor();
    expect(errors).toEqual([]);
    await page.context().close();
  });

  it.each([
    ['verdict', () => ['explain', story.spoofing.verdictId]],
    ['pod', () => ['timeline', 'shop/web-0']],
    ['history', () => ['config', 'history', 'spoof.namespace.shop.default']],
  ] as const)('%s - no less than the command of the same name', async (kind, words) => {
    await using running = await startConsole();
    const { page, errors } = await opened(running);
    await page.goto(running.origin + pathOf(kind));
    await page.getByText('Read again').waitFor();
    if (kind === 'pod') await page.getByRole('button', { name: 'All' }).click();
    const { stdout } = await world.cli([...words()]);
    const left = async (text: string) => missing(text, await textOf(page));
    await waitFor(() => left(stdout), { until: (cells) => cells.length === 0, what: words().join(' ') });
    expect(await left(`${stdout}  an absent word`), 'control').toEqual(['an absent word']);
    expect(errors).toEqual([]);
    await page.context().close();
  });

  /** Clicks the button and saves what the browser downloads. */
  async function saved(page: Page, button: string): Promise<{ name: string; file: string }> {
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: button }).click(),
    ]);
    const name = download.suggestedFilename();
    const file = path.join(world.directory, name);
    await download.saveAs(file);
    return { name, file };
  }

  it('verdict - its evidence is a file, with the result that the command prints about it', async () => {
    await using running = await startConsole();
    const { page, errors } = await opened(running);
    await page.goto(running.origin + pathOf('verdict'));
    await page.getByRole('button', { name: 'Make the file and check it' }).click();
    await page.getByRole('heading', { name: 'Checks of the file' }).waitFor();
    const { name, file } = await saved(page, 'Save ');
    expect(name).toBe(`${story.spoofing.verdictId.slice(0, 10)}.evidence`);
    const { stdout, exitCode } = await world.cli(['evidence', 'verify', file]);
    expect(missing(stdout, await textOf(page))).toEqual([]);
    // No correlator judged the story, and the file says so.
    expect([exitCode, stdout]).toEqual([10, expect.stringContaining('NOT genuine')]);
    expect(readFileSync(file, 'utf8')).toContain('"exporter":"bailiff');
    // A changed file: the control.
    writeFileSync(file, readFileSync(file, 'utf8').replace('"stream":"VERDICTS"', '"stream":"RESPONSES"'));
    const changed = (await world.cli(['evidence', 'verify', file])).stdout;
    expect(missing(changed, await textOf(page))).not.toEqual([]);
    const before = readFileSync(file, 'utf8').length;
    await page.getByLabel('without arguments').check();
    await page.getByRole('button', { name: 'Make the file and check it' }).click();
    await page.getByText('left out').first().waitFor();
    expect(readFileSync((await saved(page, 'Save ')).file, 'utf8').length).not.toBe(before);
    expect(await accessibilityFindings(page)).toEqual([]);
    expect(errors).toEqual([]);
    await page.context().close();
  });

  it('pod - its life is a file: the one of the command', async () => {
    await using running = await startConsole();
    const { page, errors } = await opened(running);
    await page.goto(running.origin + pathOf('pod'));
    const { name, file } = await saved(page, 'Save as one HTML file');
    expect(name).toBe('shop-web-0.html');
    const { stdout } = await world.cli(['timeline', 'shop/web-0', '--html', '-']);
    const made = /created [\d :T-]+ UTC/g;
    expect(readFileSync(file, 'utf8').replaceAll(made, '')).toBe(stdout.replaceAll(made, ''));
    expect(errors).toEqual([]);
    await page.context().close();
  });

  it('pages - no refused resource, no finding of axe, no sideways scrolling, in both schemes and widths', async () => {
    await using running = await startConsole();
    const { page, errors } = await opened(running);
    for (const path of ['/', '/verdict', pathOf('verdict'), pathOf('pod'), '/history?since=all']) {
      await page.goto(running.origin + path);
      await page.locator('h2, .change, form').first().waitFor();
      for (const [colorScheme, width] of LOOKS) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 900 });
        const found = await accessibilityFindings(page);
        const wide = await page.evaluate('document.documentElement.scrollWidth > document.documentElement.clientWidth');
        expect([path, colorScheme, width, found, wide, errors]).toEqual([path, colorScheme, width, [], false, []]);
        await screenshot(page, `${new URL(path, running.origin).pathname.slice(1) || 'now'}-${colorScheme}-${width}`);
      }
    }
    // The controls: each check finds what is wrong.
    await page.evaluate(
      `document.querySelector('h2, p').insertAdjacentElement('afterend', document.createElement('img'))`,
    );
    expect(await accessibilityFindings(page)).toEqual([expect.stringMatching(/^image-alt/)]);
    await page.evaluate(
      `{ const s = document.createElement('style'); s.textContent = 'x{}'; document.head.append(s); }`,
    );
    await waitFor(() => errors.some((error) => error.includes('Content Security Policy')), { state: () => errors });
    await page.context().close();
  });

  it('keyboard - pod: the axis zooms and moves by keys, and the address has the range', async () => {
    await using running = await startConsole();
    const { page } = await opened(running);
    await page.goto(running.origin + pathOf('pod'));
    const counter = page.locator('.zoom > .dim');
    await page.getByRole('button', { name: 'All' }).focus();
    await page.keyboard.press('Enter');
    const [, all = ''] = /of (\d+) items/.exec(await readText(counter)) ?? [];
    await page.getByText(`${all} of ${all} items`).waitFor();
    for (const key of ['+', '+', '+', 'ArrowLeft', 'ArrowLeft']) await page.keyboard.press(key);
    await waitFor(async () => Number.parseInt(await readText(counter), 10) < Number(all), {
      state: () => readText(counter),
    });
    // All keys are done when two readings are the same.
    let shown = '';
    const settled = async () => {
      const before = shown;
      shown = await readText(counter);
      return shown === before;
    };
    await waitFor(settled, { intervalMs: 100 });
    expect(page.url()).toMatch(/[?&]from=\d+&to=\d+/);
    await page.goto(page.url());
    expect(await readText(counter)).toBe(shown);
    await page.context().close();
  });

  it('hostile text - of pods, nodes and operators is text on every page', async () => {
    const evil = `\u202e<img src=x onerror="globalThis.taken=true"><script>globalThis.taken=true</script>`;
    const at = Date.now() * 1000;
    const pod = { ...WEB, uid: uid(66), name: 'evil-0' };
    const sequence = await world.frame(NODE_A, [
      violationOf(at, pod, {
        detail: evil,
        vector: 'ipv4-source',
        counterEpoch: 'evil',
        interfaceName: evil.slice(0, 15),
      }),
    ]);
    const verdict = await world.verdict({
      verdictId: verdictId(0xeeee),
      rule: 'hostile',
      reason: evil,
      pod: { ...WEB, ...pod },
      evidence: [{ streamSequence: sequence, index: 0, vector: 'ipv4-source', packets: 1, process: null }],
    });
    await world.response(verdict, { action: 'delete', phase: 'refused', reasonCode: 'protected', reason: evil });
    await world.cli(['config', 'set', 'spoof.namespace.evil.default', 'modes.tunnel=audit', '--yes', '--reason', evil]);
    await world.status(healthyStatus(NODE_B, { collectorVersion: evil }));
    await using running = await startConsole();
    const { page, errors } = await opened(running);
    for (const path of [
      '/',
      `/verdict?id=${verdict.verdictId}`,
      '/pod?pod=shop/evil-0',
      '/history?since=all',
      '/graph',
      `/pod?pod=${evil}`,
    ]) {
      await page.goto(running.origin + path.replace(evil, encodeURIComponent(evil)));
      await page.locator('main').getByText('<img src=x onerror').locator('visible=true').first().waitFor();
      expect(await textOf(page)).toContain('\\u202e');
      expect(await page.locator('main :is(img, script)').count()).toBe(0);
      expect(await page.evaluate('globalThis.taken')).toBe(undefined);
    }
    // What cannot be read as a pod is refused with the status of an error, which the browser reports.
    expect(errors.filter((error) => !error.includes('status of 400'))).toEqual([]);
    // The control: as HTML, without the policy, the same text runs.
    await page.goto('about:blank');
    await page.evaluate((text) => {
      const body = (globalThis as unknown as { document: { body: { innerHTML: string } } }).document.body;
      body.innerHTML = text;
    }, evil);
    await waitFor(() => page.evaluate('globalThis.taken'), { what: 'the script to run' });
    await page.context().close();
  });

  it('frames - another page cannot show the console in itself', async () => {
    await using running = await startConsole();
    const server = createServer((_, response) => {
      response.setHeader('content-type', 'text/html');
      response.end(`<iframe src="${running.origin}/"></iframe><iframe src="/inner"></iframe>`);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { page } = await newPage(browser);
      await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      const framed = () =>
        page
          .frames()
          .slice(1)
          .map((frame) => frame.url());
      await waitFor(() => framed().some((url) => url.endsWith('/inner')), { state: framed, what: 'the control' });
      await waitFor(() => framed().includes('chrome-error://chromewebdata/'), { state: framed, what: 'the refusal' });
      expect(framed()).not.toContain(`${running.origin}/`);
      await page.context().close();
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('the bus restarts - the page says so, and goes on', async () => {
    await using running = await startConsole();
    const { page } = await opened(running);
    await world.nats.kill();
    await page.getByText('The bus is not connected').waitFor();
    await page.getByText('not live').waitFor();
    await world.nats.restart();
    await page.getByText('● live').waitFor();
    await world.verdict({ verdictId: verdictId(0xf001), rule: 'after-the-restart', pod: null });
    await page.getByText('after-the-restart').waitFor();
    await page.context().close();
  });

  it('the console restarts - the page says so, and goes on with the next link, at its address', async () => {
    const first = await startConsole();
    const { page } = await opened(first);
    await first[Symbol.asyncDispose]();
    await page.getByText('The console does not respond').waitFor();
    await using second = await startConsole(Number(new URL(first.origin).port));
    await page.getByText('This browser has no session').waitFor();
    const other = await page.context().newPage();
    await other.goto(second.link);
    await other.getByText('● live').waitFor();
    await page.getByText('What you see below is old').waitFor();
    await page.reload();
    await page.getByText('● live').waitFor();
    expect([page.url(), second.origin === first.origin]).toEqual([`${second.origin}/`, false]);
    await world.verdict({ verdictId: verdictId(0xf002), rule: 'after-the-console', pod: null });
    await page.getByText('after-the-console').waitFor();
    await page.context().close();
  });

  it('tabs - many open ones leave connections for the one that is shown', async () => {
    await using running = await startConsole();
    const { page } = await opened(running);
    const context = page.context();
    // Headless, all tabs count as shown.
    await context.addInitScript(
      `Object.defineProperty(document, 'hidden', { get: () => globalThis.isHidden === true })`,
    );
    // A browser opens six connections to a host.
    for (let n = 0; n < 8; n += 1) {
      const tab = await context.newPage();
      await tab.goto(running.origin + pathOf('verdict'));
      await tab.getByText('● connected').waitFor();
      await tab.getByText('Read again').waitFor();
      await tab.getByText(/^Read at [\d:]{8} UTC\. This page does not update by itself\.$/).waitFor();
      await tab.evaluate(`globalThis.isHidden = true; document.dispatchEvent(new Event('visibilitychange'))`);
      await tab.getByText('not connected').waitFor({ state: 'attached' });
    }
    const [, shown] = context.pages();
    await shown?.evaluate(`globalThis.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))`);
    await shown?.getByText('● connected').waitFor();
    await context.close();
  });

  it('3,000 pods violate - the page counts all of them, and stays small', async () => {
    const at = Date.now() * 1000;
    for (let first = 0; first < 3_000; first += 60) {
      const pods = Array.from({ length: 60 }, (_, n) => ({
        ...WEB,
        uid: uid(10_000 + first + n),
        namespace: `ns-${n}`,
        name: `pod-${first + n}`,
      }));
      await world.frame(
        NODE_A,
        pods.map((pod) => violationOf(at, pod, { vector: 'ipv6-source' })),
      );
    }
    await using running = await startConsole();
    const { page, errors } = await opened(running);
    const tile = page.locator('.number', { hasText: 'pods violate' });
    await waitFor(async () => Number.parseInt(await readText(tile), 10) >= 3_000, { state: () => readText(tile) });
    const elements = await page.evaluate('document.querySelectorAll("*").length');
    expect(elements).toBeLessThan(1_500);
    expect(errors).toEqual([]);
    await page.context().close();
  });
});
