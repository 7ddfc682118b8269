// `bailiff backup` and `restore` on real servers while a pod attacks and a correlator judges.

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import {
  type Bus,
  consumerConfigs,
  ensureTopology,
  FramePublisher,
  lifeOf,
  restoreStream,
  snapshotStream,
  streamConfigs,
  streamInfo,
  violationSubject,
} from '@bailiff/bus';
import { startNats, type TestNats, testUsers } from '@bailiff/bus/testing';
import { podRef } from '@bailiff/correlation/testing';
import { decodeViolationFrame } from '@bailiff/schemas';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { restore } from '../../apps/cli/src/operate/backup/restore.ts';
import type { Session } from '../../apps/cli/src/shared/session.ts';
import { BLOCK_BYTES } from '../../apps/cli/src/shared/tar.ts';
import { runCli } from '../../apps/cli/src/testing.ts';
import { readAll, startBus, startThree } from '../support/bus.ts';
import { SmallDisk } from '../support/small-disk.ts';
import { CorrelatorRig, NODE_A, NODE_B } from './correlator-rig.ts';

const [web, next] = [podRef('web'), podRef('next')];
// Cooldown epochs are aligned to the clock: one of ten minutes, the default, can end during the attack.
const RULE = { type: 'event_count', condition: { gte: 5 }, timespan: '1m', cooldown: '24h', level: 'high' };
const FRAMES_BEFORE = 30;

let directory: string;
beforeAll(() => {
  directory = temporaryDirectory();
  for (const user of ['admin', 'cli'])
    writeFileSync(path.join(directory, user), `password-of-${user}`, { mode: 0o600 });
});

const cli = (nats: TestNats, user: string, ...args: string[]) =>
  runCli([...args, '--nats-url', nats.url, '--nats-user', user, '--nats-password-file', path.join(directory, user)]);
const file = (name: string) => path.join(directory, name);

/** A pod that attacks until it is stopped; each frame is repeated until the bus stores it. */
class Attack {
  packets = 0;
  frames = 0;
  #stopped = false;
  readonly #done: Promise<void>;
  constructor(rig: CorrelatorRig) {
    this.#done = this.#run(rig);
    this.#done.catch(() => undefined);
  }

  async #run(rig: CorrelatorRig): Promise<void> {
    while (!this.#stopped) {
      await rig.spoof(NODE_A, web, 3);
      this.packets += 3;
      this.frames += 1;
    }
  }

  async goesOn(frames = FRAMES_BEFORE): Promise<void> {
    const goal = this.frames + frames;
    await waitFor(() => this.frames >= goal, { what: 'more frames', state: () => this.frames });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }
}

/** Starts a rig with a correlator, whose rule is in force, and an attack that has its verdict. */
async function underAttack(nats: TestNats) {
  const rig = await CorrelatorRig.start(nats);
  await rig.list(NODE_A, [web, next]);
  await rig.list(NODE_B, []);
  await rig.rule('repeated-spoofing', RULE);
  const correlator = await rig.correlator();
  await waitFor(async () => (await correlator.metric('config_revision')) === 1, { what: 'the rule' });
  await rig.settle();
  const attack = new Attack(rig);
  await rig.verdictCount(1);
  await attack.goesOn();
  return { rig, correlator, attack };
}

interface Content {
  messages: { sequence: number; subject: string; data: string }[];
}
async function contentOf(bus: Bus): Promise<Map<string, Content['messages']>> {
  const read = async (name: string) => {
    const messages = (await readAll(bus, name)).map(({ sequence, subject, data }) => ({
      sequence,
      subject,
      data: Buffer.from(data).toString('base64'),
    }));
    return [name, messages] as const;
  };
  return new Map(await Promise.all(streamConfigs().map(({ name }) => read(name))));
}

/** Every message of the backup is there, at its sequence. */
function expectContains(now: Map<string, Content['messages']>, backup: Map<string, Content['messages']>): void {
  for (const [name, messages] of backup) {
    // Rewritten all the time: one value a key.
    if (/bailiff_(services|nodes)$/.test(name)) continue;
    expect([name, now.get(name)?.slice(0, messages.length)]).toEqual([name, messages]);
  }
}

/** What a backup has, read from a server of its own. */
async function restoredContent(backup: string): Promise<Map<string, Content['messages']>> {
  await using nats = await startNats();
  expect(await cli(nats, 'admin', 'restore', backup)).toMatchObject({ exitCode: 0, stderr: '' });
  const admin = await nats.connect('admin');
  return await contentOf(admin);
}

