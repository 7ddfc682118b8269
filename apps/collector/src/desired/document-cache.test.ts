import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DocumentStore, MAX_BYTES } from './document-cache.ts';

const pods = { what: 'pods', key: 'n1', json: '{"revision":1}' } as const;
const key = `spoof.workload.shop.${'x'.repeat(253)}`;
const config = { what: 'config', key, json: '{"modes":{}}' } as const;

describe('documents', () => {
  let dir: string;
  let problems: { file: string; reason: string }[];
  const open = () => new DocumentStore(dir, { onProblem: (problem) => problems.push(problem) });
  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'bailiff-documents-'));
    problems = [];
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it('what was saved is there for the next process, what was removed is not', () => {
    const store = open();
    expect(store.load()).toEqual([]);
    store.save(pods);
    store.save(config);
    store.save({ ...pods, json: '{"revision":2}' });
    expect(open().load()).toEqual([config, { ...pods, json: '{"revision":2}' }]);
    const next = open();
    next.load();
    next.remove(config);
    expect(open().load()).toHaveLength(1);
    expect(problems).toEqual([]);
  });
  it('the same again is not written', () => {
    const store = open();
    store.load();
    store.save(pods);
    const file = path.join(dir, 'bus', 'pods.json');
    const before = statSync(file).ino;
    store.save({ ...pods });
    expect(statSync(file).ino).toBe(before);
    store.save({ ...pods, json: '{}' });
    expect(statSync(file).ino).not.toBe(before);
  });
  it('torn, foreign and too large ones are told, and the others stand', () => {
    const store = open();
    store.load();
    store.save(pods);
    writeFileSync(path.join(dir, 'bus', 'cluster.json'), '{"what":"clus');
    writeFileSync(path.join(dir, 'bus', 'quarantine.json'), JSON.stringify(pods));
    writeFileSync(path.join(dir, 'bus', 'pods.json.new'), 'half');
    store.save({ what: 'cluster', key: '_cluster', json: 'x'.repeat(MAX_BYTES + 1) });
    expect(open().load()).toEqual([pods]);
    expect(problems.map((p) => path.basename(p.file)).sort()).toEqual([
      'cluster.json',
      'cluster.json',
      'quarantine.json',
    ]);
  });
  it('a disk that refuses is told and nothing is thrown', () => {
    const store = open();
    store.load();
    rmSync(path.join(dir, 'bus'), { recursive: true });
    writeFileSync(path.join(dir, 'bus'), 'a file');
    store.save(pods);
    expect(problems).toHaveLength(1);
    expect(existsSync(path.join(dir, 'bus'))).toBe(true);
    expect(readdirSync(dir)).toEqual(['bus']);
  });
});
