// The evidence-log: one log under rights of its own, across kills, a new key, a second process, and messages that
// the bus has deleted; and its copies.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { apiRequest, microsOf, streamInfo } from '@bailiff/bus';
import { podRef } from '@bailiff/correlation/testing';
import {
  checkpointIn,
  consistencyProof,
  formatVerifierKey,
  LOGGED_STREAMS,
  LogReader,
  verifierKey,
} from '@bailiff/evidence';
import { keyOf, openNote, verifyConsistency } from '@bailiff/evidence/testing';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { launchApp, type RunningProcess } from '../support/process.ts';
import { SmallDisk } from '../support/small-disk.ts';
import { CorrelatorRig, NODE_A, NODE_B } from './correlator-rig.ts';

const ORIGIN = 'bailiff.test/log';
const web = podRef('web');
const far = podRef('far');
const KILLS = 12;
const PATIENCE_MS = 120_000;

let rig: CorrelatorRig;
beforeAll(async () => {
  rig = await CorrelatorRig.start();
  for (const user of ['cli', 'evidence-log'])
    writeFileSync(file(`${user}.password`), `password-of-${user}`, { mode: 0o600 });
  for (const [name, seed] of [
    ['first', 1],
    ['second', 2],
  ] as const)
    writeFileSync(file(`${name}.key`), keyOf(seed).privateKey.export({ format: 'pem', type: 'pkcs8' }));
  await rig.list(NODE_A, [web]);
  await rig.list(NODE_B, [far]);
  await rig.correlator();
  await rig.settle();
}, 60_000);
afterAll(() => rig?.[Symbol.asyncDispose]());

const file = (name: string) => path.join(rig.directory, name);
const vkey = (seed: number) => verifierKey(ORIGIN, keyOf(seed).publicKey);
const directoryOf = (name: string) => {
  mkdirSync(file(name), { recursive: true });
  return file(name);
};

function launchLog(directory: string, { key = 'first', origin = ORIGIN, headEveryMs = 100 } = {}): RunningProcess {
  return launchApp('evidence-log', [
    ...['--nats-url', rig.nats.url, '--nats-password-file', file('evidence-log.password')],
    ...['--directory', directory, '--origin', origin, '--key-file', file(`${key}.key`)],
    ...['--head-every-ms', String(headEveryMs), '--listen-address', '127.0.0.1:0', '--metrics-address', '127.0.0.1:0'],
  ]);
}
const addressOf = async (running: RunningProcess) =>
  `http://${(await running.logged('keeping the log', PATIENCE_MS))['listenAddress'] as string}`;
const headOf = async (url: string) => (await fetch(`${url}/checkpoint`)).text();
/** Messages of the four streams. */
async function stored(): Promise<number> {
  const infos = await Promise.all([...LOGGED_STREAMS].map((stream) => streamInfo(rig.admin, stream)));
  return infos.reduce((sum, { state }) => sum + state.last_seq, 0);
}
const covers = (url: string, size: number) =>
  waitFor(async () => checkpointIn(await headOf(url)).size >= size, {
    what: `a head of ${size} messages`,
    timeoutMs: PATIENCE_MS,
  });
const copy = (url: string, name: string) => runCli(['evidence', 'copy-log', url, '--dir', file(name)], {});

/** The copy has every message once, in the order of its stream. */
function expectWhole(name: string, total: number): void {
  const log = new LogReader(file(name));
  const leaves = log.leaves(0, 1_000_000);
  const newest = new Map<string, number>();
  for (const { stream, sequence } of leaves) {
    expect(sequence, stream).toBe((newest.get(stream) ?? 0) + 1);
    newest.set(stream, sequence);
  }
  expect([log.size, leaves.length]).toEqual([total, total]);
  log.close();
}

