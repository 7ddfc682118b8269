/** Handles of the native binding from open to close, and what can happen in between. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { native } from '../src/core/native.ts';
import {
  BpfLink,
  BpfMap,
  BpfObject,
  BpfProgram,
  cgroupId,
  getNsid,
  LinkMonitor,
  MAP_TYPE,
  RingReader,
} from '../src/index.ts';
import { compileFixture, needsRoot, resultOf, runScenario, TempDir } from './helpers.ts';

const dir = new TempDir();
let tiny = '';

beforeAll(() => {
  tiny = compileFixture(dir, 'tiny');
});
afterAll(() => dir[Symbol.dispose]());

function hash(): BpfMap {
  return BpfMap.create({ type: MAP_TYPE.hash, keySizeBytes: 4, valueSizeBytes: 8, maxEntries: 4 });
}

const KEY = Buffer.alloc(4);
const VALUE = Buffer.alloc(8);

describe('native lifecycle', () => {
  beforeEach(needsRoot);

  test('map - every call after close is BPF_CLOSED, and close may be repeated', () => {
    const map = hash();
    map.set(KEY, VALUE);
    map.close();
    map.close();
    for (const call of [() => map.get(KEY), () => map.set(KEY, VALUE), () => map.delete(KEY), () => map.entries()]) {
      expect(call).toThrow(expect.objectContaining({ code: 'BPF_CLOSED', errnoName: 'EBADF' }));
    }
    expect(() => map.pin('/tmp/never')).toThrow(/BpfMap is closed/);
    expect(() => new RingReader(map, { onBatch: () => undefined })).toThrow(/BpfMap is closed/);
  });

  test('object - every call after close is BPF_CLOSED, while maps and programs taken from it stay open', () => {
    const object = BpfObject.open(tiny);
    object.load();
    const map = object.map('table');
    const program = object.program('second');
    object.close();
    object.close();
    for (const call of [() => object.maps(), () => object.load(), () => object.map('table')]) {
      expect(call).toThrow(expect.objectContaining({ code: 'BPF_CLOSED' }));
    }
    map.set(KEY, VALUE);
    expect(map.entries()).toHaveLength(1);
    expect(program.testRun({ data: Buffer.alloc(64) }).retval).toBe(0xffffffff);
    map.close();
    program.close();
    program.close();
    expect(() => program.testRun({ data: Buffer.alloc(64) })).toThrow(/BpfProgram is closed/);
    expect(() => program.attachTcx(1, { direction: 'ingress' })).toThrow(/BpfProgram is closed/);
  });

  test('ring - take after close is BPF_CLOSED, while close may be repeated', () => {
    const map = BpfMap.create({ type: MAP_TYPE.ringBuffer, keySizeBytes: 0, valueSizeBytes: 0, maxEntries: 4096 });
    const reader = new RingReader(map, { onBatch: () => undefined });
    expect(reader.take()).toBeNull();
    reader.close();
    reader.close();
    expect(() => reader.take()).toThrow(expect.objectContaining({ code: 'BPF_CLOSED' }));
    expect(() => reader.drain()).toThrow(/RingReader is closed/);
  });

  test('monitor - closes twice', () => {
    const monitor = new LinkMonitor({ onLinks: () => undefined, onOverrun: () => undefined });
    monitor.close();
    monitor.close();
  });

  test('arguments - wrong types are TypeErrors that name the argument', () => {
    const map = hash();
    const wrong = (value: unknown) => value as never;
    const rows: [call: () => unknown, message: RegExp][] = [
      [() => map.get(wrong('key')), /key must be a Buffer/],
      [() => map.get(wrong(undefined)), /key must be a Buffer/],
      [() => map.get(wrong(new Uint16Array(2))), /key must be a Buffer/],
      [() => map.get(Buffer.alloc(3)), /key must have 4 bytes, not 3/],
      [() => map.get(Buffer.alloc(0)), /key must have 4 bytes, not 0/],
      [() => map.set(KEY, Buffer.alloc(9)), /value must have 8 bytes, not 9/],
      [() => map.native.set(KEY, VALUE, -1), /flags must be an unsigned 32-bit integer/],
      [() => map.native.set(KEY, VALUE, 1.5), /flags must be/],
      [() => map.native.set(KEY, VALUE, Number.NaN), /flags must be/],
      [() => map.native.set(KEY, VALUE, 2 ** 32), /flags must be/],
      [() => map.native.set(KEY, VALUE, wrong(0n)), /flags must be/],
      [() => map.pin(wrong(7)), /path must be a string/],
      [() => map.pin('/tmp/a\0b'), /path must be a string without NUL/],
      [() => BpfMap.openPinned(wrong(null)), /path must be a string/],
      [() => BpfObject.open(wrong(7)), /source must be a Buffer/],
      [() => native().openRing(wrong({}), () => undefined, 1, 1), /map must be BpfMap/],
      [() => native().openRing(wrong(null), () => undefined, 1, 1), /map must be BpfMap/],
      [() => native().openRing(map.native, wrong('x'), 1, 1), /onBatch must be a function/],
      [() => native().openRing(map.native, () => undefined, 0, 1), /above 0/],
      [() => native().openLinkMonitor(() => undefined, wrong(null), 1), /onOverrun must be a function/],
      [() => getNsid({ pid: wrong('1') }), /pid must be/],
      [() => cgroupId(wrong(undefined)), /path must be a string/],
      [() => native().isBpffs(wrong({})), /path must be a string/],
    ];
    for (const [call, message] of rows) {
      expect(call).toThrow(TypeError);
      expect(call).toThrow(message);
    }
    map.close();
  });

  test('arguments - an object of another class, a proxy or a foreign receiver is refused, never misread', () => {
    const object = BpfObject.open(tiny);
    object.load();
    const map = object.map('table');
    const program = object.program('second');
    const link = program.attachTcx(1, { direction: 'egress' });
    const asProgram = (value: unknown) => value as never;
    for (const imposter of [
      map.native,
      link.native,
      {},
      Object.create(program.native),
      new Proxy(program.native, {}),
    ]) {
      expect(() => link.native.update(asProgram(imposter), null)).toThrow(/newProgram must be BpfProgram/);
      expect(() => link.native.update(program.native, asProgram(imposter))).toThrow(/oldProgram must be BpfProgram/);
    }
    expect(() => map.native.get.call(asProgram(program.native), KEY)).toThrow(TypeError);
    const Class = map.native.constructor as new (...args: unknown[]) => unknown;
    expect(() => new Class()).toThrow(/cannot be constructed directly/);
    expect(() => new Class({})).toThrow(/cannot be constructed directly/);
    link.close();
    for (const handle of [map, program, object]) handle.close();
    expect(() => link.update(program)).toThrow(expect.objectContaining({ code: 'BPF_CLOSED' }));
    expect(BpfLink.name + BpfProgram.name).toBe('BpfLinkBpfProgram');
  });

  test('privileges - without them each error names the capabilities that it needs', async () => {
    const needs =
      'needs CAP_BPF and CAP_NET_ADMIN (LSM and tracing programs: also CAP_PERFMON), and a kernel that permits it';
    expect(await resultOf('lifecycle', 'unprivileged', { args: [tiny] })).toEqual([
      ['BPF_MAP', 'EPERM', needs],
      ['BPF_LOAD', 'EPERM', needs],
      ['BPF_ATTACH', 'EPERM', needs],
      false,
    ]);
  });

  test('garbage collection - descriptors of dropped objects, maps, programs and links are released', async () => {
    const fds = await resultOf<{ before: number; peak: number; after: number }>('lifecycle', 'gcReleases', {
      args: [tiny],
      nodeArgs: ['--expose-gc'],
    });
    expect(fds.peak).toBeGreaterThan(fds.before + 200);
    expect(fds.after).toBeLessThanOrEqual(fds.before + 2);
  });

  test('garbage collection - an open reader or monitor without references keeps delivering', async () => {
    const seen = await resultOf('lifecycle', 'gcKeepsReaders', { args: [tiny], nodeArgs: ['--expose-gc'] });
    expect(seen).toEqual({ batches: 1, links: true });
  });

  test.each(['exit', 'close-then-exit', 'close'])('exit - clean with handles in state "%s"', async (how) => {
    const child = await runScenario('lifecycle', 'exitWithOpenHandles', { args: [tiny, how] });
    expect(child).toMatchObject({ code: 0, signal: null, stderr: '', result: how });
  });

  test('callbacks - one that throws is an uncaughtException and its handle keeps working', async () => {
    const caught = await resultOf<string[]>('lifecycle', 'throwingCallbacks', { args: [tiny] });
    expect(caught).toEqual(['ring 1', 'ring 2', 'links']);
  });

  test('callbacks - one that throws with no handler ends the process as any uncaught error does', async () => {
    const child = await runScenario('lifecycle', 'throwingUncaught', { args: [tiny] });
    expect(child).toMatchObject({ code: 1, signal: null });
    expect(child.stderr).toContain('Error: this is never caught');
  });

  test('callbacks - ticks and microtasks run after each, before the next', async () => {
    const order = await resultOf('lifecycle', 'microtasks', { args: [tiny] });
    expect(order).toEqual(['batch', 'tick', 'microtask', 'batch', 'tick', 'microtask']);
  });

  test('callbacks - one may close its own handle', async () => {
    expect(await resultOf('lifecycle', 'closeInCallback', { args: [tiny] })).toEqual({ batches: 1, links: 1, left: 2 });
  });

  test.each([
    ['close', 0],
    ['exit', 3],
    ['terminate', 1],
  ])('workers - six workers that end by %s leave the process whole', async (end, code) => {
    const result = await resultOf('lifecycle', 'workers', { args: [tiny, end] });
    expect(result).toEqual({ codes: Array(6).fill(code), stillWorks: 1 });
  });
});
