/**
 * The console with a million violations of 20,000 pods on 1,000 nodes, then with a flood, and then under a
 * small load: when its page is useful, how long its server does not respond, how long an event needs from
 * its publication until the page has it, and what both hold in memory.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ensureTopology, FramePublisher, violationSubject } from '@bailiff/bus';
import { startNats, testUsers } from '@bailiff/bus/testing';
import type { NowView } from '@bailiff/console';
import { encodeViolationFrame } from '@bailiff/schemas';
import { pause } from '@bailiff/service/retry';
import { waitFor } from '@bailiff/service/testing';
import type { Page } from 'playwright-core';
import { pageFiles } from '../../apps/console/src/server/page.ts';
import { nodeFlagsOf } from '../../tools/node-flags.ts';
import { lookup } from '../cluster/console/rig.ts';
import { startBrowser } from '../support/browser.ts';
import { launch } from '../support/process.ts';
import { cpuSeconds, residentMb } from './app-process.ts';
import { Markers, WATCH } from './console-markers.ts';
import { fill, framesOf, makeNodes, type Node } from './correlator-throughput.ts';
import { fixed, quantile, type Section, thousands } from './report.ts';

const VIOLATIONS = Number(process.env['BAILIFF_CONSOLE_VIOLATIONS'] ?? 1_000_000);
const PODS = 20_000;
const PODS_PER_NODE = 20;
const FLOOD_MS = 30_000;
const PROBE_MS = 25;
const MARKER_MS = 100;
/** Every so many markers, a verdict. */
const VERDICT_EVERY = 5;
/** Minutes of a small load after the flood, with the same page. */
const QUIET_MINUTES = Number(process.env['BAILIFF_CONSOLE_MINUTES'] ?? 1);
/** Frames of other pods a second then. */
const QUIET_FRAMES = 4;
/** Views of an hour. */
const VIEWS = 3_600;
const LAUNCH = ['--import', 'tsx', path.resolve(import.meta.dirname, '../../apps/cli/src/main.ts')];

/** The longest time in which the server did not respond. */
function probe(origin: string): { worstMs: () => number; stop: () => void } {
  let worst = 0;
  let isAsking = false;
  const timer = setInterval(() => {
    if (isAsking) return;
    isAsking = true;
    const began = performance.now();
    get(`${origin}/icon.svg`, { agent: false, lookup }, (response) => {
      response.resume().on('end', () => {
        worst = Math.max(worst, performance.now() - began);
        isAsking = false;
      });
    }).on('error', () => {
      isAsking = false;
    });
  }, PROBE_MS);
  return {
    worstMs: () => {
      const was = worst;
      worst = 0;
      return was;
    },
    stop: () => clearInterval(timer),
  };
}

/** A flood until the returned function is called, which returns the violations. */
async function flood(natsUrl: string): Promise<() => Promise<number>> {
  const script = path.resolve(import.meta.dirname, 'console-flood.ts');
  const child = fork(script, [natsUrl, String(PODS), String(PODS_PER_NODE)], { execArgv: ['--import', 'tsx'] });
  await once(child, 'spawn');
  return async () => {
    const ended = once(child, 'message');
    child.send('stop');
    return Number((await ended)[0]);
  };
}

const spread = (ms: readonly number[]): string =>
  ms.length === 0
    ? 'none'
    : `${[0.5, 0.99].map((part) => thousands(quantile(ms, part))).join(' · ')} · ${thousands(Math.max(...ms))} ms`;

/** MB of the page's heap after garbage collection. */
async function heapOf(page: Page): Promise<() => Promise<number>> {
  const cdp = await page.context().newCDPSession(page);
  return async () => {
    await cdp.send('HeapProfiler.collectGarbage');
    const { usedSize } = await cdp.send('Runtime.getHeapUsage');
    return usedSize / 1e6;
  };
}

const memoryText = (mb: readonly number[]): string =>
  `${fixed(mb[0] ?? 0)} · ${fixed(Math.max(...mb))} · ${fixed(mb.at(-1) ?? 0)} MB`;

