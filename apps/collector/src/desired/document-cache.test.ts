import { createHash } from 'node:crypto';
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { DocumentCache, MAX_BYTES, MAX_DOCUMENTS } from './document-cache.ts';

const pods = { what: 'pods', key: 'n1', json: '{"revision":1}' } as const;
const key = `spoof.workload.shop.${'x'.repeat(253)}`;
const config = { what: 'config', key, json: '{"modes":{}}' } as const;

describe('document cache', () => {
  let dir: string;
  let problems: { file: string; reason: string }[];
  const open = () => new DocumentCache(dir, { onProblem: (file, reason) => problems.push({ file, reason }) });
  beforeEach(() => {
    dir = temporaryDirectory();
    problems = [];
  });

  it('saved and removed documents - as the next process finds them', () => {
    const cache = open();
    expect(cache.load()).toEqual([]);
    cache.save(pods);
    cache.save(config);
    cache.save({ ...pods, json: '{"revision":2}' });
    expect(open().load()).toEqual([config, { ...pods, json: '{"revision":2}' }]);
    const next = open();
    next.load();
    next.remove(config);
    expect(open().load()).toHaveLength(1);
    expect(problems).toEqual([]);
  });
  it('unchanged document - not written again', () => {
    const cache = open();
    cache.load();
    cache.save(pods);
    const file = path.join(dir, 'bus', 'pods.json');
    const before = statSync(file).ino;
    cache.save({ ...pods });
    expect(statSync(file).ino).toBe(before);
    cache.save({ ...pods, json: '{}' });
    expect(statSync(file).ino).not.toBe(before);
  });
  it('torn, misnamed and oversized documents - reported; the others stay', () => {
    const cache = open();
    cache.load();
    cache.save(pods);
    writeFileSync(path.join(dir, 'bus', 'cluster.json'), '{"what":"clus');
    writeFileSync(path.join(dir, 'bus', 'quarantine.json'), JSON.stringify(pods));
    writeFileSync(path.join(dir, 'bus', 'pods.json.new'), 'half');
    cache.save({ what: 'cluster', key: '_cluster', json: 'x'.repeat(MAX_BYTES + 1) });
    expect(open().load()).toEqual([pods]);
    expect(problems.map((p) => path.basename(p.file)).sort()).toEqual([
      'cluster.json',
      'cluster.json',
      'quarantine.json',
    ]);
  });
  it('many keys of a kind without signers - leave room for those of another kind', () => {
    open().load();
    const disarm = (n: number) => ({ what: 'config', key: `disarm.namespace.n${n}.all`, json: '{}' }) as const;
    for (let n = 0; n < MAX_DOCUMENTS; n += 1) {
      const digest = createHash('sha256').update(disarm(n).key).digest('hex');
      writeFileSync(path.join(dir, 'bus', `config-${digest}.json`), JSON.stringify(disarm(n)));
    }
    const cache = open();
    expect(cache.load()).toHaveLength(MAX_DOCUMENTS);
    cache.save(disarm(MAX_DOCUMENTS));
    const full = { file: expect.anything(), reason: expect.stringContaining('more than 4096 documents of disarm') };
    expect(problems).toEqual([full]);
    cache.save(config);
    cache.save(pods);
    cache.remove(disarm(0));
    cache.save(disarm(MAX_DOCUMENTS));
    expect(problems).toEqual([full]);
    expect(readdirSync(path.join(dir, 'bus'))).toHaveLength(MAX_DOCUMENTS + 2);
  });
  it('failing disk - reported, nothing is thrown', () => {
    const cache = open();
    cache.load();
    rmSync(path.join(dir, 'bus'), { recursive: true });
    writeFileSync(path.join(dir, 'bus'), 'a file');
    cache.save(pods);
    expect(problems).toHaveLength(1);
    expect(existsSync(path.join(dir, 'bus'))).toBe(true);
    expect(readdirSync(dir)).toEqual(['bus']);
  });
});
