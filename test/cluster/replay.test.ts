// `bailiff replay` on a real bus under the rights of the cli: filters, order, pace, copies on a
// scratch subject, and continuing after an interruption.
import { type Bus, consumeOrdered, type StreamMessage, streamInfo } from '@bailiff/bus';
import { decodeViolationFrame, type ViolationFrame } from '@bailiff/schemas';
import { podIdentityOf } from '@bailiff/schemas/testing';
import { waitFor } from '@bailiff/service/testing';
import avro from 'avsc';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CART, NODE_A, NODE_B, VPN, violationOf, WEB, World } from './cli/world.ts';

let world: World;
const FRAMES = 12;
beforeAll(async () => {
  world = await World.start();
  for (let i = 0; i < FRAMES; i++) {
    const more = { cumulativePackets: i + 1 };
    if (i % 2 === 0)
      await world.frame(NODE_A, [violationOf(world.t0Micros, WEB, more), violationOf(world.t0Micros, CART, more)]);
    else await world.frame(NODE_B, [violationOf(world.t0Micros, VPN, more)]);
  }
}, 60_000);
afterAll(() => world?.[Symbol.asyncDispose]());

/** Characters that a terminal would obey. */
const controlsIn = (text: string) =>
  [...text].filter((c) => c !== '\n' && (c < ' ' || (c >= '\u007f' && c < '\u00a0') || c === '\u202e'));
const linesOf = (text: string) => (text === '' ? [] : text.trimEnd().split('\n'));
const json = async (args: string[]) => {
  const { stdout, stderr, exitCode } = await world.cli(['replay', '--format', 'json', ...args]);
  expect([exitCode, stderr]).toEqual([0, expect.stringMatching(/^replayed /)]);
  return linesOf(stdout).map(
    (line) => JSON.parse(line) as { sequence: number; index: number; pod: { name: string }; nodeName: string },
  );
};

interface Copy {
  subject: string;
  sequence: string;
  data: Uint8Array;
}
/** Messages of the stream. */
async function recorded(bus: Bus): Promise<StreamMessage[]> {
  const messages: StreamMessage[] = [];
  const end = new AbortController();
  await consumeOrdered(bus, 'VIOLATIONS', {
    start: 'all',
    onMessage: (message) => void messages.push(message),
    onIdle: () => end.abort(),
    signal: end.signal,
  });
  return messages;
}
/** Subscribes as the `reader` identity, which may. */
async function listen(prefix: string): Promise<{ bus: Bus; copies: Copy[] }> {
  const bus = await world.nats.connect('reader');
  const copies: Copy[] = [];
  bus.nc.subscribe(`${prefix}.>`, {
    callback: (_error, { subject, headers, data }) => {
      copies.push({ subject, sequence: headers?.get('Bailiff-Replay-Sequence') ?? '', data });
    },
  });
  await bus.nc.flush();
  return { bus, copies };
}

describe('replay - selection and order', () => {
  it.each([
    [[], FRAMES * 1.5],
    [['--node', NODE_B], FRAMES / 2],
    [['--kind', 'lsm'], 0],
    [['--kind', 'spoof', '--node', NODE_A], FRAMES],
    [['--pod', 'shop/cart-1'], FRAMES / 2],
    [['--pod', VPN.uid], FRAMES / 2],
    [['--from-seq', '11'], 3],
    [['--since', '2099-01-01'], 0],
    [['--until', '2020-01-01'], 0],
  ] as [string[], number][])('%j selects %d, in the order of the stream', async (args, count) => {
    const rows = await json(args);
    expect(rows).toHaveLength(count);
    expect(rows.map(({ sequence }) => sequence)).toEqual(rows.map(({ sequence }) => sequence).sort((a, b) => a - b));
  });

  it('a listed uid - the request selects its node only', async () => {
    await world.put('bailiff_pods', NODE_A, { nodeName: NODE_A, revision: 1, pods: [podIdentityOf(WEB)] });
    const rows = await json(['--pod', WEB.uid]);
    expect(rows).toHaveLength(FRAMES / 2);
    expect(new Set(rows.map(({ pod: { name } }) => name))).toEqual(new Set(['web-0']));
  });

  it('table - one heading, fits the terminal, and nothing in it moves the cursor', async () => {
    const evil = violationOf(world.t0Micros, WEB, { cumulativePackets: 99, detail: '\u001b[2J\u0007evil\u202e' });
    await world.frame(NODE_A, [evil]);
    const { stdout } = await world.cli(['replay', '--node', NODE_A], { terminal: 120, env: { NO_COLOR: '1' } });
    expect(stdout).toContain('\\u001b[2J\\u0007evil\\u202e');
    expect(controlsIn(stdout)).toEqual([]);
    expect(Math.max(...linesOf(stdout).map((line) => line.length))).toBeLessThanOrEqual(120);
    const plain = await world.cli(['replay', '--node', NODE_A, '--format', 'json']);
    expect(controlsIn(plain.stdout)).toEqual([]);
  });
});

