import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { expect, it } from 'vitest';
import { readPassed } from './passed-count.ts';

it('count of pods without a guard - read as the plugin writes it, absent and empty are none', () => {
  const dir = temporaryDirectory();
  const socket = path.join(dir, 'cni.sock');
  const read = (text: string) => {
    writeFileSync(path.join(dir, 'cni-passed'), text);
    return readPassed(socket);
  };
  expect(readPassed(socket)).toBe(null);
  expect(read('')).toBe(null);
  expect(read('12 1795839271 shop/web-1 cannot connect: refused\n')).toEqual({
    count: 12,
    atMs: 1_795_839_271_000,
    pod: 'shop/web-1',
    reason: 'cannot connect: refused',
  });
  expect(read('2 1 shop/web-2 short\nrest of a longer line\n')?.reason).toBe('short');
  expect(() => read('twelve')).toThrow(/another form/);
});