async function expectContinues(rig: CorrelatorRig, attack: Attack): Promise<void> {
  const before = new Set(rig.verdicts.map(({ verdictId }) => verdictId)).size;
  await attack.goesOn();
  await attack.stop();
  const frames = (await readAll(rig.admin, 'VIOLATIONS')).map(({ data }) => decodeViolationFrame(Buffer.from(data)));
  const counts = frames.flatMap(({ violations }) => violations.map(({ cumulativePackets }) => cumulativePackets));
  // Nothing lost: the cumulative count is what the pod sent, whatever the backup lacks.
  expect(Math.max(...counts)).toBe(attack.packets);
  // A start on the restored bus: another pod gets its verdict, the first one not again, and no
  // node is accused.
  const second = await rig.correlator();
  await rig.spoof(NODE_A, next, 5);
  await waitFor(() => rig.verdicts.some(({ groupKey }) => groupKey === next.uid), {
    what: 'a verdict on the restored bus',
    state: () => [rig.verdicts.length, rig.deadLetters, second.log().slice(-5)],
  });
  const stored = await readAll(rig.admin, 'VERDICTS');
  const subjects = stored.map(({ subject }) => subject);
  expect(new Set(subjects).size).toBe(subjects.length);
  expect(new Set(rig.verdicts.map(({ verdictId }) => verdictId)).size).toBe(before + 1);
  expect(rig.deadLetters).toEqual([]);
  expect(rig.verdicts.map(({ rule }) => rule)).not.toContain('foreign-pod-claims');
}

const positions = async (bus: Bus) =>
  Promise.all(
    consumerConfigs().map(async ({ stream, config }) => {
      const { ack_floor, num_pending } = await bus.jsm.consumers.info(stream, config.durable_name);
      return [config.durable_name, ack_floor.stream_seq, num_pending];
    }),
  );

describe('one server', () => {
  it('backup under attack, empty server, restore under attack - nothing is lost, no node is accused', async () => {
    await using started = await startNats({ users: testUsers([NODE_A, NODE_B]) });
    const nats = started;
    const { rig, attack } = await underAttack(nats);
    await using _rig = rig;
    // A connector has taken one of three events.
    for (const n of [1, 2, 3]) await rig.admin.nc.request('bailiff.v1.siem.ocsf.network-activity.shop', `{"n":${n}}`);
    const taken = await (await rig.admin.js.consumers.get('SIEM', 'siem-ocsf')).next();
    await taken?.ackAck();
    const positioned = await positions(rig.admin);
    expect(positioned).toContainEqual(['siem-ocsf', 1, 2]);

    const made = await cli(nats, 'admin', 'backup', file('one.tar'));
    expect(made).toMatchObject({
      exitCode: 0,
      stderr: '',
      stdout: expect.stringMatching(`${streamConfigs().length} streams, \\d+ messages`),
    });
    expect(statSync(file('one.tar')).mode & 0o777).toBe(0o600);
    const verified = await cli(nats, 'admin', 'restore', file('one.tar'), '--dry-run');
    expect(verified).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/VIOLATIONS: \d+ messages[\s\S]*complete and undamaged/),
    });
    const backup = await restoredContent(file('one.tar'));
    expect(backup.get('VIOLATIONS')!.length).toBeGreaterThan(FRAMES_BEFORE);
    expect(backup.get('VERDICTS')!.length).toBe(1);
    // A stream is never changed.
    const refused = await cli(nats, 'admin', 'restore', file('one.tar'));
    expect(refused).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/the bus has \d+ streams.*VIOLATIONS/),
    });
    await attack.goesOn();

    await nats.kill();
    rmSync(nats.storeDir, { recursive: true });
    await nats.restart();
    await rig.admin.whenConnected();
    // The control: the server has nothing.
    await expect(streamInfo(rig.admin, 'VIOLATIONS')).rejects.toMatchObject({ code: 'BUS_NO_STREAM' });
    const back = await cli(nats, 'admin', 'restore', file('one.tar'));
    expect(back).toMatchObject({ exitCode: 0, stderr: '', stdout: expect.stringContaining('with 1 replica each') });
    expectContains(await contentOf(rig.admin), backup);
    expect(await positions(rig.admin)).toEqual(positioned);
    await expectContinues(rig, attack);
  });

  it('a user without the rights, an existing file, and a full disk - an error, and no file', async () => {
    await using nats = await startBus();
    const weak = await cli(nats, 'cli', 'backup', file('weak.tar'), '--timeout', '2s');
    expect(weak).toMatchObject({ exitCode: 4, stderr: expect.stringMatching(/refuses.*cli/) });
    expect(() => statSync(file('weak.tar'))).toThrow('ENOENT');
    writeFileSync(file('there.tar'), 'mine');
    const twice = await cli(nats, 'admin', 'backup', file('there.tar'));
    expect(twice).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('exists') });
    expect(readFileSync(file('there.tar'), 'utf8')).toBe('mine');
    await using disk = await SmallDisk.mount();
    await disk.fill();
    const full = await cli(nats, 'admin', 'backup', path.join(disk.place, 'full.tar'));
    expect(full).toMatchObject({
      exitCode: expect.not.toSatisfy((code: number) => code === 0),
      stderr: expect.stringMatching(/ENOSPC|no space/),
    });
    expect(() => statSync(path.join(disk.place, 'full.tar'))).toThrow('ENOENT');
  });
});