/** An hour of views, as fast as the page takes them. @returns MB of the page's heap before and after */
async function hourOfViews(view: NowView): Promise<[number, number]> {
  const files = pageFiles();
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    if (pathname === '/api/session') return void response.end('{"kind":"proxy"}');
    if (pathname !== '/api/now') {
      const name = pathname === '/' ? '/index.html' : pathname;
      const type = name.endsWith('.js') ? 'text/javascript' : name.endsWith('.css') ? 'text/css' : 'text/html';
      response.writeHead(200, { 'content-type': type });
      return void response.end(files[name] ?? '');
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    void (async () => {
      for (let n = 0; n < VIEWS && !response.destroyed; n += 1) {
        const nowMs = view.nowMs + 1_000 * n;
        const attackers = view.live.attackers.map((one, index) => ({
          ...one,
          count: one.count + n * index,
          uid: `${one.uid}${n % 50}`,
        }));
        const text = `data: ${JSON.stringify({ ...view, nowMs, live: { ...view.live, attackers } })}\n\n`;
        if (!response.write(text)) await new Promise((resolve) => response.once('drain', resolve));
        // The page draws each of them.
        await pause(4);
      }
      response.write(
        `data: ${JSON.stringify({ ...view, status: { ...view.status, summary: 'the hour is over' } })}\n\n`,
      );
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const browser = await startBrowser();
  try {
    const page = await browser.newPage();
    const heapMb = await heapOf(page);
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    await page.getByText('● live').waitFor();
    const before = await heapMb();
    await page.getByText('the hour is over').waitFor({ timeout: 600_000 });
    return [before, await heapMb()];
  } finally {
    await browser.close();
    server.closeAllConnections();
    server.close();
  }
}

export async function bench(): Promise<Section> {
  await using nats = await startNats({ users: testUsers([]) });
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-console-'));
  const passwordFile = path.join(directory, 'password');
  writeFileSync(passwordFile, 'password-of-cli', { mode: 0o600 });
  const bus = await nats.connect('admin');
  await ensureTopology(bus);
  const nodes = makeNodes(PODS, PODS_PER_NODE);
  await fill(bus, nodes, VIOLATIONS);
  console.error('filled');
  const browser = await startBrowser();
  const args = ['console', '--port', '0', '--nats-url', nats.url, '--nats-password-file', passwordFile];
  let memory: NodeJS.Timeout | undefined;
  let stopProbe = () => {};
  await using server = launch(process.execPath, [...nodeFlagsOf('cli'), ...LAUNCH, ...args]);
  try {
    await server.printed('#token=', 120_000);
    const link = server.stdout().trim();
    const { origin } = new URL(link);
    const { worstMs, stop } = probe(origin);
    stopProbe = stop;
    const startedMs = performance.now();
    const page = await browser.newPage();
    await page.goto(link);
    await page.locator('.answer h1').waitFor({ timeout: 120_000 });
    // Since the page was asked for.
    const paintMs = await page.evaluate<number>('performance.now()');
    console.error(`useful paint after ${paintMs} ms`);
    const key = await page.evaluate<string>('localStorage.getItem("bailiff-key")');
    const [cookie] = await page.context().cookies(`${origin}/api/`);
    /** The newest view of a stream of our own. */
    let view: NowView | null = null;
    let rest = '';
    get(
      `${origin}/api/now`,
      { agent: false, lookup, headers: { cookie: `${cookie?.name}=${cookie?.value}`, 'x-bailiff-key': key } },
      (response) =>
        response.setEncoding('utf8').on('data', (chunk: string) => {
          const events = (rest + chunk).split('\n\n');
          rest = events.pop() ?? '';
          const last = events.findLast((event) => event.startsWith('data: '));
          if (last === undefined) return;
          view = JSON.parse(last.slice(6)) as NowView;
        }),
    ).on('error', () => {});
    const seen = () => view as NowView | null;
    let largest = 0;
    memory = setInterval(() => {
      largest = Math.max(largest, residentMb(server.pid));
    }, 250);
    await waitFor(() => seen()?.live.complete === true, { timeoutMs: 600_000, what: 'the count' });
    const countedMs = performance.now() - startedMs;
    console.error(`counted after ${countedMs} ms`);
    const total = seen()?.live.rates.total ?? 0;
    const blockedMs = worstMs();
    const rssMb = residentMb(server.pid);

    const endFlood = await flood(nats.url);
    const floodStartMs = performance.now();
    const cpuBefore = [server.pid, nats.pid].map(cpuSeconds);
    const marker = nodes.at(-1) as Node;
    await page.evaluate(WATCH(marker.pods[0]?.name ?? ''));
    const markers = new Markers(bus, marker);
    let sent = 0;
    try {
      for (let n = 1; performance.now() - floodStartMs < FLOOD_MS; n += 1) {
        await pause(MARKER_MS);
        await markers.publish(n % VERDICT_EVERY === 0);
      }
    } finally {
      sent = await endFlood();
    }
    const floodMs = performance.now() - floodStartMs;
    const floodBlockedMs = worstMs();
    const [serverCpu = 0, natsCpu = 0] = [server.pid, nats.pid].map(
      (pid, index) => cpuSeconds(pid) - (cpuBefore[index] ?? 0),
    );
    const notes = seen()?.live.notes.join(' ') ?? '';
    const late = await markers.late(page);
    console.error('flooded', spread(late.countsMs), spread(late.verdictsMs), late.missing, serverCpu, natsCpu);
    const heapMb = await heapOf(page);
    const [quietHeap, quietRss] = [[await heapMb()], [residentMb(server.pid)]];
    const quiet = { countsMs: [] as number[], verdictsMs: [] as number[], missing: 0 };
    const others = framesOf(nodes.slice(0, -1), Number.POSITIVE_INFINITY);
    const publisher = new FramePublisher(bus);
    for (let minute = 1; minute <= QUIET_MINUTES; minute += 1) {
      for (const untilMs = performance.now() + 60_000, begun = minute; performance.now() < untilMs; ) {
        for (let n = 0; n < QUIET_FRAMES; n += 1) {
          const frame = others.next().value;
          if (!frame) throw new Error('no frame');
          const payload = encodeViolationFrame(frame);
          const msgId = `quiet-${begun}-${frame.nodeName}-${frame.frameSequence}`;
          await publisher.publish(violationSubject(frame.nodeName, 'spoof'), payload, { msgId });
        }
        await markers.publish(true);
        await pause(1_000);
      }
      const some = await markers.late(page);
      quiet.countsMs.push(...some.countsMs);
      quiet.verdictsMs.push(...some.verdictsMs);
      quiet.missing += some.missing;
      quietHeap.push(await heapMb());
      quietRss.push(residentMb(server.pid));
      console.error(
        'quiet',
        minute,
        spread(some.countsMs),
        spread(some.verdictsMs),
        some.missing,
        quietHeap.at(-1),
        quietRss.at(-1),
      );
    }
    publisher.close();
    markers.close();
    await page.close();
    const [beforeMb, afterMb] = await hourOfViews(seen() as NowView);
    const rows = [
      ['first useful paint', `${thousands(paintMs)} ms`],
      ['all counted', `${fixed(countedMs / 1000)} s (${thousands(total)} packets)`],
      ['longest wait for a response meanwhile', `${thousands(blockedMs)} ms`],
      ['memory of the server, counted', `${thousands(rssMb)} MB`],
      ['flood stored by the bus', `${thousands(sent / (floodMs / 1000))} violations/s for ${fixed(floodMs / 1000)} s`],
      ['count of a pod in the page after its publication, p50 · p99 · worst', spread(late.countsMs)],
      ['verdict in the page after its publication, p50 · p99 · worst', spread(late.verdictsMs)],
      ['not in the page by the end of the flood', thousands(late.missing)],
      ['processor time of the console and of the bus', `${fixed(serverCpu)} s · ${fixed(natsCpu)} s`],
      ['longest wait for a response meanwhile', `${thousands(floodBlockedMs)} ms`],
      ['memory of the server, largest', `${thousands(largest)} MB`],
      [`count, then ${thousands(QUIET_MINUTES)} min of a small load`, spread(quiet.countsMs)],
      ['verdict meanwhile', spread(quiet.verdictsMs)],
      ['not in the page by the end of a minute', thousands(quiet.missing)],
      ['heap of this page, after the flood · largest · at the end', memoryText(quietHeap)],
      ['memory of the server, after the flood · largest · at the end', memoryText(quietRss)],
      [
        `heap of the page, first view · after ${thousands(VIEWS)} views`,
        `${fixed(beforeMb)} MB · ${fixed(afterMb)} MB`,
      ],
    ];
    return {
      title: 'Console',
      method: `A stream with ${thousands(VIOLATIONS)} violations of ${thousands(PODS)} pods on ${thousands(PODS / PODS_PER_NODE)} nodes, and \`bailiff console\` in Chromium. Then a flood as fast as the bus stores it. The page said about it: ${notes || 'nothing is skipped'}`,
      header: ['', 'measured'],
      rows,
      budgets: [],
    };
  } finally {
    clearInterval(memory);
    stopProbe();
    await browser.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
