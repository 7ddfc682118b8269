import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Counter } from 'prom-client';
import { describe, expect, test, vi } from 'vitest';
import * as z from 'zod';
import { ServiceError } from './errors.ts';
import { UNSAFE } from './printable.ts';
import { endAfterLinger } from './process-io.ts';
import { runService, type ServiceContext } from './run.ts';
import { captureIo, ManualClock, waitFor } from './testing.ts';

const schema = z.strictObject({ limit: z.number().default(3).describe('how many'), secret: z.string().default('') });
type Ctx = ServiceContext<z.output<typeof schema> & { metricsAddress: string; stopTimeoutMs: number }>;

function launch(start: (ctx: Ctx) => void | Promise<void>, argv: string[] = [], env: Record<string, string> = {}) {
  const captured = captureIo(env);
  let context: Ctx | undefined;
  const exit = runService({
    name: 'demo',
    argv,
    schema,
    description: 'a demonstration',
    io: captured.io,
    start: (ctx) => {
      context = ctx as Ctx;
      return start(context);
    },
  });
  const messages = () => captured.logLines().map((line) => line.msg);
  return { ...captured, exit, messages, ctx: () => context as Ctx };
}

describe('service - way down', () => {
  test('service - SIGTERM stops intake first, then steps last in first out, and exits 0', async () => {
    const order: string[] = [];
    const run = launch((ctx) => {
      ctx.onStop('connection', () => void order.push(`connection aborted=${ctx.signal.aborted}`));
      ctx.onStop('publisher', async () => {
        const ready = await fetch(`http://${ctx.probeAddress}/readyz`);
        order.push(`publisher ready=${ready.status}`);
      });
      ctx.signal.addEventListener('abort', () => order.push('intake'));
    });
    await waitFor(() => run.messages().includes('ready'), { state: run.logLines });
    run.signal();
    expect(await run.exit).toBe(0);
    expect(order).toEqual(['intake', 'publisher ready=503', 'connection aborted=true']);
    expect(run.listening()).toBe(false);
    expect(run.ctx().health.failed).toBe(false);
  });
  test('service - a hanging step is skipped, the others run, and the exit code reports it', async () => {
    const order: string[] = [];
    const run = launch(
      (ctx) => {
        ctx.onStop('last', () => void order.push('last'));
        ctx.onStop('throws', () => {
          throw new Error('boom');
        });
        ctx.onStop('hangs', () => new Promise(() => {}));
      },
      ['--stop-timeout-ms', '100'],
    );
    await waitFor(() => run.messages().includes('ready'));
    run.signal();
    expect(await run.exit).toBe(1);
    expect(order).toEqual(['last']);
    expect(run.logLines().filter((line) => line.msg === 'stop step failed')).toHaveLength(2);
  });
  test('service - a second signal ends the waiting but skips no step', async () => {
    const order: string[] = [];
    const run = launch((ctx) => {
      ctx.onStop('flush', () => void order.push('flush'));
      ctx.onStop('hangs', () => new Promise(() => {}));
    });
    await waitFor(() => run.messages().includes('ready'));
    run.signal('SIGINT');
    run.signal('SIGINT');
    expect(await run.exit).toBe(1);
    expect(order).toEqual(['flush']);
  });
  test('service - a signal during start waits for it and still undoes what it did', async () => {
    const order: string[] = [];
    const run = launch(async (ctx) => {
      await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve));
      ctx.onStop('late', () => void order.push('late'));
    });
    await waitFor(() => run.ctx());
    run.signal();
    expect(await run.exit).toBe(0);
    expect(order).toEqual(['late']);
  });
});

describe('service - stopped while it starts', () => {
  test.each<[string, (ctx: Ctx) => Error]>([
    ['the reason of its signal', (ctx) => ctx.signal.reason as Error],
    ['what became of what was under way', () => Object.assign(new Error('no server'), { code: 'BUS_UNREACHABLE' })],
  ])('service - a start that ends with %s is no failure', async (_, errorOf) => {
    const run = launch(async (ctx) => {
      await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve));
      throw errorOf(ctx);
    });
    await waitFor(() => run.ctx());
    run.signal();
    expect(await run.exit).toBe(0);
    expect(JSON.stringify(run.logLines())).not.toContain('"stack"');
  });
});

