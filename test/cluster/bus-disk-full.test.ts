// A bus whose disk is full, on a file system of its own. Acknowledged messages stay; all others
// wait at their sender, which reports the reason, and continue when there is room. A server that
// switched JetStream off, or closed a stream, must be restarted, and that is reported.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { FramePublisher, getMessage, openBucket, streamInfo, violationSubject } from '@bailiff/bus';
import { startNats, testUsers } from '@bailiff/bus/testing';
import { podRef } from '@bailiff/correlation/testing';
import { waitFor } from '@bailiff/service/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { fullDiskOf, SmallDisk } from '../support/small-disk.ts';
import { CorrelatorRig, NODE_A, NODE_B } from './correlator-rig.ts';

/** Above the threshold of the built-in rule for repeated spoofing. */
const PACKETS = 20;
const PODS = 40;
const FRAME_BYTES = 16_000;
/**
 * A silent server is detected by the second publish without an acknowledgement, 5 s each, one part
 * after the other.
 */
const UNTIL_SILENCE_MS = 30_000;
const OFF_CHECK = /^JetStream is off at the server: .*make room on its disk/;

let disk: SmallDisk;
let rig: CorrelatorRig;
beforeEach(async () => {
  disk = await SmallDisk.mount();
  const storeDir = path.join(disk.place, 'store');
  rig = await CorrelatorRig.start(await startNats({ storeDir, users: testUsers([NODE_A, NODE_B]) }));
});
afterEach(async () => {
  await rig?.[Symbol.asyncDispose]();
  await disk?.[Symbol.asyncDispose]();
});

const bailiff = (...words: string[]) => {
  const password = path.join(rig.directory, 'cli.password');
  writeFileSync(password, 'password-of-cli', { mode: 0o600 });
  return runCli([...words, '--nats-url', rig.nats.url, '--nats-user', 'cli', '--nats-password-file', password]);
};

/**
 * A collector's publisher with a large frame in flight; `reported` are the reasons of its resends.
 */
async function collector() {
  const reported: string[] = [];
  const publisher = new FramePublisher(await rig.bus(`collector-${NODE_B}`), {
    onResend: ({ error }) => reported.push(`${error.code}: ${error.message}`),
  });
  let sent = 0;
  const publish = () => {
    sent += 1;
    return publisher.publish(violationSubject(NODE_B, 'spoof'), Buffer.alloc(FRAME_BYTES), { msgId: `large/${sent}` });
  };
  return { reported, publish };
}

it('a full disk - frames and verdicts wait, with a report; with room again each is stored once, also after a restart', async () => {
  const pods = Array.from({ length: PODS }, (_, n) => podRef(`web-${n}`, { uid: `u-web-${n}` }));
  await rig.list(NODE_A, pods);
  await rig.settle();
  const { reported, publish } = await collector();
  for (let n = 0; n < 4; n += 1) await publish();
  for (const pod of pods) await rig.spoof(NODE_A, pod, PACKETS);
  disk.fill();
  // The correlator judges the stored frames. There is no room for verdicts, nor for the dead
  // letters of the large frames, which are invalid.
  const full = fullDiskOf(rig.admin);
  const correlator = await rig.correlator({ wait: false });
  const stuck = publish();
  stuck.catch(() => undefined);
  const untilFull = (what: string, isPrinted: () => boolean | Promise<boolean>) => {
    const look = () => {
      disk.fill();
      return isPrinted();
    };
    return waitFor(look, { what, timeoutMs: UNTIL_SILENCE_MS, state: () => [reported, correlator.log()] });
  };
  await untilFull('the collector to report it', () =>
    reported.some((why) => why.startsWith(full.code) && full.words.test(why)),
  );
  for (const part of ['verdicts', 'dead letters']) {
    const isPrinted = (line: Record<string, unknown>) => line['part'] === part && full.words.test(JSON.stringify(line));
    await untilFull(`the correlator to warn about ${part}`, () => correlator.log().some(isPrinted));
  }
  // A server that refuses is available: only a silent one makes its writers unready.
  if (!full.isRefused)
    await untilFull('readiness to report the reason', async () =>
      full.words.test((await correlator.ready()).checks['bus'] ?? ''),
    );
  const grants = Array.from({ length: 200 }, (_, n) => ({ namespace: `shop-${n}`, prefixes: ['10.0.0.0/24'] }));
  const reason = ['--yes', '--reason', 'x'];
  const refused = await bailiff(
    'config',
    'set',
    'spoof.cluster._.default',
    `allowedPrefixes=${JSON.stringify(grants)}`,
    ...reason,
  );
  expect([refused.exitCode, refused.stderr.slice(-600)]).toEqual([
    7,
    expect.stringMatching(new RegExp(`${full.words.source}.*\n.*the disk of nats-server (?:is|may be) full`)),
  ]);

  disk.makeRoom();
  if (!full.isRefused) await rig.nats.restart();
  const { sequence } = await stuck;
  await rig.verdictCount(PODS);
  await waitFor(() => rig.deadLetters.length === 5, { what: 'the dead letters', state: () => rig.deadLetters });
  await rig.nats.restart();
  await rig.admin.whenConnected();
  expect((await getMessage(rig.admin, 'VIOLATIONS', sequence))?.data.length).toBe(FRAME_BYTES);
  expect((await streamInfo(rig.admin, 'VIOLATIONS')).state.messages).toBe(5 + PODS);
  expect(rig.verdicts.map(({ pod }) => pod?.name).sort()).toEqual(pods.map(({ name }) => name).sort());
  expect(correlator.log().filter(({ msg }) => msg === 'cannot publish a verdict')).toEqual([]);
  expect(await correlator.stop()).toBe(0);
}, 90_000);

