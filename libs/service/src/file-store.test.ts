import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { FileStore, replaceFile } from './file-store.ts';
import { temporaryDirectory } from './testing.ts';

let root: string;
let problems: { file: string; reason: string }[];
let store: FileStore;
const dir = () => path.join(root, 'state');

beforeEach(() => {
  root = temporaryDirectory();
  problems = [];
  store = new FileStore(dir(), (file, reason) => problems.push({ file, reason }));
});

describe('file store', () => {
  it('saves, lists, reads and removes files', () => {
    store.create();
    expect(store.save('a.json', '1')).toBe(true);
    expect(store.save('a.json', '2')).toBe(true);
    expect(store.save('b.txt', 'x')).toBe(true);
    expect(store.names(/\.json$/)).toEqual(['a.json']);
    expect(store.read('a.json', JSON.parse)).toBe(2);
    store.remove('a.json');
    store.remove('a.json');
    expect(readdirSync(dir())).toEqual(['b.txt']);
    expect(problems).toEqual([]);
  });

  it('a missing directory - has no files and is no problem, and is made when something is saved in it', () => {
    expect(store.names(/./)).toEqual([]);
    expect(store.save('a.json', '1')).toBe(true);
    expect(store.names(/./)).toEqual(['a.json']);
    expect(problems).toEqual([]);
  });

  it('a directory that is a file - is reported by every operation, and nothing throws', () => {
    writeFileSync(dir(), '');
    store.create();
    expect(store.names(/./)).toEqual([]);
    expect(store.save('a.json', '1')).toBe(false);
    store.remove('a.json');
    expect(problems.map(({ file }) => path.relative(root, file))).toEqual([
      'state',
      'state',
      'state/a.json',
      'state/a.json',
    ]);
  });

  it('a link under the temporary name or the name itself - is replaced, and its target is unchanged', () => {
    store.create();
    const target = path.join(root, 'target');
    writeFileSync(target, 'foreign');
    for (const name of ['program', 'program.new']) symlinkSync(target, path.join(dir(), name));
    replaceFile(path.join(dir(), 'program'), Buffer.from([1, 2]), { mode: 0o755, durable: true });
    expect(readFileSync(target, 'utf8')).toBe('foreign');
    expect([...readFileSync(path.join(dir(), 'program'))]).toEqual([1, 2]);
    expect(lstatSync(path.join(dir(), 'program')).mode).toBe(0o100755);
    expect(readdirSync(dir())).toEqual(['program']);
  });

  it('a file that cannot be parsed - is reported and kept', () => {
    store.create();
    store.save('a.json', 'half');
    expect(store.read('a.json', JSON.parse)).toBeUndefined();
    expect(problems).toEqual([{ file: path.join(dir(), 'a.json'), reason: expect.stringContaining('JSON') }]);
    expect(store.names(/./)).toEqual(['a.json']);
  });

  it('a failed replacement - keeps the old content', () => {
    store.create();
    store.save('a.json', 'old');
    mkdirSync(path.join(dir(), 'a.json.new'));
    expect(store.save('a.json', 'new')).toBe(false);
    expect(readFileSync(path.join(dir(), 'a.json'), 'utf8')).toBe('old');
  });
});

describe('replaceFile', () => {
  it.each([{ durable: false }, { durable: true }])('%j - is readable by the owner only', (options) => {
    const file = path.join(root, 'secret');
    writeFileSync(`${file}.new`, 'left behind');
    chmodSync(`${file}.new`, 0o644);
    replaceFile(file, 'text', options);
    expect(readFileSync(file, 'utf8')).toBe('text');
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });
});
