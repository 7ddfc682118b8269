/** Objects before and at load, and programs under test runs. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { BpfObject, BpfProgram } from '../src/index.ts';
import { compileFixture, needsRoot, TempDir } from './helpers.ts';

const dir = new TempDir();
let tiny = '';
let refused = '';
const FRAME = Buffer.alloc(64, 1);

beforeAll(() => {
  tiny = compileFixture(dir, 'tiny');
  refused = compileFixture(dir, 'refused');
});
afterAll(() => dir[Symbol.dispose]());

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
}

function opened(error: () => void): { code: string; errnoName: string; verifierLog: string | null; message: string } {
  try {
    error();
  } catch (caught) {
    return caught as never;
  }
  throw new Error('nothing was thrown');
}

describe('native object', () => {
  beforeEach(needsRoot);

  test('open - lists maps, programs and variables, from a path or from memory', () => {
    for (const source of [tiny, readFileSync(tiny)]) {
      using object = BpfObject.open(source, 'tiny');
      expect(object.maps().map((map) => map.name)).toEqual(
        expect.arrayContaining(['ring', 'hits', 'table', 'prefixes', 'tiny.rodata']),
      );
      expect(object.maps().find((map) => map.name === 'table')).toMatchObject({
        type: 1,
        maxEntries: 8,
        keySizeBytes: 4,
      });
      expect(object.programs().map((program) => program.name)).toEqual(['first', 'second', 'drop', 'echo']);
      expect(object.programs()[0]).toMatchObject({ section: 'tcx/ingress', type: 3, attachType: 46 });
      expect(object.variables()).toEqual([
        { name: 'verdict', section: '.rodata', offsetBytes: 0, sizeBytes: 4 },
        { name: 'magic', section: '.rodata', offsetBytes: 8, sizeBytes: 8 },
      ]);
    }
  });

  test('open - a missing file and invalid bytes are BPF_OPEN', () => {
    expect(opened(() => BpfObject.open('/proc/nonexistent.o'))).toMatchObject({
      code: 'BPF_OPEN',
      errnoName: 'ENOENT',
    });
    expect(opened(() => BpfObject.open(Buffer.from('rubbish'))).code).toBe('BPF_OPEN');
    expect(opened(() => BpfObject.open(Buffer.alloc(0))).code).toBe('BPF_OPEN');
    expect(opened(() => BpfObject.open(readFileSync(tiny).subarray(0, 900))).code).toBe('BPF_OPEN');
  });

  test('setGlobal - a constant changes what the program does', () => {
    const run = (verdict: number | null): number => {
      using object = BpfObject.open(tiny);
      if (verdict !== null) object.setGlobal('verdict', u32(verdict));
      object.load();
      using program = object.program('first');
      return program.testRun({ data: FRAME }).retval;
    };
    expect(run(null)).toBe(0);
    expect(run(2)).toBe(2);
  });

  test('setGlobal - an unknown name, a wrong size and a change after load are refused', () => {
    using object = BpfObject.open(tiny);
    expect(opened(() => object.setGlobal('verdicts', u32(1)))).toMatchObject({ code: 'BPF_OPEN', errnoName: 'ENOENT' });
    expect(() => object.setGlobal('verdict', Buffer.alloc(8))).toThrow(/verdict has 4 bytes, not 8/);
    object.load();
    expect(opened(() => object.setGlobal('verdict', u32(1)))).toMatchObject({ errnoName: 'EBUSY' });
    expect(opened(() => object.setMapMaxEntries('table', 1))).toMatchObject({ errnoName: 'EBUSY' });
    expect(opened(() => object.load())).toMatchObject({ errnoName: 'EBUSY' });
  });

  test('setMapMaxEntries - sets the size of the created map', () => {
    using object = BpfObject.open(tiny);
    object.setMapMaxEntries('table', 77);
    expect(opened(() => object.setMapMaxEntries('nothing', 1))).toMatchObject({ errnoName: 'ENOENT' });
    object.load();
    using map = object.map('table');
    expect(map.info.maxEntries).toBe(77);
  });

  test('setProgramAutoload - an excluded program is not loaded, the others are', () => {
    using object = BpfObject.open(refused);
    object.setProgramAutoload('refused', false);
    object.load();
    using fine = object.program('fine');
    expect(fine.testRun({ data: FRAME }).retval).toBe(0xffffffff);
    expect(opened(() => object.program('refused'))).toMatchObject({ code: 'BPF_OPEN', errnoName: 'ENOENT' });
    expect(opened(() => object.program('absent'))).toMatchObject({ code: 'BPF_OPEN', errnoName: 'ENOENT' });
    expect(opened(() => object.map('absent'))).toMatchObject({ code: 'BPF_OPEN', errnoName: 'ENOENT' });
  });

  test('load - maps and programs exist only afterwards', () => {
    using object = BpfObject.open(tiny);
    expect(opened(() => object.map('table')).message).toContain('not loaded');
    expect(opened(() => object.program('first')).message).toContain('not loaded');
  });

  test('load - a refusal carries the verifier log, and names the program', () => {
    using object = BpfObject.open(refused);
    const error = opened(() => object.load());
    expect(error).toMatchObject({ name: 'BpfError', code: 'BPF_LOAD', errnoName: 'EACCES', detail: 'program refused' });
    expect(error.verifierLog).toMatch(/invalid mem access 'map_value_or_null'/);
    expect(error.message).toContain('verifierLog');
    expect(opened(() => object.map('values')).message).toContain('not loaded');
  });

  test('testRun - returns the frame, the mean time and the context as the program saw it', () => {
    using object = BpfObject.open(tiny);
    object.load();
    using echo = object.program('echo');
    const context = Buffer.alloc(192);
    context.writeUInt32LE(5, 8); // __sk_buff.mark
    context.writeUInt32LE(1, 40); // __sk_buff.ifindex: loopback
    const run = echo.testRun({ data: FRAME, context, repeat: 10 });
    expect(run.contextOut).toHaveLength(192);
    expect(run.contextOut?.readUInt32LE(8)).toBe(77);
    expect(run.dataOut).toEqual(FRAME);
    expect(echo.testRun({ data: FRAME, context }).retval).toBe(1005);
    expect(run.durationNs).toBeLessThan(1_000_000);
    expect(echo.testRun({ data: FRAME }).contextOut).toBeNull();
  });

  test('testRun - refusals by the kernel and by the binding', () => {
    using object = BpfObject.open(tiny);
    object.load();
    using program = object.program('second');
    expect(opened(() => program.testRun({ data: Buffer.alloc(3) }))).toMatchObject({
      code: 'BPF_PROGRAM',
      operation: 'program.testRun',
      errnoName: 'EINVAL',
    });
    expect(opened(() => program.testRun({ data: FRAME, dataOutBytes: 8 }))).toMatchObject({ errnoName: 'ENOSPC' });
    expect(() => program.testRun({ data: FRAME, repeat: 0 })).toThrow(/repeat must lie in/);
  });

  test('program - info, and the same program by its id', () => {
    using object = BpfObject.open(tiny);
    object.load();
    using program = object.program('second');
    using again = BpfProgram.byId(program.info.id);
    expect(again.info).toEqual(program.info);
    expect(program.info).toMatchObject({ name: 'second', type: 3, tag: expect.stringMatching(/^[0-9a-f]{16}$/) });
    expect(opened(() => BpfProgram.byId(0xfffffff))).toMatchObject({ code: 'BPF_PROGRAM', errnoName: 'ENOENT' });
  });
});