it('JetStream off for lack of space - reported by status, doctor, publishers and readiness, until room and a restart', async () => {
  const before = await rig.correlator();
  const { reported, publish } = await collector();
  await publish();
  const config = openBucket(rig.admin, 'bailiff_config');
  // There is no room for the server's own copy into CONFIG_LOG: it then switches JetStream off.
  const put = (n: number) => config.put(`spoof.namespace.shop-${n}.default`, '{}');
  await put(0);
  disk.fill();
  let stored = 1;
  await waitFor(
    async () => {
      disk.fill();
      const done = await put(stored).then(
        () => true,
        () => false,
      );
      if (done) stored += 1;
      return rig.nats.log.includes('JetStream out of space, will be DISABLED');
    },
    { what: 'JetStream to be switched off', intervalMs: 5, state: () => rig.nats.log.slice(-2_000) },
  );
  const stuck = publish();
  stuck.catch(() => undefined);
  await waitFor(() => reported.some((why) => /^BUS_NO_STREAM: .*JetStream is off .*make room/.test(why)), {
    what: 'the collector to report it',
    state: () => reported,
  });
  const OFF =
    /JetStream is off at the server: nothing can be read or written\n.*make room on its disk, then restart nats-server/;
  const off = async () => {
    const commands = [['doctor', '--only', 'bus'], ['status'], ['config', 'list']];
    const runs = await Promise.all(commands.map((words) => bailiff(...words)));
    for (const { exitCode, stdout, stderr } of runs) {
      expect([exitCode, stdout + stderr]).toEqual([7, expect.stringMatching(OFF)]);
    }
  };
  await off();
  await waitFor(async () => OFF_CHECK.test((await before.ready()).checks['bus'] ?? ''), {
    what: 'the running correlator to become unready',
    state: before.ready,
  });
  const correlator = await rig.correlator({ wait: false });
  const waits = () => correlator.log().some((line) => /JetStream is off .*make room/.test(JSON.stringify(line)));
  await waitFor(waits, { what: 'the correlator to report what it waits for', state: correlator.log });
  disk.makeRoom();
  await off();
  await rig.nats.restart();
  await stuck;
  for (const each of [before, correlator])
    await waitFor(async () => (await each.ready()).ok, { what: 'the correlator to be ready', state: each.log });
  // Acknowledged messages, plus at most those that were stored without an acknowledgement.
  const messages = () =>
    Promise.all(
      ['KV_bailiff_config', 'CONFIG_LOG'].map(async (name) => (await streamInfo(rig.admin, name)).state.messages),
    );
  const isLogged = async () => {
    const [put = 0, copied] = await messages();
    return put >= stored && copied === put;
  };
  await waitFor(isLogged, { what: `${stored} changes in the log`, state: () => messages().catch(String) });
  expect((await bailiff('doctor', '--only', 'bus')).stdout).toMatch(/streams and buckets: all/);
}, 60_000);