describe('replay - copies', () => {
  it('avro - byte for byte under the prefix, in order, and no stream of the bus grew', async () => {
    const admin = await world.as('admin');
    const before = await Promise.all(
      ['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'SIEM'].map((name) => streamInfo(admin, name)),
    );
    const { bus, copies } = await listen('bailiff.v1.replay.case-7');
    const { exitCode } = await world.cli(['replay', '--since', 'all', '--to', 'bailiff.v1.replay.case-7']);
    expect(exitCode).toBe(0);
    await waitFor(() => copies.length === FRAMES + 1, { what: 'all copies', state: () => copies.length });
    expect(copies.map(({ sequence }) => Number(sequence))).toEqual(Array.from({ length: FRAMES + 1 }, (_, i) => i + 1));
    expect(copies[1]?.subject).toMatch(/^bailiff\.v1\.replay\.case-7\.violations\.\d+\.node-b_example\.spoof$/);
    expect(copies.map(({ data }) => Buffer.from(data).toString('hex'))).toEqual(
      (await recorded(admin)).map(({ data }) => Buffer.from(data).toString('hex')),
    );
    const after = await Promise.all(
      ['VIOLATIONS', 'VERDICTS', 'RESPONSES', 'SIEM'].map((name) => streamInfo(admin, name)),
    );
    expect(after.map(({ state }) => state.last_seq)).toEqual(before.map(({ state }) => state.last_seq));
    await bus.close();
  });

  it('one pod - its frames hold its violations only; json is one per message', async () => {
    const { bus, copies } = await listen('bailiff.v1.replay');
    await world.cli(['replay', '--pod', 'shop/cart-1', '--to', 'bailiff.v1.replay.a']);
    await world.cli(['replay', '--pod', 'shop/cart-1', '--format', 'json', '--to', 'bailiff.v1.replay.b']);
    await waitFor(() => copies.length === FRAMES, { what: 'all copies', state: () => copies.length });
    const [avro, text] = [copies.slice(0, FRAMES / 2), copies.slice(FRAMES / 2)];
    for (const { data } of avro) {
      expect(decodeViolationFrame(data).violations.map(({ pod }) => pod?.name)).toEqual(['cart-1']);
    }
    for (const { data } of text)
      expect(JSON.parse(Buffer.from(data).toString('utf8'))).toMatchObject({ pod: { name: 'cart-1' } });
    await bus.close();
  });

  it.each([
    'bailiff.v1.violations',
    'bailiff.v1.verdicts.high',
    'bailiff.v1',
    'bailiff.v1.replayed',
    'bailiff.v2.replay',
    'BAILIFF.v1.violations',
    'bailiff',
    '$JS.API',
    '_INBOX_cli',
    'a.*',
    'a.>',
    'a..b',
    '',
    ' a',
  ])('refused before anything is sent: --to "%s"', async (prefix) => {
    const { exitCode, stderr } = await world.cli(['replay', '--to', prefix]);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('--to')]);
  });

  it('a prefix that this identity may not publish under is an error that names where to continue', async () => {
    const { exitCode, stderr } = await world.cli(['replay', '--to', 'elsewhere']);
    expect(exitCode).toBe(4);
    expect(stderr).toMatch(/--to elsewhere .*--from-seq 1\b/);
  });
});

describe('replay - as SIEM events', () => {
  /** The identity of an event; for CEF the line. */
  const uidOf: Record<string, (line: string) => string> = {
    ocsf: (line) => JSON.parse(line).metadata.uid,
    ecs: (line) => JSON.parse(line).event.id,
    cef: (line) => /externalId=(\S+) /.exec(line)?.[1] ?? '',
  };

  it.each(['ocsf', 'ecs', 'cef'])(
    '%s - an event per line; its uid has the position in the recorded frame',
    async (format) => {
      const { stdout, exitCode } = await world.cli(['replay', '--format', format, '--pod', 'shop/cart-1']);
      expect(exitCode).toBe(0);
      const { created } = await streamInfo(await world.as('admin'), 'VIOLATIONS');
      const made = Date.parse(created).toString(36);
      // cart-1 is second in every other frame.
      const expected = Array.from({ length: FRAMES / 2 }, (_, i) => `violations-${made}-${2 * i + 1}-1`);
      expect(linesOf(stdout).map((line) => uidOf[format]?.(line))).toEqual(expected);
      expect(controlsIn(stdout)).toEqual([]);
      const places = (await json(['--pod', 'shop/cart-1'])).map(({ sequence, index }) => [sequence, index]);
      expect(places).toEqual(Array.from({ length: FRAMES / 2 }, (_, i) => [2 * i + 1, 1]));
    },
  );

  it('on a scratch subject - under format, class and namespace as the siem-relay has them, and SIEM did not grow', async () => {
    const { bus, copies } = await listen('bailiff.v1.replay.case-8.siem.ocsf');
    const before = await streamInfo(await world.as('admin'), 'SIEM');
    const args = ['replay', '--format', 'ocsf', '--node', NODE_B, '--to', 'bailiff.v1.replay.case-8'];
    expect((await world.cli(args)).exitCode).toBe(0);
    await waitFor(() => copies.length === FRAMES / 2, { what: 'all copies', state: () => copies.length });
    expect(new Set(copies.map(({ subject }) => subject))).toEqual(
      new Set(['bailiff.v1.replay.case-8.siem.ocsf.network-activity.payments']),
    );
    expect(JSON.parse(Buffer.from(copies[0]?.data ?? []).toString('utf8'))).toMatchObject({ class_uid: 4001 });
    expect((await streamInfo(await world.as('admin'), 'SIEM')).state.last_seq).toBe(before.state.last_seq);
    await bus.close();
  });
});

