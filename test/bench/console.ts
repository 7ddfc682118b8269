/**
 * The console with a million violations of 20,000 pods on 1,000 nodes, then with a flood: when its page is
 * useful, how long its server does not respond, how late an update is, and what both hold in memory.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Bus, ensureTopology, FramePublisher, violationSubject } from '@bailiff/bus';
import { startNats, testUsers } from '@bailiff/bus/testing';
import type { NowView } from '@bailiff/console';
import { encodeViolationFrame } from '@bailiff/schemas';
import { pause } from '@bailiff/service/retry';
import { waitFor } from '@bailiff/service/testing';
import { pageFiles } from '../../apps/console/src/server/page.ts';
import { nodeFlagsOf } from '../../tools/node-flags.ts';
import { startBrowser } from '../support/browser.ts';
import { launch } from '../support/process.ts';
import { residentMb } from './app-process.ts';
import { fill, framesOf, makeNodes, type Node } from './correlator-throughput.ts';
import { fixed, quantile, type Section, thousands } from './report.ts';

const VIOLATIONS = Number(process.env['BAILIFF_CONSOLE_VIOLATIONS'] ?? 1_000_000);
const PODS = 20_000;
const PODS_PER_NODE = 20;
const FLOOD_MS = 30_000;
const PROBE_MS = 25;
const MARKER_MS = 100;
/** More than any other pod has. */
const MARKER_PACKETS = 1_000_000;
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
    get(`${origin}/icon.svg`, { agent: false }, (response) => {
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

/** Publishes as fast as the bus stores, until the signal. @returns violations */
async function flood(bus: Bus, nodes: readonly Node[], signal: AbortSignal): Promise<number> {
  const publisher = new FramePublisher(bus, { maxInFlight: 512 });
  let sent = 0;
  for (const frame of framesOf(nodes, Number.POSITIVE_INFINITY)) {
    if (signal.aborted) break;
    if (publisher.capacity === 0) await publisher.whenCapacity();
    const { nodeName, violations } = frame;
    sent += violations.length;
    void publisher.publish(violationSubject(nodeName, 'spoof'), encodeViolationFrame(frame), {
      msgId: `flood-${sent}`,
    });
  }
  await publisher.whenFlushed();
  publisher.close();
  return sent;
}

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
    const cdp = await page.context().newCDPSession(page);
    const heapMb = async () => {
      await cdp.send('HeapProfiler.collectGarbage');
      const { usedSize } = await cdp.send('Runtime.getHeapUsage');
      return usedSize / 1e6;
    };
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
    let onView = (_view: NowView): void => {};
    get(
      `${origin}/api/now`,
      { agent: false, headers: { cookie: `${cookie?.name}=${cookie?.value}`, 'x-bailiff-key': key } },
      (response) =>
        response.setEncoding('utf8').on('data', (chunk: string) => {
          const events = (rest + chunk).split('\n\n');
          rest = events.pop() ?? '';
          const last = events.findLast((event) => event.startsWith('data: '));
          if (last === undefined) return;
          view = JSON.parse(last.slice(6)) as NowView;
          onView(view);
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

    const end = new AbortController();
    const flooding = flood(bus, nodes.slice(0, -1), end.signal);
    const floodStartMs = performance.now();
    // A pod that goes on violating: how old is the count that the page shows?
    const marker = nodes.at(-1) as Node;
    const pod = marker.pods[0] as Node['pods'][0];
    const published: { total: number; atMs: number }[] = [];
    const lateMs: number[] = [];
    let sent = 0;
    onView = ({ live }) => {
      const shown = live.attackers.find(({ uid }) => uid === pod.uid)?.count ?? 0;
      const missing = published.find(({ total }) => total > shown);
      if (published.length > 0) lateMs.push(missing ? performance.now() - missing.atMs : 0);
    };
    const publisher = new FramePublisher(bus);
    try {
      for (let n = 1; performance.now() - floodStartMs < FLOOD_MS; n += 1) {
        await pause(MARKER_MS);
        marker.collector.spoof(pod, MARKER_PACKETS);
        const frame = marker.collector.flush(Date.now() * 1000);
        if (!frame) throw new Error('no frame');
        published.push({ total: n * MARKER_PACKETS, atMs: performance.now() });
        const payload = encodeViolationFrame(frame);
        await publisher.publish(violationSubject(frame.nodeName, 'spoof'), payload, { msgId: `marker-${n}` });
      }
    } finally {
      end.abort();
      sent = await flooding;
      publisher.close();
    }
    const floodMs = performance.now() - floodStartMs;
    const floodBlockedMs = worstMs();
    const notes = seen()?.live.notes.join(' ') ?? '';
    await page.close();
    const [beforeMb, afterMb] = await hourOfViews(seen() as NowView);
    const rows = [
      ['first useful paint', `${thousands(paintMs)} ms`],
      ['all counted', `${fixed(countedMs / 1000)} s (${thousands(total)} packets)`],
      ['longest wait for a response meanwhile', `${thousands(blockedMs)} ms`],
      ['memory of the server, counted', `${thousands(rssMb)} MB`],
      ['flood stored by the bus', `${thousands(sent / (floodMs / 1000))} violations/s for ${fixed(floodMs / 1000)} s`],
      [
        'age of what a view lacks, p50 · worst',
        `${thousands(quantile(lateMs, 0.5))} ms · ${thousands(Math.max(...lateMs))} ms`,
      ],
      ['longest wait for a response meanwhile', `${thousands(floodBlockedMs)} ms`],
      ['memory of the server, largest', `${thousands(largest)} MB`],
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