describe('service - exit codes', () => {
  test.each<[string, Error, number]>([
    ['a bug', new TypeError('x'), 1],
    ['kernel lacks a feature', new ServiceError('SERVICE_KERNEL', 'no tcx'), 3],
    ['missing privilege', new ServiceError('SERVICE_PRIVILEGE', 'needs CAP_BPF'), 4],
    ['bad configuration', new ServiceError('SERVICE_CONFIG', 'x'), 6],
    ['dependency unreachable', Object.assign(new Error('x'), { code: 'BUS_UNREACHABLE' }), 7],
  ])('service - start fails with %s', async (_, error, code) => {
    const undone: string[] = [];
    const run = launch(async (ctx) => {
      ctx.onStop('first', () => void undone.push('first'));
      throw error;
    });
    expect(await run.exit).toBe(code);
    expect(undone).toEqual(['first']);
    expect(run.messages()).not.toContain('ready');
  });
  test('service - fail later ends it in the ordinary way', async () => {
    const run = launch(() => {});
    await waitFor(() => run.messages().includes('ready'));
    run.ctx().fail(new ServiceError('SERVICE_DEPENDENCY', 'gone for good'));
    expect(await run.exit).toBe(7);
    expect(run.ctx().health.failed).toBe(true);
  });
  test('service - a listen address in use is a configuration error that names the key', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    const run = launch(() => {}, ['--metrics-address', `127.0.0.1:${port}`]);
    expect(await run.exit).toBe(6);
    expect(run.logLines().some((line) => JSON.stringify(line).includes('metricsAddress'))).toBe(true);
    taken.close();
  });
});

describe('service - command line', () => {
  test('service - check-config prints ok, or the invalid field and its source', async () => {
    const good = launch(() => {}, ['--check-config']);
    expect(await good.exit).toBe(0);
    expect(good.stdout()).toContain('ok');
    expect(good.ctx()).toBeUndefined();
    const bad = launch(() => {}, ['--check-config'], { BAILIFF_DEMO_LIMIT: 'x' });
    expect(await bad.exit).toBe(6);
    expect(bad.stderr()).toMatch(/limit: .*BAILIFF_DEMO_LIMIT/);
    const flag = launch(() => {}, ['--frob', '1']);
    expect(await flag.exit).toBe(2);
    expect(flag.stderr()).toContain('--frob');
  });
  test('service - print-config hides secrets and starts nothing', async () => {
    const run = launch(() => {}, ['--print-config', '--secret', 'hunter2', '--limit', '9']);
    expect(await run.exit).toBe(0);
    expect(run.stdout()).not.toContain('hunter2');
    expect(JSON.parse(run.stdout())).toMatchObject({ limit: 9, secret: '[redacted]' });
    expect(run.ctx()).toBeUndefined();
  });
  test('service - help names every key with default and description', async () => {
    const run = launch(() => {}, ['--help']);
    expect(await run.exit).toBe(0);
    expect(run.stdout()).toMatch(/--limit <number>\s+how many \[3\]/);
    expect(run.stdout()).toContain('--metrics-address');
  });
  test.each([
    ['yaml', 'limit: 4\n', 4],
    ['json', '{"limit": 5}', 5],
    ['empty', '', 3],
  ])('service - config file in %s', async (_, text, limit) => {
    const dir = await mkdtemp(path.join(tmpdir(), 'bailiff-service-'));
    const file = path.join(dir, 'c');
    await writeFile(file, text);
    const run = launch(() => {}, ['--config', file, '--print-config']);
    expect(await run.exit).toBe(0);
    expect(JSON.parse(run.stdout()).limit).toBe(limit);
    await rm(dir, { recursive: true });
  });
  test('service - a config file that is missing or broken exits 6 and names it', async () => {
    const run = launch(() => {}, ['--config', '/proc/nonexistent/c.yaml']);
    expect(await run.exit).toBe(6);
    expect(run.stderr()).toContain('/proc/nonexistent/c.yaml');
  });
});

test('service - metrics at one address, health with reasons at another, nothing else', async () => {
  let ready: boolean | string = 'waiting for the bus';
  const run = launch((ctx) => {
    new Counter({ name: 'demo_total', help: 'x', registers: [ctx.metrics] }).inc(2);
    ctx.health.ready('bus', () => ready);
    ctx.health.live('loop', () => {
      throw new Error('stuck');
    });
  });
  const get = async (url: string, method = 'GET') => {
    const { metricsAddress, probeAddress } = run.ctx();
    const response = await fetch(`http://${url.endsWith('z') ? probeAddress : metricsAddress}${url}`, { method });
    return { status: response.status, text: await response.text() };
  };
  await waitFor(() => run.ctx()?.metricsAddress);
  expect(await get('/readyz')).toEqual({ status: 503, text: '{"ok":false,"checks":{"bus":"waiting for the bus"}}\n' });
  expect(run.messages()).not.toContain('ready');
  expect(await get('/healthz')).toMatchObject({ status: 503, text: expect.stringContaining('stuck') });
  const { text } = await get('/metrics');
  expect(text).toContain('demo_total 2');
  expect(text).toContain('process_resident_memory_bytes');
  expect(text).toContain('bailiff_http_connections_closed_total{listener="probes",reason="source-share"} 0');
  expect((await get('/other')).status).toBe(404);
  expect((await fetch(`http://${run.ctx().metricsAddress}/healthz`)).status).toBe(404);
  expect((await fetch(`http://${run.ctx().probeAddress}/metrics`)).status).toBe(404);
  expect((await get('/metrics', 'POST')).status).toBe(405);
  ready = true;
  await waitFor(() => run.messages().includes('ready'));
  expect((await get('/readyz')).status).toBe(200);
  expect(run.logLines().find((line) => line.msg === 'ready')?.metricsAddress).toBe(run.ctx().metricsAddress);
  run.signal();
  expect(await run.exit).toBe(0);
});

