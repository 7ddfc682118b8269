import { expect, it } from 'vitest';
import type { StreamInfo } from '../status/service-health.ts';
import { leaderProblems, replicaProblems } from './replicas.ts';

const SECOND = 1e9;
const replica = (name: string, more: object = {}) => ({
  name,
  current: true,
  active: 0.2 * SECOND,
  peer: 'p',
  ...more,
});
const info = (stream: string, ...replicas: object[]) =>
  ({ config: { name: stream }, cluster: { name: 'bailiff', leader: 'nats-0', replicas } }) as unknown as StreamInfo;
const texts = (...infos: (StreamInfo | null)[]) => replicaProblems(infos).map(({ severity, text }) => [severity, text]);

it('replicas - a server that follows no more is named once, with the streams and since when', () => {
  const away = { current: false, active: 125 * SECOND };
  const streams = ['VIOLATIONS', 'VERDICTS', 'SIEM', 'CONFIG_LOG'].map((name, index) =>
    info(name, replica('nats-1'), replica('nats-2', { ...away, active: (125 + index) * SECOND })),
  );
  expect(texts(...streams, null)).toEqual([
    [
      'warn',
      'server "nats-2" has not followed 4 streams (VIOLATIONS, VERDICTS, SIEM and 1 more) for 2m: it is down, cut off, or its disk is full; no other one may fail',
    ],
  ]);
});

it('replicas - one that restarts, one that is quiet, and a single server are no problem', () => {
  const starting = replica('nats-2', { current: false, active: 40 * SECOND });
  const quiet = replica('nats-1', { active: 500 * SECOND });
  const single = { config: { name: 'SIEM' } } as unknown as StreamInfo;
  expect(texts(info('VERDICTS', starting, quiet), single)).toEqual([]);
});

it('replicas - one that was lost before the leaders of the streams started has no time, and is named', () => {
  const lost = replica('Server name unknown (peerID: c)', { current: false, offline: true, active: 0 });
  expect(texts(info('SIEM', lost), info('VERDICTS', lost))).toEqual([
    ['warn', expect.stringMatching(/peerID: c\)" has not followed 2 streams .* since before their leaders started: /)],
  ]);
});

it('streams without a leader - are named, and no follower of theirs; a single server has none to elect', () => {
  const away = replica('nats-2', { current: false, active: 125 * SECOND });
  const leaderless = { ...info('SIEM', away), cluster: { name: 'bailiff', replicas: [away] } } as unknown as StreamInfo;
  const single = { config: { name: 'VERDICTS' } } as unknown as StreamInfo;
  const found = leaderProblems([leaderless, info('VIOLATIONS'), single, null]);
  expect(found).toMatchObject([
    {
      severity: 'shout',
      exitCode: 7,
      area: 'streams',
      text: expect.stringMatching(/^1 stream \(SIEM\) has no leader/),
    },
  ]);
  expect(texts(leaderless)).toEqual([]);
});
