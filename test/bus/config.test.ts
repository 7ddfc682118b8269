import {
  type Bus,
  ConfigLog,
  configHistory,
  deleteConfig,
  openBucket,
  readConfig,
  streamInfo,
  writeConfig,
} from '@bailiff/bus';
import { RuleHistory } from '@bailiff/correlation';
import { BUILT_IN_RULES, ConfigError, type CorrelationRule, MAX_REVISION } from '@bailiff/policy';
import { PolicyHistory } from '@bailiff/response';
import { waitFor } from '@bailiff/service/testing';
import { expect, test } from 'vitest';
import { DesiredState } from '../../apps/collector/src/desired/desired-state.ts';
import { SettingsFeed } from '../../apps/ipam-sync/src/settings/settings-feed.ts';
import { intercepted, isQueued, losing, readAll, startBus, withhold } from '../support/bus.ts';
import { followConfig } from '../support/config-log.ts';

const KEY = 'spoof.cluster._.default';
const HOUR_MS = 3_600_000;
const ME = { by: 'alice', why: 'a test' };
const modes = (mode: string) => ({ modes: { 'ipv4-source': mode } });
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'stored',
    (error: unknown) => (error instanceof ConfigError ? error.code : String(error)),
  );

/**
 * A bus that holds back the messages that a ConfigLog reads until they are released. Its requests
 * pass and are counted.
 */
function heldBack(bus: Bus) {
  const held: (() => void)[] = [];
  let holding = true;
  let answered = 0;
  const send = async (...rest: Parameters<Bus['requests']['send']>) => {
    const answer = await bus.requests.send(...rest);
    if (rest[0].includes('STREAM.INFO')) answered += 1;
    return answer;
  };
  const receive = (_error: Error | null, _message: unknown, deliver: () => void) => {
    if (holding) held.push(deliver);
    else deliver();
  };
  const proxy = intercepted(bus, receive, { requests: { send } as unknown as Bus['requests'] });
  const release = () => {
    holding = false;
    for (const deliver of held.splice(0)) deliver();
  };
  return { bus: proxy, release, held: () => held.length, answered: () => answered };
}

test('config - a write is stored, logged with author, reason and the time of the server, and read back', async () => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  const stored = await writeConfig(cli, KEY, modes('audit'), ME);
  expect(stored).toMatchObject({ key: KEY, revision: 1, bucketRevision: 1 });
  expect(await readConfig(cli, KEY)).toMatchObject({ ...stored, timestampMicros: expect.any(Number), ...ME });
  const { log, changes } = followConfig(await nats.connect('correlator'));
  await log.whenCompleteTo(Date.now() * 1000);
  const [change] = changes;
  expect(changes).toEqual([expect.objectContaining({ ...ME, sequence: 1, key: KEY, json: stored.json })]);
  const [message] = await readAll(await nats.connect('correlator'), 'CONFIG_LOG');
  expect(message?.timestampMicros).toBe(change?.timestampMicros);
  expect(message?.subject).toBe(`bailiff.v1.config.${KEY}`);
  await log.close();
});

test.each<[string, string, string | object]>([
  ['CONFIG_JSON', 'no JSON', '{'],
  ['CONFIG_SCHEMA', 'an unknown key', { colour: 'red' }],
  ['CONFIG_SCHEMA', 'an unknown mode', modes('maybe')],
  ['CONFIG_SCHEMA', 'null', 'null'],
])('config - %s for %s, and the stored value stays', async (code, _name, value) => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  await writeConfig(cli, KEY, modes('audit'), ME);
  expect(await codeOf(writeConfig(cli, KEY, value, ME))).toBe(code);
  expect((await configHistory(cli, KEY)).map(({ revision }) => revision)).toEqual([1]);
  expect(await codeOf(writeConfig(cli, KEY, modes('off'), ME))).toBe('stored');
});