describe('evidence-log - kept', () => {
  it('kill -9 at any moment - every head that was seen continues into the last one, and no message is missing', async () => {
    const directory = directoryOf('killed');
    const seen: string[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      await using running = launchLog(directory);
      const url = await addressOf(running);
      // Messages arrive at every stage of a head.
      for (let heads = 0; heads <= kill % 4; ) {
        await rig.spoof(NODE_A, web, 1);
        const note = await headOf(url);
        if (note === '' || note === seen.at(-1)) continue;
        seen.push(note);
        heads++;
      }
      const last = rig.spoof(NODE_A, web, 1);
      await running.kill('SIGKILL');
      await last;
    }
    const total = await stored();
    // As of a kill between writing a head and its rename.
    writeFileSync(path.join(directory, '.checkpoint.0badcafe'), 'half');
    await using running = launchLog(directory);
    const url = await addressOf(running);
    await covers(url, total);
    expect(readdirSync(directory).filter((name) => name.startsWith('.checkpoint'))).toEqual([]);
    expect(await copy(url, 'copy')).toMatchObject({
      exitCode: 0,
      stdout: `${ORIGIN}: ${total} messages, ${total} of them new\n`,
    });
    expectWhole('copy', total);
    const log = new LogReader(file('copy'));
    const last = checkpointIn(log.note);
    expect(seen.length).toBeGreaterThan(KILLS);
    for (const note of seen) {
      expect(openNote(note, [vkey(1)])).not.toBeNull();
      const head = checkpointIn(note);
      const proof = consistencyProof(head.size, last.size, log.at);
      expect(verifyConsistency(head, last, proof), `size ${head.size} of ${last.size}`).toBe(true);
    }
    // The control: a head of another history does not continue into it.
    const other = { ...checkpointIn(seen[0] as string), root: Buffer.alloc(32, 1) };
    expect(verifyConsistency(other, last, consistencyProof(other.size, last.size, log.at))).toBe(false);
    log.close();
  }, 300_000);

  it('another key - the newest head is signed again at once, and older heads stay valid under the former one', async () => {
    const directory = directoryOf('rotated');
    const headWith = async (key: string) => {
      await using running = launchLog(directory, { key });
      const url = await addressOf(running);
      await covers(url, await stored());
      const note = await headOf(url);
      await running.kill('SIGTERM');
      expect(await running.exit).toEqual([0, null]);
      return note;
    };
    const former = await headWith('first');
    const newer = await headWith('second');
    expect([openNote(former, [vkey(1)]), openNote(former, [vkey(2)])]).toEqual([expect.any(String), null]);
    expect([openNote(newer, [vkey(1)]), openNote(newer, [vkey(2)])]).toEqual([null, expect.any(String)]);
    expect(checkpointIn(newer)).toEqual(checkpointIn(former));
  }, 120_000);

  it('another origin, a key that is none, a damaged directory - refused with the reason', async () => {
    const directory = directoryOf('refused');
    {
      await using running = launchLog(directory);
      await covers(await addressOf(running), await stored());
    }
    const refusal = async (options: Parameters<typeof launchLog>[1]) => {
      await using running = launchLog(directory, options);
      const [code] = await running.exit;
      return [code, running.out()];
    };
    expect(await refusal({ origin: 'other.test/log' })).toEqual([
      6,
      expect.stringContaining(`the log ${ORIGIN}, not other.test/log`),
    ]);
    writeFileSync(file('none.key'), 'none');
    expect(await refusal({ key: 'none' })).toEqual([6, expect.stringContaining('is not a private key in PEM')]);
    writeFileSync(path.join(directory, 'hashes-0'), '');
    expect(await refusal({})).toEqual([6, expect.stringContaining('is shorter than its head says')]);
  }, 120_000);

  it(
    'a full disk - it ends with the reason, whatever did not fit, and with room again the log has each message once',
    async () => {
      await using disk = await SmallDisk.mount();
      const directory = path.join(disk.place, 'log');
      {
        await using running = launchLog(directory);
        await covers(await addressOf(running), await stored());
      }
      const spare = (blocks: number) => path.join(disk.place, `spare-${blocks}`);
      for (const blocks of [1, 2, 3]) writeFileSync(spare(blocks), Buffer.alloc(blocks * 4096));
      // With as many blocks free, another file is the first that does not fit: hashes, places, the head.
      for (const blocks of [0, 1, 2, 3]) {
        disk.fill();
        if (blocks > 0) rmSync(spare(blocks));
        await using running = launchLog(directory);
        // How many messages still fit depends on how far the files fill their last blocks.
        let ended = false;
        void running.exit.then(() => (ended = true));
        while (!ended) await rig.spoof(NODE_B, far, 1);
        expect(await running.exit).toEqual([6, null]);
        expect(running.out()).toMatch(/directory: .*(no space left|disk is full)/);
      }
      expect(checkpointIn(readFileSync(path.join(directory, 'checkpoint'), 'utf8')).size).toBeLessThan(await stored());
      disk.makeRoom();
      const total = await stored();
      await using running = launchLog(directory);
      const url = await addressOf(running);
      await covers(url, total);
      await copy(url, 'copy-of-full');
      expectWhole('copy-of-full', total);
    },
    PATIENCE_MS,
  );

  it('a second process on the directory - one of the two ends, and the log stays one', async () => {
    const directory = directoryOf('twice');
    await using first = launchLog(directory);
    await covers(await addressOf(first), await stored());
    await using second = launchLog(directory);
    await addressOf(second);
    let ended: string | null = null;
    for (const one of [first, second]) void one.exit.then(() => (ended ??= one.out()));
    await waitFor(
      async () => {
        await rig.spoof(NODE_A, web, 1);
        return ended !== null;
      },
      { what: 'one of the two to end', timeoutMs: PATIENCE_MS },
    );
    expect(ended).toContain('does not have the expected length');
    await Promise.all([first.kill(), second.kill()]);
    await using alone = launchLog(directory);
    const total = await stored();
    const url = await addressOf(alone);
    await covers(url, total);
    await copy(url, 'copy-of-two');
    expectWhole('copy-of-two', total);
  }, 120_000);
});

