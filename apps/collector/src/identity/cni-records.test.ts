import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_PARSED_BYTES, MAX_RECORD_BYTES } from './cni-record-size.ts';
import { CniRecords } from './cni-records.ts';
import type { Binding } from './identity.ts';

const json = (uid: string, namespace = '') => {
  const cniArgs = [
    ['K8S_POD_UID', uid],
    ['K8S_POD_NAMESPACE', namespace],
  ];
  return JSON.stringify({ kind: 'cniCacheV1', containerId: 'c', ifName: 'eth0', cniArgs, result: {} });
};

const has = (records: CniRecords, name: string): boolean => records.all().some(({ file }) => file === name);
const uidsOf = (records: CniRecords): string[] => records.all().map(({ podUid }) => podUid);

const EMPTY = {
  containerId: 'c',
  ifName: 'eth0',
  plugin: '',
  isChosen: false,
  isMacChosen: false,
  podNamespace: '',
  podName: '',
  podMac: '',
  writtenAtMs: 0,
  hostInterfaces: [],
  addresses: [],
};

describe('cni records', () => {
  let dir: string;
  let seen: string[];
  let problems: { file: string; reason: string }[];
  let cache: CniRecords;
  beforeEach(() => {
    dir = temporaryDirectory();
    seen = [];
    problems = [];
    cache = new CniRecords([dir], {
      onRecord: (r) => seen.push(r.podUid),
      onProblem: (file, reason) => problems.push({ file, reason }),
    });
  });
  afterEach(() => {
    cache.close();
  });

  it('the record of a call - applied as if read, and not held beyond the call', () => {
    const record = (podUid: string) => ({ ...EMPTY, file: 'a', podUid });
    let during: string[] = [];
    const multus = path.join(dir, 'multus/results');
    const calls = new CniRecords([dir, multus], {
      onRecord: (r) => {
        during = uidsOf(calls);
        seen.push(r.podUid);
      },
      onProblem: (file, reason) => problems.push({ file, reason }),
    });
    calls.apply(record('u1'));
    expect([seen, during, uidsOf(calls)]).toEqual([['u1'], ['u1'], []]);
    mkdirSync(multus, { recursive: true });
    for (const [folder, uid] of Object.entries({ [dir]: 'u2', [multus]: 'u4' }))
      writeFileSync(path.join(folder, 'a'), json(uid));
    calls.start();
    calls.apply(record('u3'));
    expect([during, uidsOf(calls)]).toEqual([['u3'], ['u2', 'u4']]);
    calls.close();
  });

  it('a namespace with many records - those of another one are read; control: a further one of its own is not', () => {
    const most = 8;
    const events = {
      onRecord: () => undefined,
      onProblem: (file: string, reason: string) => void problems.push({ file, reason }),
    };
    // Half of them are in each folder.
    const folders = [path.join(dir, 'runtime'), path.join(dir, 'multus')] as const;
    for (const folder of folders) mkdirSync(folder);
    const records = new CniRecords(folders, events, most);
    const write = (name: string, namespace: string, folder: string = folders[0]) =>
      writeFileSync(path.join(folder, name), json(name, namespace));
    const ofTenant = () => records.all().filter(({ podNamespace }) => podNamespace === 'tenant').length;
    for (let n = 0; n < most; n++) for (const folder of folders) write(`m${n}`, 'tenant', folder);
    records.start();
    expect([ofTenant(), problems.length]).toEqual([most / 2, most + most / 2]);
    expect(problems[0]?.reason).toBe(`namespace tenant has its share of the ${most} CNI records of the node`);
    write('own', 'tenant');
    write('other', 'shop');
    records.check();
    expect([has(records, 'own'), has(records, 'other')]).toEqual([false, true]);
    const [{ file: first } = { file: '' }] = records.all();
    unlinkSync(path.join(folders[0], first));
    records.check();
    expect([has(records, first), ofTenant()]).toEqual([false, most / 2]);
    records.close();
  });

  it('the record of a further network - released while the folder in which it was holds its sandbox', () => {
    const other = temporaryDirectory();
    const records = new CniRecords([dir, other], { onRecord: () => undefined, onProblem: () => undefined });
    const binding = { ifName: 'net1', recordFile: 'lan-s1-net1', link: { name: 'v1' } } as Binding;
    const write = (name: string, containerId: string, host: string, folder = dir) => {
      const result = { interfaces: [{ name: host }] };
      const args = [['K8S_POD_UID', 'u1']];
      writeFileSync(
        path.join(folder, name),
        JSON.stringify({ kind: 'cniCacheV1', containerId, ifName: 'x', cniArgs: args, result }),
      );
    };
    const sight = (seenIn?: string) => {
      records.check();
      return records.sightOf(binding, seenIn);
    };
    records.start();
    expect(sight(dir), 'an empty folder, as after a reboot').toBe('gone');
    write('pods-s1-eth0', 's1', 'v0', other);
    write('pods-s2-eth0', 's2', 'v2');
    expect(sight(dir), 'another sandbox in it, and another folder with this one').toBe('gone');
    write('lan-s1-net1', 's1', 'v1');
    expect(sight()).toEqual({ folder: dir });
    write('pods-s1-eth0', 's1', 'v0');
    unlinkSync(path.join(dir, 'lan-s1-net1'));
    expect([sight(dir), sight(other), sight()]).toEqual(['released', 'released', 'gone']);
    // A pod can join the network again. It can make a record that cannot be read, too.
    write('lan-s1-net1', 's1', 'v3');
    expect(sight(dir), 'of another interface').toBe('released');
    unlinkSync(path.join(dir, 'lan-s1-net1'));
    writeFileSync(path.join(dir, 'lan-s1-net1'), 'x'.repeat(MAX_RECORD_BYTES + 1));
    expect(sight(dir)).toBe('unread');
    unlinkSync(path.join(dir, 'lan-s1-net1'));
    expect(sight(dir)).toBe('released');
    rmSync(dir, { recursive: true });
    expect(sight(dir), 'the folder as a whole').toBe('gone');
    records.close();
  });

  it('existing and new records - both are read', async () => {
    writeFileSync(path.join(dir, 'a'), json('u1'));
    cache.start();
    expect(seen).toEqual(['u1']);
    writeFileSync(path.join(dir, 'b'), json('u2'));
    await waitFor(() => seen.includes('u2'), { state: () => JSON.stringify(seen) });
    unlinkSync(path.join(dir, 'a'));
    await waitFor(() => !has(cache, 'a'), { state: () => JSON.stringify(cache.all()) });
    expect(uidsOf(cache)).toEqual(['u2']);
  });

  it('the folder of Multus, created later - a file with the name of another one is beside it, and lasts as long as either', async () => {
    const [runtime, multus] = [path.join(dir, 'results'), path.join(dir, 'multus/results')];
    mkdirSync(runtime);
    const both = new CniRecords([runtime, `${multus}/`, multus], {
      onRecord: (r) => seen.push(r.podUid),
      onProblem: (file, reason) => problems.push({ file, reason }),
    });
    both.start();
    writeFileSync(path.join(runtime, 'a'), json('u1'));
    await waitFor(() => has(both, 'a'));
    mkdirSync(multus, { recursive: true });
    writeFileSync(path.join(multus, 'a'), json('u1'));
    both.findFolders();
    expect(uidsOf(both), 'at once').toEqual(['u1', 'u1']);
    writeFileSync(path.join(multus, 'b'), json('u2'));
    await waitFor(() => uidsOf(both).sort().join() === 'u1,u1,u2', { state: () => JSON.stringify({ seen, problems }) });
    unlinkSync(path.join(runtime, 'a'));
    both.check();
    expect([uidsOf(both).sort(), has(both, 'a'), both.isOnDisk('a')]).toEqual([['u1', 'u2'], true, true]);
    unlinkSync(path.join(multus, 'a'));
    both.check();
    expect([uidsOf(both), has(both, 'a'), both.isOnDisk('a')]).toEqual([['u2'], false, false]);
    expect(problems).toEqual([]);
    both.close();
  });

  it('an interface with a record of the runtime and one of Multus - what either shows as chosen is', () => {
    const [runtime, multus] = [path.join(dir, 'results'), path.join(dir, 'multus')];
    const write = (folder: string, network: string, uid: string, plugin: object) => {
      mkdirSync(folder, { recursive: true });
      const config = Buffer.from(JSON.stringify({ plugins: [plugin] })).toString('base64');
      const result = { interfaces: [{ name: `veth-${uid}` }] };
      const record = { ...JSON.parse(json(uid)), containerId: uid, config, result };
      writeFileSync(path.join(folder, `${network}-${uid}-eth0`), JSON.stringify(record));
    };
    for (const uid of ['tenant', 'neighbour', 'large'])
      write(runtime, 'multus-cni-network', uid, { type: 'multus-shim' });
    write(multus, 'pods', 'tenant', { type: 'bridge', mac: '0a:58:0a:63:00:77' });
    write(multus, 'pods', 'neighbour', { type: 'bridge' });
    write(multus, 'pods', 'large', { type: 'bridge', args: { cni: { filler: 'x'.repeat(MAX_PARSED_BYTES) } } });
    const both = new CniRecords([runtime, multus], { onRecord: () => undefined, onProblem: () => undefined });
    both.start();
    const isMacChosen = (podUid: string) =>
      both.isChosen({ link: { name: `veth-${podUid}`, mac: '', linkNetnsid: 1 }, podUid }, 'isMacChosen');
    const chosen = () => ['tenant', 'neighbour', 'large', 'other'].map(isMacChosen);
    expect(chosen(), 'one that is too large may show a choice').toEqual([true, false, true, null]);
    unlinkSync(path.join(multus, 'pods-large-eth0'));
    both.check();
    expect(chosen()).toEqual([true, false, false, null]);
    both.close();
  });

  it('half-written record - read when it is complete', async () => {
    cache.start();
    const whole = json('u3');
    writeFileSync(path.join(dir, 'c'), whole.slice(0, 20));
    appendFileSync(path.join(dir, 'c'), whole.slice(20));
    await waitFor(() => seen.includes('u3'), { state: () => JSON.stringify({ seen, problems }) });
  });

  it('file that is no record - reported; the others are read', async () => {
    writeFileSync(path.join(dir, 'x'), '{"kind":"other"}');
    writeFileSync(path.join(dir, 'y'), json('u4'));
    cache.start();
    expect(problems).toEqual([{ file: path.join(dir, 'x'), reason: 'kind is not cniCacheV1' }]);
    expect(seen).toEqual(['u4']);
  });

  it('FIFO, device behind a link, folder, large file - reported without blocking; records are read', () => {
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
      ['d-large', `${MAX_RECORD_BYTES + 1} bytes are more than the limit of ${MAX_RECORD_BYTES}`],
    ]);
  });

  it('record with arguments of capabilities that a tenant made large - read; too large otherwise - reported', () => {
    const record = JSON.parse(json('u1')) as object;
    const annotations = { 'io.kubernetes.cri.pod-annotations': { a: '\\"<}'.repeat(300_000) } };
    writeFileSync(path.join(dir, 'a'), JSON.stringify({ ...record, capabilityArgs: annotations, result: {} }));
    writeFileSync(path.join(dir, 'b'), JSON.stringify({ ...record, config: 'x'.repeat(MAX_PARSED_BYTES) }));
    cache.start();
    expect(seen).toEqual(['u1']);
    expect(problems).toEqual([{ file: path.join(dir, 'b'), reason: expect.stringMatching(/without capabilityArgs/) }]);
  });

  it('record that is too large - not read again until it is written, and reported at each check', () => {
    const file = path.join(dir, 'a');
    writeFileSync(file, JSON.stringify({ ...JSON.parse(json('u1')), config: 'x'.repeat(MAX_PARSED_BYTES) }));
    const [then, later] = [1_700_000_000, 1_700_000_001];
    utimesSync(file, then, then);
    cache.start();
    writeFileSync(file, json('u1'));
    utimesSync(file, then, then);
    cache.check();
    expect([uidsOf(cache), new Set(problems.map(({ reason }) => reason)).size]).toEqual([[], 1]);
    expect(problems.length).toBeGreaterThan(1);
    utimesSync(file, later, later);
    cache.check();
    expect(uidsOf(cache)).toEqual(['u1']);
  });

  it('folder created later - found', async () => {
    rmSync(dir, { recursive: true });
    cache.start();
    mkdirSync(dir);
    writeFileSync(path.join(dir, 'a'), json('u5'));
    await waitFor(() => seen.includes('u5'), { state: () => JSON.stringify(problems) });
  });

  it('recreated folder - followed again, without its old records', async () => {
    writeFileSync(path.join(dir, 'a'), json('u1'));
    cache.start();
    rmSync(dir, { recursive: true });
    mkdirSync(dir);
    cache.check();
    writeFileSync(path.join(dir, 'b'), json('u2'));
    await waitFor(() => seen.includes('u2'), { state: () => JSON.stringify(problems) });
    expect(uidsOf(cache)).toEqual(['u2']);
    writeFileSync(path.join(dir, 'c'), json('u3'));
    await waitFor(() => seen.includes('u3'), { state: () => JSON.stringify(problems) });
  });

  it('bad address - dropped with its reason; the record stays', () => {
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