test('config - a bad key is rejected before anything is sent', async () => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  for (const key of ['spoof', 'spoof.node._.x', 'spoof.namespace._.x', 'spoof.cluster._.A', 'other.cluster._.x']) {
    expect(await codeOf(writeConfig(cli, key, {}, ME)), key).toBe('CONFIG_KEY');
  }
  expect(await openBucket(cli, 'bailiff_config').keys()).toEqual([]);
});

const ruleOf = (name: string) => {
  const { revision: _, ...rule } = BUILT_IN_RULES[name] as CorrelationRule;
  return rule;
};

/** What each reader does with the values of a key, in the order of the bucket: the refusals. */
async function refusalsOf(bus: Bus, key: string): Promise<string[]> {
  const collector = new DesiredState('node-a');
  const rules = new RuleHistory();
  const policies = new PolicyHistory();
  for (const { json, bucketRevision: sequence, timestampMicros } of await configHistory(bus, key)) {
    collector.receiveConfig(key, json);
    rules.apply({ key, json, sequence, timestampMicros });
    policies.apply({ key, json, sequence, timestampMicros });
  }
  const settings = new SettingsFeed(openBucket(bus, 'bailiff_config'), () => undefined);
  const end = new AbortController();
  const running = settings.run(end.signal).catch(() => undefined);
  await waitFor(() => settings.synced, { what: 'the settings of ipam-sync' });
  end.abort();
  await running;
  const ofIpam = key === KEY && settings.refusal !== '' ? [settings.refusal] : [];
  const ofRules = rules.latest().problems.map(({ message }) => message);
  return [
    ...collector.configRefused.values(),
    ...ofRules,
    ...policies.refused().map(({ message }) => message),
    ...ofIpam,
  ];
}

test.each([
  [KEY, modes('enforce')],
  ['correlation.cluster._.repeated-spoofing', ruleOf('repeated-spoofing')],
  ['response.cluster._.mine', { enabled: true, steps: [{ action: 'label' }] }],
  ['disarm.node._.node-a', { until: new Date(Date.now() + 1_800_000).toISOString(), duration: '1h', reason: 'x' }],
])('config - the next write of %s is in force, whatever revision another client stored', async (key, value) => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  const highest = [MAX_REVISION - 1, MAX_REVISION, MAX_REVISION + 1, 2 ** 53 - 2, 2 ** 53 - 1, 2 ** 53, 1e300, -1, 0.5];
  let writes = 0;
  for (const revision of highest) {
    await openBucket(cli, 'bailiff_config').put(key, JSON.stringify({ ...value, revision }), {});
    await writeConfig(cli, key, value, ME);
    await writeConfig(cli, key, value, ME);
    writes += 3;
    expect(await refusalsOf(cli, key), String(revision)).toEqual([]);
  }
  // The controls: a value that readers refuse is one that no command writes.
  await openBucket(cli, 'bailiff_config').put(key, JSON.stringify({ ...value, revision: 2 ** 53 }), {});
  expect((await refusalsOf(cli, key)).length).toBeGreaterThan(0);
  expect(await codeOf(writeConfig(cli, key, { ...value, revision: MAX_REVISION + 1 }, ME))).toBe('CONFIG_SCHEMA');
  expect((await readConfig(cli, key))?.bucketRevision).toBe(writes + 1);
});

test('config - revisions only grow: a lower one is rejected, the same one takes the next', async () => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  expect((await writeConfig(cli, KEY, { ...modes('audit'), revision: 7 }, ME)).revision).toBe(7);
  expect(await codeOf(writeConfig(cli, KEY, { ...modes('off'), revision: 6 }, ME))).toBe('CONFIG_REVISION');
  expect((await writeConfig(cli, KEY, { ...modes('off'), revision: 7 }, ME)).revision).toBe(8);
  expect((await writeConfig(cli, KEY, modes('enforce'), ME)).revision).toBe(9);
  expect((await configHistory(cli, KEY)).map(({ revision }) => revision)).toEqual([7, 8, 9]);
});