describe('replay - a file of Avro', () => {
  it('is a valid Avro file with the schema in its head; twice the same bytes', async () => {
    const run = () => world.cli(['replay', '--format', 'avro']);
    const { stdout } = await run();
    expect((await run()).stdout).toBe(stdout);
    expect((await world.cli(['replay', '--format', 'avro'], { terminal: 80 })).exitCode).toBe(2);
    const decoder = new avro.streams.BlockDecoder();
    const frames: [string, string[]][] = [];
    decoder.on('data', ({ nodeName, violations }: ViolationFrame) => {
      frames.push([nodeName, violations.map(({ pod }) => pod?.name ?? '')]);
    });
    const read = new Promise((resolve, reject) => decoder.on('end', resolve).on('error', reject));
    decoder.end(Buffer.from(stdout, 'latin1'));
    await read;
    expect(frames).toHaveLength(FRAMES + 1);
    expect(frames.slice(0, 2)).toEqual([
      [NODE_A, ['web-0', 'cart-1']],
      [NODE_B, ['vpn-0']],
    ]);
  });
});

describe('replay - pace and continuation', () => {
  it('1x keeps the intervals; an interruption prints how to continue, and both parts together are complete', async () => {
    await using slow = await World.start();
    for (let i = 0; i < 4; i++) {
      await slow.frame(NODE_A, [violationOf(slow.t0Micros, WEB, { cumulativePackets: i + 1 })]);
      const next = performance.now() + 300;
      await waitFor(() => performance.now() > next, { what: 'the next frame', intervalMs: 10 });
    }
    const interrupt = new AbortController();
    const seen: number[] = [];
    const onStdout = (all: string) => {
      seen.push(performance.now());
      if (linesOf(all).length === 3) interrupt.abort(new Error('interrupted by SIGINT'));
    };
    const options = { signal: interrupt.signal, onStdout };
    const first = await slow.cli(['replay', '--format', 'json', '--speed', '1x', '--node', NODE_A], options);
    expect(first.exitCode).toBe(130);
    const [start, , third] = await recorded(await slow.as('admin'));
    const distanceMs = ((third?.timestampMicros ?? Number.NaN) - (start?.timestampMicros ?? 0)) / 1000;
    expect((seen[2] ?? 0) - (seen[0] ?? 0)).toBeGreaterThan(distanceMs * 0.9);
    const line = /bailiff (replay .*--from-seq 4)/.exec(first.stderr)?.[1] ?? '';
    const second = await slow.cli(line.split(' '));
    expect(second.exitCode).toBe(0);
    const sequences = [first, second].flatMap(({ stdout }) => linesOf(stdout).map((text) => JSON.parse(text).sequence));
    expect(sequences).toEqual([1, 2, 3, 4]);
    const before = performance.now();
    const fast = await slow.cli(['replay', '--format', 'json', '--speed', '10x']);
    expect(linesOf(fast.stdout)).toHaveLength(4);
    expect(performance.now() - before).toBeGreaterThan(80);
  });

  it('progress - on a terminal, on stderr, and erased at the end', async () => {
    await using slow = await World.start();
    for (let i = 0; i < 70; i++)
      await slow.frame(NODE_A, [violationOf(slow.t0Micros, WEB, { cumulativePackets: i + 1 })]);
    let now = Date.now();
    const nowMs = () => {
      now += 200;
      return now;
    };
    const { stderr, stdout } = await slow.cli(['replay', '--since', 'all'], { terminal: 100, nowMs });
    expect(stderr).toMatch(/64 of 70 frames · [\d,]+ a second · .* left/);
    expect(stderr).toContain('\r\u001b[Kreplayed 70 frames');
    expect(stdout).not.toContain('a second');
  });
});