describe('evidence-log - read', () => {
  let running: RunningProcess;
  let url: string;
  beforeAll(async () => {
    running = launchLog(directoryOf('read'));
    url = await addressOf(running);
    await covers(url, await stored());
  }, PATIENCE_MS);
  afterAll(() => running?.[Symbol.asyncDispose]());
  const env = () => ({ BAILIFF_NATS_URL: rig.nats.url, BAILIFF_NATS_PASSWORD_FILE: file('cli.password') });

  it(
    'a copy gives the proofs of a bundle, also about a message that the bus has deleted; status names the log',
    async () => {
      // Of another node: the first one has used up its share.
      await rig.spoof(NODE_B, far, 30);
      const verdictOfFar = () => rig.verdicts.find(({ pod }) => pod?.uid === far.uid)?.verdictId;
      const verdict = await waitFor(verdictOfFar, { what: 'the verdict', timeoutMs: PATIENCE_MS });
      await covers(url, await stored());
      expect((await copy(url, 'proofs')).exitCode).toBe(0);
      const out = file('logged.evidence');
      const made = await runCli(['evidence', 'export', verdict, '--out', out, '--log', file('proofs')], { env: env() });
      expect([made.exitCode, made.stderr]).toEqual([0, '']);
      const keys = ['--log-key', formatVerifierKey(vkey(1))];
      const checked = await runCli(['evidence', 'verify', out, ...keys], {});
      expect(checked.stdout).toMatch(/PASS {2}inclusion/);
      expect(checked.stdout).toMatch(/PASS {2}log-head/);
      const { created, state, config } = await streamInfo(rig.admin, 'VIOLATIONS');
      await apiRequest(rig.admin, '$JS.API.STREAM.UPDATE.VIOLATIONS', { ...config, max_msgs: 1 });
      expect((await streamInfo(rig.admin, 'VIOLATIONS')).state.messages).toBe(1);
      const log = new LogReader(file('read'));
      for (const sequence of [1, state.last_seq])
        expect(log.find('VIOLATIONS', microsOf(created), sequence)).not.toBeNull();
      log.close();
      const status = await waitFor(
        async () => {
          const { stdout } = await runCli(['status'], { env: env() });
          return /evidence-log: \d+ running.*/.exec(stdout)?.[0];
        },
        { what: 'the status' },
      );
      expect(status).toMatch(/1 running, .*; bailiff.test\/log has \d+ messages.*, key [0-9a-f]{8}/);
    },
    PATIENCE_MS,
  );

  it('pages - tiles as in tlog-tiles, and nothing else', async () => {
    const { size } = checkpointIn(await headOf(url));
    const get = async (at: string) => {
      const response = await fetch(`${url}${at}`);
      return [response.status, (await response.arrayBuffer()).byteLength];
    };
    expect(size).toBeGreaterThan(20);
    expect(await get('/tile/0/000.p/20')).toEqual([200, 20 * 32]);
    for (const at of [
      '/tile/0/x001/000',
      `/tile/0/000.p/${size + 300}`,
      '/tile/9/000',
      '/tile/0/000.p/0',
      '/tile/0/0',
      '/../first.key',
      '/',
    ])
      expect([at, ...(await get(at))]).toEqual([at, 404, expect.any(Number)]);
    expect(await get(`/leaves/${size + 1_000_000}`)).toEqual([200, 0]);
    expect(await get('/leaves/007')).toEqual([404, expect.any(Number)]);
  });

  it(
    'a copy finds a log that was rewritten, that went back, and one of another form',
    async () => {
      await copy(url, 'watched');
      const head = readFileSync(path.join(file('watched'), 'checkpoint'));
      const pages = new Map<string, string>();
      const server = createServer(({ url: at = '' }, response) => {
        response.writeHead(pages.has(at) ? 200 : 404).end(pages.get(at));
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const liar = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const { size } = checkpointIn(String(head));
      const claim = (of: number) => {
        const root = Buffer.alloc(32, 9).toString('base64');
        pages.set('/checkpoint', `${ORIGIN}\n${of}\n${root}\n\n— ${ORIGIN} AAAA\n`);
      };
      try {
        claim(size - 1);
        expect((await copy(liar, 'watched')).stderr).toContain('it went back');
        claim(size + 1);
        pages.set(`/leaves/${size}`, `VIOLATIONS 1 1 ${Buffer.alloc(32).toString('base64')}\n`);
        expect((await copy(liar, 'watched')).stderr).toContain('it was rewritten');
        for (const line of ['../x 1 1 AAAA\n', 'SIEM 1 1 AAAA\n', '\u001b[31m\n']) {
          pages.set(`/leaves/${size}`, line);
          expect((await copy(liar, 'watched')).stderr).toContain('a leaf of another form');
        }
        pages.set(`/leaves/${size}`, '');
        expect((await copy(liar, 'watched')).stderr).toContain('fewer messages than its head says');
      } finally {
        await new Promise((resolve) => server.close(resolve));
      }
      // The copy is as it was, and continues.
      expect(readFileSync(path.join(file('watched'), 'checkpoint'))).toEqual(head);
      expect((await copy(url, 'watched')).exitCode).toBe(0);
    },
    PATIENCE_MS,
  );
});