describe('three servers', () => {
  it('backup under attack, and --replace under attack - as on one; a backup of one server goes to three', async () => {
    await using three = await startThree({ users: testUsers([NODE_A, NODE_B]) });
    const { rig, attack } = await underAttack(three.first);
    await using _rig = rig;
    const made = await cli(three.second, 'admin', 'backup', file('three.tar'));
    expect(made).toMatchObject({ exitCode: 0, stderr: '' });
    // On a single server: one replica.
    const backup = await restoredContent(file('three.tar'));
    await attack.goesOn();
    const back = await cli(three.second, 'admin', 'restore', file('three.tar'), '--replace', '--yes');
    expect(back).toMatchObject({ exitCode: 0, stderr: '', stdout: expect.stringContaining('with 3 replicas each') });
    expect((await streamInfo(rig.admin, 'VIOLATIONS')).config.num_replicas).toBe(3);
    // A reader may be sent to a server that still copies the stream from its leader.
    const isWhole = async () => {
      const now = await contentOf(rig.admin);
      return [...backup.keys()].every((name) => (now.get(name)?.length ?? 0) >= (backup.get(name)?.length ?? 0)) && now;
    };
    expectContains(await waitFor(isWhole, { what: 'all servers to have all streams', timeoutMs: 30_000 }), backup);
    await expectContinues(rig, attack);

    await using single = await startBus();
    expect(await cli(single, 'admin', 'backup', file('single.tar'))).toMatchObject({ exitCode: 0, stderr: '' });
    const more = await cli(single, 'admin', 'restore', file('single.tar'), '--replace', '--yes', '--replicas', '3');
    expect(more).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('the bus is a single server') });
    expect((await streamInfo(await single.connect('admin'), 'SIEM')).config.num_replicas).toBe(1);
    const moved = await cli(
      three.second,
      'admin',
      'restore',
      file('single.tar'),
      '--replace',
      '--yes',
      '--replicas',
      '3',
    );
    expect(moved).toMatchObject({ exitCode: 0, stderr: '', stdout: expect.stringContaining('with 3 replicas each') });
  });
});

it('one of three servers is away - nothing is deleted, and --replicas 1 restores', async () => {
  await using three = await startThree();
  const { first, third, admin } = three;
  expect(await cli(first, 'admin', 'backup', file('away.tar'))).toMatchObject({ exitCode: 0 });
  const restored = (...args: string[]) => cli(first, 'admin', 'restore', file('away.tar'), ...args);
  await third.stop();
  // A leader takes a server for one that follows until it has not heard of it for some seconds.
  const isAway = async () => {
    const infos = await Promise.all(streamConfigs().map(({ name }) => streamInfo(admin, name)));
    return infos.every(({ cluster }) =>
      (cluster?.replicas ?? []).some(({ name, current }) => name === 'nats-2' && !current),
    );
  };
  await waitFor(isAway, { what: 'the leaders to miss the third server', timeoutMs: 60_000 });
  const created = (await streamInfo(admin, 'VIOLATIONS')).created;
  expect(await restored('--replace', '--yes')).toMatchObject({
    exitCode: 2,
    stderr: expect.stringMatching(
      /nats-2 of the bus does not follow.*3 replicas[\s\S]*nothing was changed.*--replicas 1/,
    ),
  });
  expect((await streamInfo(admin, 'VIOLATIONS')).created).toBe(created);
  // Servers count the room of deleted streams some seconds later.
  const isRestored = async () => (await restored('--replace', '--yes', '--replicas', '1')).exitCode === 0;
  await waitFor(isRestored, { what: 'a restore with one replica', timeoutMs: 60_000 });
});

