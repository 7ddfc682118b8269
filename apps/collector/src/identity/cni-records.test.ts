import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_RECORD_BYTES } from './cni-record.ts';
import { CniCache } from './cni-records.ts';

const json = (uid: string) =>
  JSON.stringify({ kind: 'cniCacheV1', containerId: 'c', ifName: 'eth0', cniArgs: [['K8S_POD_UID', uid]], result: {} });

describe('cni cache', () => {
  let dir: string;
  let seen: string[];
  let problems: { file: string; reason: string }[];
  let cache: CniCache;
  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'bailiff-cni-'));
    seen = [];
    problems = [];
    cache = new CniCache(dir, {
      onRecord: (r) => seen.push(r.podUid),
      onProblem: (p) => problems.push(p),
    });
  });
  afterEach(() => {
    cache.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it('records that are there and records that come are read', async () => {
    writeFileSync(path.join(dir, 'a'), json('u1'));
    cache.start();
    expect(seen).toEqual(['u1']);
    writeFileSync(path.join(dir, 'b'), json('u2'));
    await waitFor(() => seen.includes('u2'), { state: () => JSON.stringify(seen) });
    unlinkSync(path.join(dir, 'a'));
    await waitFor(() => !cache.records.has('a'), { state: () => JSON.stringify([...cache.records.keys()]) });
    expect([...cache.records.keys()]).toEqual(['b']);
  });

  it('a record seen half written is read when it is whole', async () => {
    cache.start();
    const whole = json('u3');
    writeFileSync(path.join(dir, 'c'), whole.slice(0, 20));
    appendFileSync(path.join(dir, 'c'), whole.slice(20));
    await waitFor(() => seen.includes('u3'), { state: () => JSON.stringify({ seen, problems }) });
  });

  it('what is no record is reported, and the others still count', async () => {
    writeFileSync(path.join(dir, 'x'), '{"kind":"other"}');
    writeFileSync(path.join(dir, 'y'), json('u4'));
    cache.start();
    expect(problems).toEqual([{ file: path.join(dir, 'x'), reason: 'kind is not cniCacheV1' }]);
    expect(seen).toEqual(['u4']);
  });

  it('a FIFO, a device behind a link, a folder blocks nothing: it is reported, and records are read', () => {
    execFileSync('mkfifo', [path.join(dir, 'a-fifo')]);
    symlinkSync('/dev/zero', path.join(dir, 'b-device'));
    mkdirSync(path.join(dir, 'c-folder'));
    writeFileSync(path.join(dir, 'd-large'), '');
    truncateSync(path.join(dir, 'd-large'), MAX_RECORD_BYTES + 1);
    writeFileSync(path.join(dir, 'record'), json('u6'));
    cache.start();
    expect(seen).toEqual(['u6']);
    expect(problems.map(({ file, reason }) => [path.basename(file), reason.split(':')[0]])).toEqual([
      ['a-fifo', 'not a regular file'],
      ['b-device', 'ELOOP'],
      ['c-folder', 'not a regular file'],
      ['d-large', `${MAX_RECORD_BYTES + 1} bytes is more than a record may have (${MAX_RECORD_BYTES})`],
    ]);
  });

  it('a folder that is made later is found', async () => {
    rmSync(dir, { recursive: true });
    cache.start();
    mkdirSync(dir);
    writeFileSync(path.join(dir, 'a'), json('u5'));
    await waitFor(() => seen.includes('u5'), { state: () => JSON.stringify(problems) });
  });

  it('a folder that was removed and made again is followed anew, and what went with it is forgotten', async () => {
    writeFileSync(path.join(dir, 'a'), json('u1'));
    cache.start();
    rmSync(dir, { recursive: true });
    mkdirSync(dir);
    cache.check();
    writeFileSync(path.join(dir, 'b'), json('u2'));
    await waitFor(() => seen.includes('u2'), { state: () => JSON.stringify(problems) });
    expect([...cache.records.keys()]).toEqual(['b']);
    writeFileSync(path.join(dir, 'c'), json('u3'));
    await waitFor(() => seen.includes('u3'), { state: () => JSON.stringify(problems) });
  });

  it('a bad address costs itself, and says so', () => {
    const bad = {
      kind: 'cniCacheV1',
      ifName: 'eth0',
      cniArgs: [['K8S_POD_UID', 'u1']],
      result: { ips: [{ address: 'garbage' }] },
    };
    writeFileSync(path.join(dir, 'a'), JSON.stringify(bad));
    cache.start();
    expect(seen).toEqual(['u1']);
    expect(problems).toEqual([{ file: path.join(dir, 'a'), reason: 'ips: not an IP address: "garbage"' }]);
  });
});