test('config - of two operators who edited the same revision one is rejected', async () => {
  await using nats = await startBus();
  const [one, two] = await Promise.all([nats.connect('cli'), nats.connect('cli')]);
  const base = await writeConfig(one, KEY, modes('audit'), ME);
  const edit = (bus: Bus, mode: string) =>
    codeOf(
      writeConfig(
        bus,
        KEY,
        { ...modes(mode), revision: base.revision },
        { ...ME, expectedRevision: base.bucketRevision },
      ),
    );
  expect((await Promise.all([edit(one, 'off'), edit(two, 'enforce')])).sort()).toEqual(['CONFIG_REVISION', 'stored']);
  expect(await edit(one, 'audit')).toBe('CONFIG_REVISION');
});

test('config - many blind writers at once: each write is stored whole or rejected, none is lost', async () => {
  await using nats = await startBus();
  const writers = await Promise.all([1, 2, 3, 4].map(() => nats.connect('cli')));
  const codes = (
    await Promise.all(
      writers.map(async (bus) => {
        const mine: string[] = [];
        for (let step = 0; step < 10; step += 1) mine.push(await codeOf(writeConfig(bus, KEY, modes('audit'), ME)));
        return mine;
      }),
    )
  ).flat();
  const stored = codes.filter((code) => code === 'stored').length;
  expect(codes.filter((code) => code !== 'stored' && code !== 'CONFIG_REVISION')).toEqual([]);
  const history = await configHistory(writers[0] as Bus, KEY);
  expect(history.map(({ revision }) => revision)).toEqual(Array.from({ length: stored }, (_, index) => index + 1));
});

test('config - a deleted key keeps its revision, so that an old value cannot come back', async () => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  const { log, changes } = followConfig(await nats.connect('correlator'));
  await writeConfig(cli, KEY, { ...modes('audit'), revision: 5 }, ME);
  await deleteConfig(cli, KEY, ME);
  await deleteConfig(cli, KEY, ME);
  expect(await readConfig(cli, KEY)).toBeNull();
  await waitFor(() => changes.length === 2, { state: () => changes });
  expect(changes.at(-1)).toMatchObject({ sequence: 2, key: KEY, json: null });
  expect(await codeOf(writeConfig(cli, KEY, { ...modes('audit'), revision: 4 }, ME))).toBe('CONFIG_REVISION');
  expect((await writeConfig(cli, KEY, modes('off'), { ...ME, expectedRevision: 0 })).revision).toBe(6);
  await log.close();
});

test('config - a write whose acknowledgement is lost is stored once', async () => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  await writeConfig(cli, KEY, modes('audit'), ME);
  const lossy = losing(cli, '$KV.', 'answer');
  expect(await writeConfig(lossy.bus, KEY, modes('off'), ME)).toMatchObject({ revision: 2, bucketRevision: 2 });
  expect(lossy.requests()).toBe(2);
  expect((await configHistory(cli, KEY)).map(({ revision }) => revision)).toEqual([1, 2]);
});

test('config - a deletion whose acknowledgement is lost is stored once', async () => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  await writeConfig(cli, KEY, modes('audit'), ME);
  await deleteConfig(losing(cli, '$KV.', 'answer').bus, KEY, ME);
  expect((await configHistory(cli, KEY)).map(({ deleted }) => deleted)).toEqual([false, true]);
});

test('config - a write whose acknowledgement is lost has succeeded, although another writer follows before it is repeated', async () => {
  await using nats = await startBus();
  const [cli, other] = await Promise.all([nats.connect('cli'), nats.connect('cli')]);
  await writeConfig(cli, KEY, modes('audit'), ME);
  const bob = { ...ME, by: 'bob' };
  const lossy = losing(cli, '$KV.', 'answer', () => writeConfig(other, KEY, modes('enforce'), bob));
  expect(await writeConfig(lossy.bus, KEY, modes('off'), ME)).toMatchObject({ revision: 2, bucketRevision: 2 });
  expect((await configHistory(cli, KEY)).map(({ revision, by }) => [revision, by])).toEqual([
    [1, 'alice'],
    [2, 'alice'],
    [3, 'bob'],
  ]);
});