it('bus setup opens a stream before the restore does - its new messages belong to the new life', async () => {
  await using nats = await startBus();
  const publisher = new FramePublisher(await nats.connect('collector-node-a'));
  const send = (id: string) => publisher.publish(violationSubject('node-a', 'spoof'), Buffer.from(id), { msgId: id });
  const lives = async (meanwhile: (admin: Bus) => Promise<unknown>) => {
    const admin = await nats.connect('admin');
    for (const name of streamConfigs().map(({ name }) => name)) await admin.jsm.streams.delete(name);
    await restore(sessionOf(onFirstState(admin, meanwhile)), file('setup.tar'), {});
    await send('three');
    const info = await streamInfo(admin, 'VIOLATIONS');
    return [1, 2, 3].map((sequence) => lifeOf(info, sequence) > lifeOf(info, 1));
  };
  for (const id of ['one', 'two']) await send(id);
  expect(await cli(nats, 'admin', 'backup', file('setup.tar'))).toMatchObject({ exitCode: 0 });
  const setUp = async (admin: Bus) => {
    await ensureTopology(admin);
    await send('three');
  };
  expect(await lives(setUp)).toEqual([false, false, true]);
  // The control: the restore opens it.
  expect(await lives(async () => undefined)).toEqual([false, false, true]);
  publisher.close();
});

/** A bus on which something happens before the first response about the restored VIOLATIONS. */
function onFirstState(admin: Bus, meanwhile: (admin: Bus) => Promise<unknown>): Bus {
  let isRestored = false;
  const send = async (...args: Parameters<Bus['requests']['send']>) => {
    if (args[0] === '$JS.API.STREAM.RESTORE.VIOLATIONS') isRestored = true;
    else if (isRestored && args[0] === '$JS.API.STREAM.INFO.VIOLATIONS') {
      isRestored = false;
      await meanwhile(admin);
    }
    return admin.requests.send(...args);
  };
  return new Proxy(admin, {
    get: (target, name) => (name === 'requests' ? { send } : Reflect.get(target, name, target)),
  });
}

const sessionOf = (bus: Bus) =>
  ({ bus, io: { signal: new AbortController().signal }, out: { line: () => undefined } }) as unknown as Session;

describe('the file', () => {
  const FRAMES = 200;
  async function* pieces(bytes: Buffer) {
    for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
  }

  it('any tar reads it; a damaged or shortened one is refused before anything changes', async () => {
    await using nats = await startBus();
    const collector = await nats.connect('collector-node-a');
    const publisher = new FramePublisher(collector);
    for (let n = 0; n < FRAMES; n += 1)
      await publisher.publish(violationSubject('node-a', 'spoof'), randomBytes(2000), { msgId: `m${n}` });
    publisher.close();
    expect(await cli(nats, 'admin', 'backup', file('whole.tar'))).toMatchObject({ exitCode: 0, stderr: '' });
    const list = execFileSync('tar', ['--list', '--file', file('whole.tar')], { encoding: 'utf8' }).split('\n');
    expect(list).toContain('VIOLATIONS.snapshot');
    expect(list.at(-2)).toBe('manifest.json');
    const damage = (name: string, change: (fd: number) => void) => {
      copyFileSync(file('whole.tar'), file(name));
      change(openSync(file(name), 'r+'));
      return cli(nats, 'admin', 'restore', file(name), '--replace', '--yes');
    };
    const flipped = await damage('flipped.tar', (fd) => void writeSync(fd, 'x', BLOCK_BYTES + 100));
    expect(flipped).toMatchObject({ exitCode: 2, stderr: expect.stringMatching(/snapshot of \w+ is damaged/) });
    const { size } = statSync(file('whole.tar'));
    writeFileSync(file('short.tar'), readFileSync(file('whole.tar')).subarray(0, size / 2));
    const short = await cli(nats, 'admin', 'restore', file('short.tar'), '--replace', '--yes');
    expect(short).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('has no manifest.json') });
    const login = ['--nats-url', nats.url, '--nats-user', 'admin', '--nats-password-file', file('admin')];
    const asked = await runCli(['restore', file('whole.tar'), '--replace', ...login], { answers: ['n'] });
    expect(asked).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/of the bus 127\.0\.0\.1:\d+ \(selected by --nats-url\)\?/),
    });
    // The control: nats-server finds the damage in the middle of a restore, when the others are deleted.
    const source = await nats.connect('admin');
    const chunks: Buffer[] = [];
    const head = await snapshotStream(source, 'VIOLATIONS', async (chunk) => void chunks.push(Buffer.from(chunk)));
    const whole = Buffer.concat(chunks);
    const middle = Math.floor(whole.length / 2);
    whole.fill(7, middle, middle + 4096);
    await using other = await startNats();
    await expect(restoreStream(await other.connect('admin'), head, pieces(whole))).rejects.toThrow(/corrupt/);
    // Nothing was deleted.
    const admin = await nats.connect('admin');
    for (const { name } of streamConfigs()) expect((await streamInfo(admin, name)).config.name).toBe(name);
  });
});
