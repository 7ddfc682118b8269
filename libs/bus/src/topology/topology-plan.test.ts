import fc from 'fast-check';
import { expect, test } from 'vitest';
import { requiredHorizonMs, streamConfigs, type TopologyOptions, type WantedStream } from './topology.ts';
import { ageText, bytesText, type Loss, lossText, planTopology, replicasText } from './topology-plan.ts';

const DAY_MS = 86_400_000;
const GIB = 1024 ** 3;

/** Configurations of a server that was set up with these options. */
const bus = (options: TopologyOptions = {}, edits: Record<string, Partial<WantedStream>> = {}) =>
  new Map(streamConfigs(options).map((config) => [config.name, { ...config, ...edits[config.name] }]));
const of = (plan: { streams: WantedStream[] }, name: string) => plan.streams.find((config) => config.name === name);

test('plan - a new bus gets the defaults, or the given options', () => {
  expect(planTopology(new Map()).streams).toEqual(streamConfigs());
  const options = { replicas: 3, violationsMaxAgeMs: 2 * DAY_MS, violationsMaxBytes: GIB };
  expect(planTopology(new Map(), options)).toMatchObject({
    streams: streamConfigs(options),
    losses: [],
    refused: false,
  });
});

test('plan - options that are not given keep the value of the server', () => {
  const was = { replicas: 3, violationsMaxAgeMs: 30 * DAY_MS, violationsMaxBytes: 20 * GIB };
  const plan = planTopology(bus(was));
  expect(plan).toMatchObject({ options: was, streams: streamConfigs(was), losses: [], refused: false });
  // Also values below the defaults, because an operator chose them.
  const small = { violationsMaxAgeMs: DAY_MS, violationsMaxBytes: GIB };
  expect(planTopology(bus(small)).options).toMatchObject(small);
});

test('plan - a higher limit needs no shrink', () => {
  const more = { replicas: 3, violationsMaxAgeMs: 14 * DAY_MS, violationsMaxBytes: 8 * GIB };
  expect(planTopology(bus(), more)).toMatchObject({ streams: streamConfigs(more), losses: [], refused: false });
});

test.each<[string, TopologyOptions, string[]]>([
  [
    'age',
    { violationsMaxAgeMs: DAY_MS },
    ['VIOLATIONS max_age', 'VERDICTS max_age', 'RESPONSES max_age', 'DEAD_LETTERS max_age'],
  ],
  ['bytes', { violationsMaxBytes: GIB }, ['VIOLATIONS max_bytes']],
  ['replicas', { replicas: 1 }, streamConfigs().map(({ name }) => `${name} num_replicas`)],
])('plan - a lower limit is refused and reported, and applied with shrink: %s', (_, options, losses) => {
  const found = bus({ replicas: 3 });
  const plan = planTopology(found, options);
  expect(plan.refused).toBe(true);
  expect(plan.losses.map(({ stream, limit }) => `${stream} ${limit}`).sort()).toEqual([...losses].sort());
  const done = planTopology(found, { ...options, shrink: true });
  expect(done).toMatchObject({ refused: false, losses: plan.losses });
  expect(done.streams).toEqual(streamConfigs({ replicas: 3, ...options }));
});

test('plan - shrink alone lowers no limit', () => {
  const was = { replicas: 3, violationsMaxAgeMs: 30 * DAY_MS, violationsMaxBytes: 20 * GIB };
  expect(planTopology(bus(was), { shrink: true })).toMatchObject({ streams: streamConfigs(was), losses: [] });
});

test('plan - a limit raised by hand stays, and refuses nothing', () => {
  const found = bus(
    {},
    {
      VERDICTS: { max_age: 0, max_bytes: 2 * GIB },
      KV_bailiff_pods: { max_bytes: 4 * GIB },
      KV_bailiff_quarantine: { max_msgs: 300_000 },
    },
  );
  for (const options of [{}, { violationsMaxAgeMs: 7 * DAY_MS }]) {
    const plan = planTopology(found, options);
    expect(plan.refused).toBe(false);
    expect(of(plan, 'VERDICTS')).toMatchObject({ max_age: 0, max_bytes: 2 * GIB });
    expect(of(plan, 'KV_bailiff_pods')).toMatchObject({ max_bytes: 4 * GIB });
    expect(of(plan, 'KV_bailiff_quarantine')).toMatchObject({ max_msgs: 300_000 });
  }
});