test('config - a write that never arrived is rejected when another writer was first, and no part of it is stored', async () => {
  await using nats = await startBus();
  const [cli, other] = await Promise.all([nats.connect('cli'), nats.connect('cli')]);
  await writeConfig(cli, KEY, modes('audit'), ME);
  // The same content: only the message id distinguishes the two writes.
  const lossy = losing(cli, '$KV.', 'request', () => writeConfig(other, KEY, modes('off'), ME));
  expect(await codeOf(writeConfig(lossy.bus, KEY, modes('off'), ME))).toBe('CONFIG_REVISION');
  expect(lossy.requests()).toBe(2);
  expect((await configHistory(cli, KEY)).map(({ revision }) => revision)).toEqual([1, 2]);
});

test('config log - reports the changes of all keys in the order of the log', async () => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  const { log, changes } = followConfig(await nats.connect('correlator'));
  const written = [];
  for (const mode of ['audit', 'off', 'enforce']) written.push(await writeConfig(cli, KEY, modes(mode), ME));
  written.push(await writeConfig(cli, 'spoof.namespace.team.default', modes('audit'), ME));
  await waitFor(() => changes.length === 4, { what: 'four changes', state: () => changes });
  expect(changes.map(({ sequence, key, json }) => [sequence, key, json])).toEqual(
    written.map(({ key, json }, index) => [index + 1, key, json]),
  );
  await log.close();
});

test('config log - reports that it has caught up only after the last stored message', async () => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  await writeConfig(cli, KEY, modes('audit'), ME);
  await waitFor(async () => (await streamInfo(cli, 'CONFIG_LOG')).state.last_seq === 1);
  const held = heldBack(await nats.connect('correlator'));
  const { log, revision } = followConfig(held.bus);
  const time = Date.now() * 1000;
  let caughtUp = false;
  const waiting = log.whenCompleteTo(time).then(() => {
    caughtUp = true;
  });
  // The server has sent everything that the watermark needs. The change has arrived, but is not
  // read yet.
  await waitFor(() => held.answered() >= 2 && held.held() >= 1, { what: 'responses and the change' });
  expect([caughtUp, revision(), log.isCompleteTo(time)]).toEqual([false, 0, false]);
  held.release();
  await waiting;
  expect(revision()).toBe(1);
  expect(log.completeToMicros).toBeGreaterThanOrEqual(time);
  await log.close();
});

test('config log - after a clock that was ahead is set back, a change that is not read holds readers back again', async () => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  let ahead = true;
  const bus = await nats.connect('correlator');
  const send = async (...rest: Parameters<Bus['requests']['send']>) => {
    const answer = await bus.requests.send(...rest);
    if (!ahead || !rest[0].includes('STREAM.INFO')) return answer;
    const info = { ...answer.json<object>(), ts: new Date(Date.now() + HOUR_MS).toISOString() };
    return Object.assign(Object.create(answer) as typeof answer, { json: () => info });
  };
  const requests = { send } as unknown as Bus['requests'];
  const held = heldBack(intercepted(bus, (_error, _message, deliver) => deliver(), { requests }));
  const { log, revision } = followConfig(held.bus);
  await log.whenCompleteTo((Date.now() + HOUR_MS / 2) * 1000);
  ahead = false;
  await waitFor(() => !log.isCompleteTo((Date.now() + HOUR_MS / 2) * 1000), { what: 'the time of the server' });
  await writeConfig(cli, KEY, modes('audit'), ME);
  const waiting = log.whenCompleteTo(Date.now() * 1000).then(revision);
  await waitFor(() => held.held() >= 1, { what: 'the change' });
  expect(revision()).toBe(0);
  held.release();
  expect(await waiting).toBe(1);
  await log.close();
});

