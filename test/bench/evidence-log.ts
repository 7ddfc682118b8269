/**
 * Cost of the log of evidence beside a correlator: while both read a stored stream, and while both follow a
 * live one. Rate of the log.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { streamInfo } from '@bailiff/bus';
import { checkpointIn } from '@bailiff/evidence';
import { waitFor } from '@bailiff/service/testing';
import { cpuSeconds, startApp } from './app-process.ts';
import {
  fill,
  filledPlace,
  judged,
  type Place,
  startCorrelator,
  VIOLATIONS_PER_FRAME,
} from './correlator-throughput.ts';
import { fixed, median, type Section, thousands } from './report.ts';

const VIOLATIONS = 300_000;
const CATCH_UP_MS = 120_000;
const PODS = 10_000;
const ROUNDS = 3;
/** Of 100 nodes under attack (docs/sizing.md). */
const LIVE_FRAMES_PER_SECOND = 440;
const LIVE_SECONDS = 20;
const LIVE_VIOLATIONS = LIVE_FRAMES_PER_SECOND * LIVE_SECONDS * VIOLATIONS_PER_FRAME;

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

const hasHashed = (url: string, frames: number) =>
  waitFor(async () => checkpointIn(await (await fetch(url)).text()).size >= frames, {
    what: 'the log',
    timeoutMs: 300_000,
  });

/** Reads the whole stream. */
async function hashed(place: Place, frames: number) {
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-bench-log-'));
  const { log, begun, url } = await startLog(place, directory);
  try {
    await hasHashed(url, frames);
    // A head follows within five seconds.
    return { rate: frames / Math.max(1, (Date.now() - begun) / 1000), cpu: cpuSeconds(log.pid) };
  } finally {
    await log.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * A correlator that has read the stored stream, and a log if wanted, follow new frames. @returns frames per second until
 * the last one is judged, and processor time of the correlator
 */
async function followed(place: Place, withLog: boolean): Promise<{ rate: number; cpu: number }> {
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-bench-log-'));
  const log = withLog ? await startLog(place, directory) : null;
  await using correlator = startCorrelator(place);
  try {
    await correlator.until('caught up', CATCH_UP_MS);
    const { metricsAddress } = await correlator.until('ready', CATCH_UP_MS);
    const judgedFrames = async () => {
      const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
      return Number(/^bailiff_correlator_frames_total (\d+)/m.exec(text)?.[1]);
    };
    const bus = await place.nats.connect('admin');
    const stored = async () => (await streamInfo(bus, 'VIOLATIONS')).state.messages;
    if (log) await hasHashed(log.url, await stored());
    const [before, cpuBefore] = [await judgedFrames(), cpuSeconds(correlator.pid)];
    const frames = await fill(bus, place.nodes, LIVE_VIOLATIONS, LIVE_FRAMES_PER_SECOND);
    const published = performance.now();
    await waitFor(async () => (await judgedFrames()) >= before + frames, {
      what: 'the last frame',
      timeoutMs: CATCH_UP_MS,
    });
    const cpu = cpuSeconds(correlator.pid) - cpuBefore;
    return { rate: frames / (LIVE_SECONDS + (performance.now() - published) / 1_000), cpu };
  } finally {
    await log?.log.stop();
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
  const live: Record<'alone' | 'beside', Awaited<ReturnType<typeof followed>>>[] = [];
  for (let round = 0; round < ROUNDS; round += 1)
    live.push({ alone: await followed(place, false), beside: await followed(place, true) });
  const of = (value: (round: (typeof rounds)[number]) => number) => median(rounds.map(value));
  const ofLive = (value: (round: (typeof live)[number]) => number) => median(live.map(value));
  const stored = of(({ alone, beside }) => beside / alone);
  const followedRatio = ofLive(({ alone, beside }) => beside.rate / alone.rate);
  const liveCost = (one: 'alone' | 'beside') =>
    fixed(
      ofLive((round) => round[one].cpu),
      2,
    );
  return {
    title: 'Log of evidence',
    method: `A bundled evidence-log reads a stored stream of ${thousands(frames)} frames (${thousands(VIOLATIONS)} violations) from its beginning, alone, and while a correlator reads the same stream. Then both follow ${LIVE_FRAMES_PER_SECOND} new frames a second for ${LIVE_SECONDS} seconds. ${ROUNDS} alternating rounds; processor time of the first part includes the start.`,
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
      [
        'correlator beside a log that reads all of it too',
        `${thousands(of(({ beside }) => beside))} violations/s: ${fixed(stored, 2)} of its rate alone`,
      ],
      ['processor time of the correlator on the live stream, alone', `${liveCost('alone')} s`],
      ['beside a log that follows it too', `${liveCost('beside')} s`],
    ],
    budgets: [
      {
        budget: 'on the live stream, beside the log, at least 0.97 of the correlator’s rate alone',
        measured: fixed(followedRatio, 3),
        met: followedRatio >= 0.97,
      },
    ],
  };
}
