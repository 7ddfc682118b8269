/** Cost of the log of evidence beside a correlator that reads the same stream, and the rate of the log. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { streamInfo } from '@bailiff/bus';
import { checkpointIn } from '@bailiff/evidence';
import { waitFor } from '@bailiff/service/testing';
import { cpuSeconds, startApp } from './app-process.ts';
import { filledPlace, judged, type Place } from './correlator-throughput.ts';
import { fixed, median, type Section, thousands } from './report.ts';

const VIOLATIONS = 300_000;
const PODS = 10_000;
const ROUNDS = 3;

async function startLog({ nats }: Place, directory: string) {
  const [password, key] = ['password', 'key.pem'].map((name) => path.join(directory, name)) as [string, string];
  writeFileSync(password, 'password-of-evidence-log', { mode: 0o600 });
  writeFileSync(key, generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }));
  const log = startApp('evidence-log', [
    ...['--nats-url', nats.url, '--nats-user', 'evidence-log', '--nats-password-file', password, '--key-file', key],
    ...['--directory', path.join(directory, 'log'), '--origin', 'bench', '--listen-address', '127.0.0.1:0'],
  ]);
  const begun = (await log.until('keeping the log')) as { time: number; listenAddress?: string };
  return { log, begun: begun.time, url: `http://${begun.listenAddress}/checkpoint` };
}

/** Reads the whole stream. */
async function hashed(place: Place, frames: number) {
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-bench-log-'));
  const { log, begun, url } = await startLog(place, directory);
  try {
    const whole = async () => checkpointIn(await (await fetch(url)).text()).size >= frames;
    await waitFor(whole, { what: 'the log', timeoutMs: 300_000 });
    // A head follows within five seconds.
    return { rate: frames / Math.max(1, (Date.now() - begun) / 1000), cpu: cpuSeconds(log.pid) };
  } finally {
    await log.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

export async function bench(): Promise<Section> {
  await using place = await filledPlace(PODS, VIOLATIONS);
  const { state } = await streamInfo(await place.nats.connect('admin'), 'VIOLATIONS');
  const frames = state.messages;
  const rounds: { alone: number; beside: number; correlator: number; log: number; rate: number }[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const alone = await judged(place, VIOLATIONS, false);
    const log = await hashed(place, frames);
    const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-bench-log-'));
    const both = await startLog(place, directory);
    const beside = await judged(place, VIOLATIONS, false);
    await both.log.stop();
    rmSync(directory, { recursive: true, force: true });
    rounds.push({ alone: alone.rate, beside: beside.rate, correlator: alone.cpu, log: log.cpu, rate: log.rate });
  }
  const of = (value: (round: (typeof rounds)[number]) => number) => median(rounds.map(value));
  return {
    title: 'Log of evidence',
    method: `A bundled evidence-log reads a stored stream of ${thousands(frames)} frames (${thousands(VIOLATIONS)} violations) from its beginning, alone, and while a correlator reads the same stream. ${ROUNDS} alternating rounds; processor time includes the start.`,
    header: ['', 'result'],
    rows: [
      ['log, with the interval of heads', `${thousands(of(({ rate }) => rate))} frames/s`],
      [
        'processor time of the log',
        `${fixed(
          of(({ log }) => log),
          2,
        )} s`,
      ],
      [
        'processor time of the correlator',
        `${fixed(
          of(({ correlator }) => correlator),
          2,
        )} s`,
      ],
      ['correlator alone', `${thousands(of(({ alone }) => alone))} violations/s`],
      ['correlator beside a log that reads all of it too', `${thousands(of(({ beside }) => beside))} violations/s`],
    ],
    budgets: [],
  };
}