/** Requests that pass the queue of the server get no response from now on. */
const QUEUES: [name: string, block: (bus: Bus) => unknown][] = [
  ['', () => undefined],
  [', without the queue of API requests', (bus) => withhold(bus, isQueued)],
];

test.each(QUEUES)('config log - never claims a time before a change that has not been read%s', async (_, block) => {
  await using nats = await startBus();
  const cli = await nats.connect('cli');
  const bus = await nats.connect('correlator');
  const { log, revision, revisionAt } = followConfig(bus);
  await log.whenCompleteTo(Date.now() * 1000);
  block(bus);
  const claims: { caughtUpTo: number; revision: number }[] = [];
  const end = performance.now() + 2_500;
  // Runs while the claims lag behind, for as many changes as that takes, however slow the machine
  // is.
  const revisions = () => new Set(claims.map((claim) => claim.revision)).size;
  let written = 0;
  const over = () => performance.now() > end && written > 60 && revisions() > 5;
  const writing = (async () => {
    for (; !over(); await new Promise((resolve) => setTimeout(resolve, 5))) {
      await writeConfig(cli, KEY, modes('audit'), ME);
      written += 1;
    }
  })();
  while (!over()) {
    await log.whenCompleteTo(Date.now() * 1000 - 1_000_000);
    claims.push({ caughtUpTo: log.completeToMicros, revision: revisionAt(log.completeToMicros) });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await writing;
  await log.whenCompleteTo(Date.now() * 1000);
  expect(revision()).toBe(written);
  // A state reported as final equals the state after the whole log.
  for (const { caughtUpTo, revision } of claims) expect(revisionAt(caughtUpTo)).toBe(revision);
  await log.close();
});

test.each(QUEUES)('config log - evaluation one second behind real time hardly ever waits%s', async (_, block) => {
  await using nats = await startBus();
  await writeConfig(await nats.connect('cli'), KEY, modes('audit'), ME);
  const bus = await nats.connect('correlator');
  const { log } = followConfig(bus);
  await log.whenCompleteTo(Date.now() * 1000 - 1_000_000);
  block(bus);
  const end = performance.now() + 2_500;
  let asked = 0;
  let waited = 0;
  while (performance.now() < end || asked < 200) {
    asked += 1;
    if (!log.isCompleteTo(Date.now() * 1000 - 1_000_000)) waited += 1;
    await log.whenCompleteTo(Date.now() * 1000 - 1_000_000);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(waited / asked).toBeLessThan(0.2);
  await log.close();
});

test('config log - delivers changes across a restart of the server', async () => {
  await using nats = await startBus();
  const seen: string[] = [];
  const log = new ConfigLog(await nats.connect('correlator'), { onChange: ({ key }) => seen.push(key) });
  await writeConfig(await nats.connect('cli'), KEY, modes('audit'), ME);
  await waitFor(() => seen.length === 1);
  await nats.restart();
  await writeConfig(await nats.connect('cli'), 'spoof.namespace.team.default', modes('off'), ME);
  await waitFor(() => seen.length === 2, { what: 'the second', state: () => seen });
  await writeConfig(await nats.connect('cli'), KEY, modes('off'), ME);
  await waitFor(() => seen.length === 3);
  expect(seen).toEqual([KEY, 'spoof.namespace.team.default', KEY]);
  await log.close();
  await expect(log.whenCompleteTo(Date.now() * 1000 + 1e6)).rejects.toMatchObject({ code: 'BUS_CLOSED' });
});

test('config log - an identity without the right to read gets an error', async () => {
  await using nats = await startBus();
  const log = new ConfigLog(await nats.connect('collector-node-a'), { onChange: () => expect.fail('a change') });
  await expect(log.whenCompleteTo(Date.now() * 1000)).rejects.toMatchObject({ code: 'BUS_PERMISSION' });
  await log.close();
});