test('service - not ready during the start, regardless of the checks added so far', async () => {
  let up = () => {};
  const run = launch((ctx) => {
    ctx.health.ready('bus', () => true);
    return new Promise<void>((resolve) => {
      up = resolve;
    });
  });
  await waitFor(() => run.ctx()?.metricsAddress);
  const ready = async () => {
    const response = await fetch(`http://${run.ctx().probeAddress}/readyz`);
    return [response.status, await response.json()];
  };
  expect(await ready()).toEqual([503, { ok: false, checks: { bus: 'ok', start: 'under way' } }]);
  up();
  await waitFor(() => run.messages().includes('ready'));
  expect(await ready()).toEqual([200, { ok: true, checks: { bus: 'ok' } }]);
  run.signal();
  expect(await run.exit).toBe(0);
});

test('service - a log line holds no character that a terminal obeys or hides, and is the same JSON', async () => {
  const hostile = 'pod \u001b[2J\u007f\u009b31m\u202egnp\u200b\u{e0041}\u2028\u3164\u2800\ufe0f\nforged';
  const run = launch((ctx) => {
    ctx.log.info({ pod: hostile, [hostile]: { deep: [hostile] }, err: new Error(hostile) }, hostile);
    ctx.log.child({ node: hostile }).warn('from a child');
  });
  await waitFor(() => run.messages().includes('ready'), { state: run.logLines });
  run.signal();
  expect(await run.exit).toBe(0);
  const raw = [...run.logText().matchAll(UNSAFE)].map(([character]) => character);
  expect(raw.every((character) => character === '\n')).toBe(true);
  // As many line breaks as log lines: none was injected.
  expect(raw).toHaveLength(run.logLines().length);
  expect(run.logLines().find(({ msg }) => msg === hostile)).toMatchObject({
    pod: hostile,
    [hostile]: { deep: [hostile] },
  });
  expect(run.logLines().find(({ msg }) => msg === 'from a child')).toMatchObject({ node: hostile });
});

const FIXTURE = `
import { runService } from ${JSON.stringify(path.join(import.meta.dirname, 'run.ts'))};
import { open } from 'node:fs';
import path from 'node:path';
import * as z from 'zod';
process.exitCode = await runService({
  name: 'fixture', argv: process.argv.slice(2), schema: z.strictObject({ mode: z.string().default('wait') }),
  start(ctx) {
    ctx.onStop('flush', () => ctx.log.info('flushed'));
    if (ctx.config.mode === 'reject') setTimeout(() => Promise.reject(new Error('uncaught in test')), 10);
    if (ctx.config.mode === 'linger') setInterval(() => {}, 1000);
    // Nobody writes to it, so the open waits, as a look-up of a name does without a name server.
    if (ctx.config.mode === 'thread') open(path.join(import.meta.dirname, 'fifo'), () => undefined);
    // After the first line has met a closed stdout.
    if (ctx.config.mode === 'fail') ctx.onStop('fail', () => ctx.clock.sleep(200).then(() => ctx.fail(new Error('late'))));
    if (ctx.config.mode === 'flood') for (let i = 0; i < 2_000; i++) ctx.log.info('x'.repeat(1_000));
  },
});`;

