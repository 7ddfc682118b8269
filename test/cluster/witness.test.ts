// `bailiff witness`: under it a log cannot show two histories, and it never goes back; with the evidence-log as its
// client, and with requests that no log sends.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import path from 'node:path';
import { podRef } from '@bailiff/correlation/testing';
import {
  COSIGNATURE,
  checkpointIn,
  consistencyProof,
  formatVerifierKey,
  LogReader,
  LogWriter,
  MAX_REQUEST_BYTES,
  verifierKey,
} from '@bailiff/evidence';
import {
  cosign,
  cosignature,
  EXPORTER,
  formatRequest,
  incident,
  keyOf,
  LOG,
  linesOf,
  logged,
  MemoryLog,
  ORIGIN,
  signHead,
} from '@bailiff/evidence/testing';
import { signNote } from '@bailiff/policy/note';
import { waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../apps/cli/src/testing.ts';
import { nodeArgs } from '../../tools/children.ts';
import { readRules } from '../../tools/promql.ts';
import { launch, launchApp, type RunningProcess } from '../support/process.ts';
import { CorrelatorRig, NODE_A } from './correlator-rig.ts';

const NAME = 'witness.test/w1';
const KEY = keyOf(5);
const WITNESS = verifierKey(NAME, KEY.publicKey, COSIGNATURE);
/** Of the log of the evidence-log, which has the key of the other one. */
const SERVED = 'bailiff.test/served';
const vkeyOf = (origin: string) => formatVerifierKey(verifierKey(origin, LOG.publicKey));
const web = podRef('web');
const ORIGIN_HASH = createHash('sha256').update(ORIGIN).digest('hex');
const PATIENCE_MS = 120_000;
/** Of a witness: MAX_CONNECTIONS. */
const CONNECTIONS = 128;

let rig: CorrelatorRig;
beforeAll(async () => {
  rig = await CorrelatorRig.start();
  const pem = { format: 'pem', type: 'pkcs8' } as const;
  for (const [name, { privateKey }] of Object.entries({ witness: KEY, log: LOG }))
    writeFileSync(file(`${name}.key`), privateKey.export(pem));
  writeFileSync(file('exporter.pub'), EXPORTER.publicKey.export({ format: 'pem', type: 'spki' }));
  for (const user of ['cli', 'evidence-log'])
    writeFileSync(file(`${user}.password`), `password-of-${user}`, { mode: 0o600 });
}, 60_000);
afterAll(() => rig?.[Symbol.asyncDispose]());
const file = (name: string) => path.join(rig.directory, name);

interface Running extends AsyncDisposable {
  url: string;
  process: RunningProcess;
}

async function witness(dir: string, listen = '127.0.0.1:0'): Promise<Running> {
  const flags = ['--dir', file(dir), '--key', file('witness.key'), '--name', NAME, '--listen', listen];
  const args = ['witness', ...flags, '--log', vkeyOf(ORIGIN), vkeyOf(SERVED)];
  const running = launch(process.execPath, [...nodeArgs('apps/cli/src/main.ts'), ...args]);
  await running.printed(/ at http:\/\/\S+:\d+\./, PATIENCE_MS);
  const url = / at (http:\/\/\S+:\d+)\./.exec(running.out())?.[1] ?? '';
  return { url, process: running, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}

async function post(url: string, body: string | Uint8Array<ArrayBuffer>) {
  const response = await fetch(`${url}/add-checkpoint`, { method: 'POST', body });
  return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
}
const bodyOf = (log: MemoryLog, old: number, size = log.size) =>
  formatRequest(old, consistencyProof(old, size, log.at), log.head(size));
const logOf = (size: number, word = 'entry') => {
  const log = new MemoryLog();
  for (let index = 0; index < size; index++) log.append(Buffer.from(index < 3 ? `entry ${index}` : `${word} ${index}`));
  return log;
};

const forkOf = (size: number) => logOf(size, 'other');

/** Two bundles of one log of 40 messages, whose histories differ: what two readers of it get. */
const twoHistories = () =>
  [1, 2].map((seed) => {
    const bundle = logged(incident(seed), new MemoryLog());
    while (bundle.log.size < 40) bundle.log.append(Buffer.from(`rest ${seed} ${bundle.log.size}`));
    return bundle;
  }) as [ReturnType<typeof logged>, ReturnType<typeof logged>];

describe('witness - heads', () => {
  it(
    'grows with an honest log; a log with two histories is found, which without a witness two readers accept',
    async () => {
      await using running = await witness('forked');
      const { url } = running;
      const [one, other] = twoHistories();
      const verified = async ({ log, header, records }: ReturnType<typeof logged>, line: string, ...more: string[]) => {
        const indexOf = (proof: string) => Number(/index (\d+)/.exec(proof)?.[1]);
        const proven = records.map((record) =>
          record.proof === undefined ? record : { ...record, proof: log.proof(indexOf(record.proof)) + line },
        );
        const name = file(`${header.verdictId}.evidence`);
        writeFileSync(
          name,
          linesOf({ header, records: proven }, log.stated())
            .map((text) => `${text}\n`)
            .join(''),
        );
        const keys = ['--key', file('exporter.pub'), '--log-key', vkeyOf(ORIGIN), ...more];
        const { stdout } = await runCli(['evidence', 'verify', name, ...keys, '--json'], {});
        const { checks } = JSON.parse(stdout) as { checks: { name: string; outcome: string; detail: string }[] };
        expect(checks.filter(({ outcome }) => outcome === 'FAIL')).toEqual([]);
        return checks.find((check) => check.name === 'witness');
      };
      // The control: without a witness each reader accepts its own history, and the check says that only the producer vouches for it.
      for (const history of [one, other])
        expect(await verified(history, '')).toMatchObject({
          outcome: 'SKIP',
          detail: expect.stringContaining('alone vouches'),
        });
      // The witness sees one of them, in steps.
      let line = '';
      for (const [old, size] of [
        [0, 5],
        [5, 5],
        [5, 6],
        [6, 40],
      ] as const) {
        const { status, text } = await post(url, bodyOf(one.log, old, size));
        expect([old, size, status]).toEqual([old, size, 200]);
        line = text;
      }
      const known = ['--witness-key', formatVerifierKey(WITNESS)];
      expect(await verified(one, line, ...known)).toMatchObject({
        outcome: 'PASS',
        detail: expect.stringContaining(NAME),
      });
      for (const body of [bodyOf(other.log, 40), bodyOf(other.log, 5), formatRequest(40, [], other.log.head(40))]) {
        const refused = await post(url, body);
        expect([409, 422]).toContain(refused.status);
      }
      expect(await post(url, formatRequest(40, [], other.log.head()))).toMatchObject({ status: 422 });
      await running.process.printed('REFUSED: bailiff.example/log signed two heads of size 40');
      expect(await verified(other, '', ...known)).toMatchObject({
        outcome: 'SKIP',
        detail: expect.stringContaining(NAME),
      });
      // Its cosignature is of the other history.
      expect(cosignature(other.log.head() + line, WITNESS)).toBe('wrong');
    },
    PATIENCE_MS,
  );

  it('an old head replayed - refused with the size that it has seen; after kills it has forgotten nothing that it cosigned', async () => {
    const log = logOf(60);
    let seen = 0;
    for (let kill = 0; kill < 6; kill++) {
      await using running = await witness('killed');
      const { url } = running;
      expect(await post(url, bodyOf(log, 0, 2))).toMatchObject(
        seen === 0 ? { status: 200 } : { status: 409, text: `${seen}\n`, type: 'text/x.tlog.size' },
      );
      seen = Math.max(seen, 2);
      for (let step = 0; step <= kill; step++) {
        expect(await post(url, bodyOf(log, seen, seen + 1))).toMatchObject({ status: 200 });
        seen++;
      }
      // Its response may be lost.
      const last = post(url, bodyOf(log, seen, seen + 1)).then(
        ({ status }) => status === 200,
        () => false,
      );
      await running.process.kill('SIGKILL');
      if (await last) seen++;
      const note = readFileSync(path.join(file('killed'), ORIGIN_HASH), 'utf8');
      const kept = checkpointIn(note).size;
      expect([seen, seen + 1]).toContain(kept);
      expect(typeof cosignature(note, WITNESS)).toBe('number');
      seen = kept;
    }
    await using running = await witness('killed');
    const page = await fetch(`${running.url}/${ORIGIN_HASH}/checkpoint`);
    expect([page.status, checkpointIn(await page.text()).size]).toEqual([200, seen]);
    await running.process.kill('SIGTERM');
    expect(await running.process.exit).toEqual([0, null]);
  }, 300_000);
});

describe('witness - hostile requests', () => {
  it(
    'too large, not text, other methods and paths, many at once - refused, and an honest one is cosigned beside them',
    async () => {
      await using running = await witness('hostile');
      const { url } = running;
      const log = logOf(9);
      expect((await post(url, 'x'.repeat(MAX_REQUEST_BYTES + 1))).status).toBe(413);
      expect((await post(url, new Uint8Array([255, 254, 10, 10]))).status).toBe(400);
      expect((await post(url, `${bodyOf(log, 0)}field: 1\n`)).status).toBe(400);
      for (const [method, at, status] of [
        ['GET', '/add-checkpoint', 405],
        ['PUT', '/add-checkpoint', 405],
        ['POST', '/', 404],
        ['POST', '/sign-subtree', 404],
        ['GET', `/${'0'.repeat(64)}/checkpoint`, 404],
        ['GET', '/../witness.key/checkpoint', 404],
      ] as const)
        expect([at, (await fetch(url + at, { method })).status]).toEqual([at, status]);
      // Without a length, it is not read.
      const endless = await new Promise<number>((resolve, reject) => {
        const one = request(`${url}/add-checkpoint`, { method: 'POST', headers: { 'transfer-encoding': 'chunked' } });
        one.on('response', ({ statusCode = 0 }) => {
          resolve(statusCode);
          one.destroy();
        });
        one.on('error', reject);
        for (let part = 0; part < 5; part++) one.write('x'.repeat(MAX_REQUEST_BYTES / 4));
      });
      expect(endless).toBe(411);
      const all = await Promise.all(Array.from({ length: 40 }, () => post(url, bodyOf(log, 0))));
      // One of them was first.
      expect(all.map(({ status }) => status).sort()).toEqual([200, ...Array.from({ length: 39 }, () => 409)]);
      expect((await post(url, bodyOf(log, 9))).status).toBe(200);
    },
    PATIENCE_MS,
  );

  it(
    'connections that stay open, also within a request - those of another source are admitted and cosigned',
    async () => {
      await using running = await witness('held');
      const [port, host] = [Number(new URL(running.url).port), '127.0.0.1'];
      const begun = 'POST /add-checkpoint HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n';
      let closed = 0;
      const hold = async (at: number) => {
        const socket = connect({ port, host, localAddress: '127.0.0.2' });
        socket.on('error', () => undefined).on('close', () => (closed += 1));
        await once(socket, 'connect');
        if (at % 2 === 0) socket.write(begun);
        return socket;
      };
      const held = await Promise.all(Array.from({ length: 2 * CONNECTIONS }, (_, at) => hold(at)));
      await waitFor(() => closed >= CONNECTIONS, { what: 'the older ones to end', state: () => closed });
      expect((await post(running.url, bodyOf(logOf(9), 0))).status).toBe(200);
      expect(closed, 'control: the listener is full').toBeLessThanOrEqual(CONNECTIONS + 1);
      for (const socket of held) socket.destroy();
    },
    PATIENCE_MS,
  );

  it(
    'a log with extension lines - its next head is cosigned too',
    async () => {
      await using running = await witness('extended');
      const log = logOf(9);
      const extended = (size: number) =>
        signNote(`${log.head(size).split('\n\n')[0]}\nan extension\n`, ORIGIN, LOG.privateKey);
      for (const [old, size] of [
        [0, 5],
        [5, 9],
      ] as const) {
        const body = formatRequest(old, consistencyProof(old, size, log.at), extended(size));
        expect([size, (await post(running.url, body)).status]).toEqual([size, 200]);
      }
      expect((await post(running.url, formatRequest(5, [], extended(5)))).text).toBe('9\n');
    },
    PATIENCE_MS,
  );

  it(
    'a stranger who ends requests, or sends a head of the log without its proof - is no fork of the log; control: a fork',
    async () => {
      await using running = await witness('stranger');
      const { url } = running;
      const log = logOf(9);
      expect((await post(url, bodyOf(log, 0, 5))).status).toBe(200);
      const ended = Array.from({ length: 20 }, async () => {
        const headers = { 'content-length': '1000' };
        const one = request(`${url}/add-checkpoint`, { method: 'POST', headers });
        one.on('error', () => undefined);
        await new Promise<void>((resolve) => one.write('old 5\n', () => resolve()));
        one.destroy();
      });
      await Promise.all(ended);
      // Heads are public: anyone can send one.
      for (let again = 0; again < 3; again++) {
        expect((await post(url, formatRequest(5, [], log.head(9)))).status).toBe(422);
        expect((await post(url, formatRequest(5, [Buffer.alloc(32)], log.head(5)))).status).toBe(422);
      }
      const unproven = 'not cosigned: no proof shows that size 9 continues size 5';
      await running.process.printed(unproven);
      expect((await post(url, bodyOf(log, 5))).status).toBe(200);
      const before = running.process.out();
      expect(before).not.toMatch(/REFUSED|a request failed/);
      expect(before.split(unproven)).toHaveLength(2);
      expect((await post(url, formatRequest(9, [], forkOf(9).head()))).status).toBe(422);
      await running.process.printed('REFUSED: bailiff.example/log signed two heads of size 9');
    },
    PATIENCE_MS,
  );

  it(
    'a damaged state - it cosigns nothing, and says so',
    async () => {
      mkdirSync(file('damaged'));
      writeFileSync(path.join(file('damaged'), ORIGIN_HASH), 'x');
      await using running = await witness('damaged');
      expect((await post(running.url, bodyOf(logOf(9), 0))).status).toBe(500);
      await running.process.printed('a request failed');
      // The other log is not affected.
      const other = logOf(9);
      expect((await post(running.url, formatRequest(0, [], other.head(9, LOG.privateKey, SERVED)))).status).toBe(200);
    },
    PATIENCE_MS,
  );
});

describe('witness - of the evidence-log', () => {
  it(
    'of the command - `evidence log` asks it too, and says which one does not cosign',
    async () => {
      await using running = await witness('command');
      const end = new AbortController();
      const env = { BAILIFF_NATS_URL: rig.nats.url, BAILIFF_NATS_PASSWORD_FILE: file('cli.password') };
      const asked = [running.url, 'http://127.0.0.1:9'].map((url) => `${formatVerifierKey(WITNESS)} ${url}`);
      const args = ['--dir', file('kept'), '--key', file('log.key'), '--origin', ORIGIN, '--witness', ...asked];
      const run = runCli(['evidence', 'log', ...args], { env, signal: end.signal });
      const checkpoint = path.join(file('kept'), 'checkpoint');
      const isCosigned = () =>
        existsSync(checkpoint) && cosignature(readFileSync(checkpoint, 'utf8'), WITNESS) !== null;
      await waitFor(isCosigned, { what: 'a cosigned head', timeoutMs: PATIENCE_MS });
      end.abort();
      expect(await run).toMatchObject({
        exitCode: 0,
        stderr: expect.stringMatching(/not cosigned by witness\.test\/w1: /),
      });
    },
    PATIENCE_MS,
  );

  it('of another party, whose cosignatures have a time that no date has - status still shows the log', async () => {
    await using served = createServer(async (incoming, response) => {
      const body = Buffer.concat(await incoming.toArray()).toString();
      const text = body.slice(body.indexOf('\n\n') + 2, body.lastIndexOf('\n\n') + 1);
      response.end(cosign(text, NAME, KEY.privateKey, Number.MAX_SAFE_INTEGER));
    }).listen(0, '127.0.0.1');
    await once(served, 'listening');
    const { port } = served.address() as AddressInfo;
    await using log = launchApp('evidence-log', [
      ...['--nats-url', rig.nats.url, '--nats-password-file', file('evidence-log.password')],
      ...['--directory', file('dateless'), '--origin', SERVED, '--key-file', file('log.key'), '--head-every-ms', '100'],
      ...['--listen-address', '127.0.0.1:0', '--metrics-address', '127.0.0.1:0'],
      ...['--witnesses', `${formatVerifierKey(WITNESS)} http://127.0.0.1:${port}`],
    ]);
    const env = { BAILIFF_NATS_URL: rig.nats.url, BAILIFF_NATS_PASSWORD_FILE: file('cli.password') };
    await waitFor(async () => (await runCli(['status', '--json'], { env })).stdout.includes('+275760-09-13T'), {
      what: 'status with the cosignature',
      timeoutMs: PATIENCE_MS,
      state: () => log.out().slice(-500),
    });
  }, 300_000);

  it('cosigns its heads; away, it delays nothing; a log that was restored from a backup is named', async () => {
    await rig.list(NODE_A, [web]);
    await rig.spoof(NODE_A, web, 2);
    let running = await witness('served');
    const { url } = running;
    const flags = (directory: string, at = url) => [
      ...['--nats-url', rig.nats.url, '--nats-password-file', file('evidence-log.password')],
      ...['--directory', file(directory), '--origin', SERVED, '--key-file', file('log.key'), '--head-every-ms', '100'],
      ...['--listen-address', '127.0.0.1:0', '--metrics-address', '127.0.0.1:0'],
      ...['--witnesses', `${formatVerifierKey(WITNESS)} ${at}`],
    ];
    const noteOf = (directory: string) => {
      const log = new LogReader(file(directory));
      log.close();
      return log.note;
    };
    const cosignedSize = (directory: string, more: number) =>
      waitFor(
        () => {
          const note = noteOf(directory);
          return typeof cosignature(note, WITNESS) === 'number' && checkpointIn(note).size >= more;
        },
        { what: `a cosigned head of ${more}`, timeoutMs: PATIENCE_MS, state: () => noteOf(directory) },
      );
    try {
      await using log = launchApp('evidence-log', flags('volume'));
      await cosignedSize('volume', 1);
      const first = checkpointIn(noteOf('volume')).size;
      await rig.spoof(NODE_A, web, 2);
      await cosignedSize('volume', first + 1);
      // Without its witness it goes on, uncosigned, and is cosigned again later.
      await running.process.kill();
      await rig.spoof(NODE_A, web, 2);
      await waitFor(() => checkpointIn(noteOf('volume')).size >= first + 2, { what: 'a head', timeoutMs: PATIENCE_MS });
      running = await witness('served', new URL(url).host);
      await cosignedSize('volume', first + 2);
      await log.kill('SIGTERM');
      // A volume with another history under the same name.
      const other = new LogWriter(file('restored'));
      other.add('VERDICTS', 1, 1, Buffer.alloc(32, 1));
      other.flush((size) => signHead({ origin: SERVED, size }, other.at, LOG.privateKey));
      other.close();
      await using restored = launchApp('evidence-log', flags('restored'));
      const env = { BAILIFF_NATS_URL: rig.nats.url, BAILIFF_NATS_PASSWORD_FILE: file('cli.password') };
      const named = await waitFor(
        async () => /✗ evidence-log witness\.test\/w1.*/.exec((await runCli(['status'], { env })).stdout)?.[0],
        { what: 'status to name the witness', timeoutMs: PATIENCE_MS },
      );
      expect(named).toMatch(/it has seen (another history of the log|\d+ messages, and the log has \d+)/);
      expect(cosignature(noteOf('restored'), WITNESS)).toBeNull();
      // The alerts have series, as test/cluster/metrics.test.ts shows for the other services.
      const { metricsAddress } = await restored.logged('ready', PATIENCE_MS);
      const metrics = await (await fetch(`http://${metricsAddress as string}/metrics`)).text();
      const asked = readRules().flatMap(({ expr }) => expr.match(/\bbailiff_evidence_log_\w+/g) ?? []);
      expect(asked.length).toBeGreaterThan(2);
      for (const name of asked) expect(metrics).toContain(`\n${name}`);
      expect(metrics).toMatch(/witness_failing\{.*witness="witness\.test\/w1".*\} 1\n/);
    } finally {
      await running[Symbol.asyncDispose]();
    }
  }, 300_000);
});