test('plan - a removed limit is no limit, and setting one lowers it', () => {
  const found = bus({}, { VIOLATIONS: { max_age: 0, max_bytes: -1 } });
  const plan = planTopology(found);
  expect(of(plan, 'VIOLATIONS')).toMatchObject({ max_age: 0, max_bytes: -1 });
  expect(of(plan, 'VERDICTS')).toMatchObject({ max_age: 0 });
  expect(planTopology(found, { violationsMaxAgeMs: 30 * DAY_MS }).refused).toBe(true);
  expect(planTopology(found, { violationsMaxBytes: 30 * GIB }).refused).toBe(true);
});

test('plan - a missing stream is created again, and the others stay', () => {
  const found = bus({ replicas: 3, violationsMaxAgeMs: 30 * DAY_MS });
  found.delete('VIOLATIONS');
  const plan = planTopology(found);
  expect(of(plan, 'VIOLATIONS')).toEqual(of({ streams: streamConfigs({ replicas: 3 }) }, 'VIOLATIONS'));
  expect(of(plan, 'VERDICTS')?.max_age).toBe(requiredHorizonMs(30 * DAY_MS, DAY_MS) * 1e6);
});

test('plan - no option lowers a limit without shrink', () => {
  const options = fc.record(
    {
      replicas: fc.constantFrom(1, 3, 5),
      violationsMaxAgeMs: fc.integer({ min: 1, max: 60 }).map((days) => days * DAY_MS),
      longestTimespanMs: fc.integer({ min: 1, max: 48 }).map((hours) => hours * 3_600_000),
      violationsMaxBytes: fc.integer({ min: 1, max: 64 }).map((size) => size * GIB),
    },
    { requiredKeys: [] },
  );
  const size = (value: number | undefined) => (value === undefined || value <= 0 ? Number.POSITIVE_INFINITY : value);
  fc.assert(
    fc.property(options, options, (was, wanted) => {
      const found = bus(was);
      const plan = planTopology(found, wanted);
      if (plan.refused) return;
      for (const config of plan.streams) {
        for (const limit of ['max_age', 'max_bytes', 'max_msgs', 'num_replicas'] as const)
          expect(size(config[limit]), `${config.name} ${limit}`).toBeGreaterThanOrEqual(
            size(found.get(config.name)?.[limit]),
          );
      }
    }),
  );
});

test('texts - losses', () => {
  const age: Loss = {
    stream: 'VIOLATIONS',
    limit: 'max_age',
    from: 30 * DAY_MS * 1e6,
    to: DAY_MS * 1e6,
    follows: false,
  };
  const held = { messages: 50, bytes: 3 * GIB, older: 12 };
  expect(lossText(age, held)).toBe('VIOLATIONS: kept 1 day, not 30 days: of 50 messages 12 are older and are deleted');
  expect(lossText({ ...age, from: 0 }, { ...held, older: 0 })).toBe(
    'VIOLATIONS: kept 1 day, not for ever: of 50 messages none is older now',
  );
  const size: Loss = { stream: 'VIOLATIONS', limit: 'max_bytes', from: 4 * GIB, to: GIB, follows: false };
  expect(lossText(size, held)).toBe('VIOLATIONS: up to 1 GiB, not 4 GiB: it holds 3 GiB, the oldest 2 GiB are deleted');
  expect(lossText({ ...size, from: -1 }, { ...held, bytes: 1024 })).toBe(
    'VIOLATIONS: up to 1 GiB, not any number of bytes: it holds 1 KiB, nothing is deleted now',
  );
  const replicas: Loss = { stream: 'SIEM', limit: 'num_replicas', from: 3, to: 1, follows: false };
  expect(replicasText([replicas])).toBe('SIEM: kept by one server, not 3: a failure of that server loses its data');
  expect(replicasText([{ ...replicas, from: 5, to: 3 }, replicas])).toBe(
    '2 streams and buckets: kept by 3 servers, not 5: fewer of them may fail',
  );
  expect([36 * 3_600_000, 60_000, 90_000, 0].map(ageText)).toEqual(['36 hours', '1 minute', '90 seconds', 'for ever']);
  expect([1, 1536, 5 * GIB, 1024 ** 5, 0].map(bytesText)).toEqual([
    '1 bytes',
    '1.5 KiB',
    '5 GiB',
    '1 PiB',
    'any number of bytes',
  ]);
});