describe('service - as a real process', () => {
  async function runFixture(mode: string, signal: NodeJS.Signals | null) {
    const dir = await mkdtemp(path.join(import.meta.dirname, '../.fixture-'));
    const file = path.join(dir, 'main.ts');
    await writeFile(file, FIXTURE);
    try {
      const child = spawn(process.execPath, ['--import', 'tsx', file, '--mode', mode]);
      let out = '';
      child.stdout.on('data', (chunk) => {
        out += chunk;
      });
      // After all output is read.
      const exit = once(child, 'close');
      if (signal) {
        await waitFor(() => out.includes('"ready"'), { state: () => out });
        child.kill(signal);
      }
      const [code] = await exit;
      return { code, out };
    } finally {
      await rm(dir, { recursive: true });
    }
  }
  test('service - SIGTERM flushes and exits 0, even with something keeping the loop alive', async () => {
    const { code, out } = await runFixture('linger', 'SIGTERM');
    expect(code).toBe(0);
    expect(out).toMatch(/flushed[\s\S]*stopped/);
  });
  /** Ends with SIGTERM a fixture whose stdout has no reader any more, or one that does not read. */
  async function endUnread(mode: string, hasReader: boolean) {
    const dir = await mkdtemp(path.join(import.meta.dirname, '../.fixture-'));
    const file = path.join(dir, 'main.ts');
    await writeFile(file, FIXTURE);
    execFileSync('mkfifo', [path.join(dir, 'fifo')]);
    const child = spawn(process.execPath, ['--import', 'tsx', file, '--mode', mode]);
    try {
      await once(child.stdout, 'readable');
      if (!hasReader) child.stdout.destroy();
      child.kill('SIGTERM');
      await waitFor(() => child.exitCode !== null || child.signalCode !== null, { what: 'its end' });
      return [child.exitCode, child.signalCode];
    } finally {
      child.kill('SIGKILL');
      await rm(dir, { recursive: true });
    }
  }
  test('service - SIGTERM ends a process whose stdout is closed, also while it fails', async () => {
    expect(await endUnread('wait', false)).toEqual([0, null]);
    expect(await endUnread('fail', false)).toEqual([1, null]);
  });
  test('service - SIGTERM ends a process whose stdout nobody reads', async () => {
    // With 2 MB of lines, which a pipe does not hold. A blocked thread needs SIGKILL.
    expect([0, null]).toContain((await endUnread('flood', true))[0]);
    expect(await endUnread('wait', true)).toEqual([0, null]);
  });
  test('service - SIGTERM ends a process with a blocked thread, for which process.exit waits', async () => {
    expect(await endUnread('thread', true)).toEqual([null, 'SIGKILL']);
    expect(await endUnread('linger', true)).toEqual([0, null]);
  });
  test('service - the end waits for a thread that is only slow, and not for ever for one that is blocked', () => {
    vi.useFakeTimers();
    const ended: (string | number)[] = [];
    vi.spyOn(process, 'exit').mockImplementation((code) => void ended.push(Number(code)) as never);
    vi.spyOn(process, 'kill').mockImplementation((_, signal) => {
      ended.push(signal ?? '');
      return true;
    });
    const active = vi.spyOn(process, 'getActiveResourcesInfo').mockReturnValue(['FSReqCallback']);
    try {
      endAfterLinger(0);
      vi.advanceTimersByTime(1_000);
      expect(ended).toEqual([]);
      active.mockReturnValue(['TCPSocketWrap']);
      vi.advanceTimersByTime(500);
      expect(ended).toEqual([0]);
      active.mockReturnValue(['FSReqCallback']);
      endAfterLinger(0);
      vi.advanceTimersByTime(60_000);
      expect(ended.slice(1)).toEqual(['SIGKILL', 0]);
    } finally {
      vi.useRealTimers();
    }
  });
  test('service - an unhandled rejection is a bug: steps run, exit code 1', async () => {
    const { code, out } = await runFixture('reject', null);
    expect(code).toBe(1);
    expect(out).toContain('uncaught in test');
    expect(out).toContain('flushed');
  });
});

test('clock - a manual clock fires in order, repeats, and steps wall time alone', async () => {
  const clock = new ManualClock(1000);
  const seen: string[] = [];
  clock.setTimer(() => seen.push('b'), 20);
  clock.setTimer(() => seen.push('a'), 10);
  const stop = clock.setRepeating(() => seen.push('r'), 15);
  const slept = clock.sleep(30).then(() => seen.push('slept'));
  await clock.advance(35);
  await slept;
  expect(seen).toEqual(['a', 'r', 'b', 'r', 'slept']);
  stop();
  expect(clock.pendingTimers).toBe(0);
  clock.step(-500);
  expect(clock.nowMs()).toBe(535);
  expect(clock.monotonicMs()).toBe(35);
});

test('waitFor - fails with the last state', async () => {
  await expect(waitFor(() => false, { timeoutMs: 30, what: 'rain', state: () => ({ sky: 'blue' }) })).rejects.toThrow(
    /rain[\s\S]*blue/,
  );
});
