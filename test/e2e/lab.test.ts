/**
 * `bailiff lab` as a person uses it: the output of up, stock kubectl, a deleted pod's process, and
 * that no end leaves anything behind. For attacks, see attack.test.ts.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { exec, LABS_DIR, type LabInfo, readState } from '@bailiff/lab';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bailiff, kubectl, lab, startBailiff, startLabFrom, startLabProcess, tracesOf, uniqueId } from './support.ts';

/** Login refusals that have nothing to do with the token. */
const PASSING = ['overloaded', 'api-unreachable'];

describe('lab up --detach', () => {
  const id = uniqueId('d');
  let info: LabInfo;
  const k = (...args: string[]) => kubectl(info.kubeconfig, ...args);
  const currentPods = async () => ((await readState(info.dir))?.info?.pods ?? []).map((pod) => pod.name);

  beforeAll(async () => {
    info = JSON.parse(await bailiff('lab', 'up', '--detach', '--json', '--bus-auth', '--lab', id)) as LabInfo;
  });
  afterAll(async () => {
    await lab('down', '--lab', id).catch(() => undefined);
  });

  it('json - names every node and pod with the data to reach it', async () => {
    expect(info.natsUrl).toMatch(/^nats:\/\/127\.0\.0\.1:\d+$/);
    expect(info.redisUrl).toMatch(/^redis:\/\/127\.0\.0\.1:\d+$/);
    expect(existsSync(info.kubeconfig)).toBe(true);
    expect(info.nodes.map((node) => node.name)).toEqual(['node-0', 'node-1.lab.internal']);
    expect(info.pods).toHaveLength(6);
    for (const pod of info.pods) {
      const shown = await exec('ip', ['netns', 'exec', pod.netns, 'ip', '-o', 'addr', 'show', 'eth0']);
      for (const ip of pod.ips) expect(shown).toContain(` ${ip}/`);
      const link = await exec('ip', ['netns', 'exec', pod.netns, 'ip', '-o', 'link', 'show', 'eth0']);
      expect(link).toContain(pod.mac);
      const node = info.nodes.find((each) => each.name === pod.node);
      await exec('ip', ['-n', node!.netns, 'link', 'show', pod.hostInterface]);
    }
  });

  it('bus-auth - every collector is on the bus by its token: it has no password there', async () => {
    const secrets = readdirSync(path.join(info.dir, 'secrets')).filter((name) => name.startsWith('collector-'));
    expect(secrets.sort()).toEqual(info.nodes.map(({ name }) => `collector-${name}.token`));
    const log = readFileSync(path.join(info.dir, 'logs', 'bus-auth.log'), 'utf8').split('\n');
    const ready = JSON.parse(log.find((line) => line.includes('"ready"')) ?? '{}') as { metricsAddress: string };
    const metrics = await (await fetch(`http://${ready.metricsAddress}/metrics`)).text();
    // A client logs in again if the server or the API server responded too late.
    const granted = Number(/^bailiff_bus_auth_granted_total (\d+)$/m.exec(metrics)?.[1]);
    expect(granted).toBeGreaterThanOrEqual(info.nodes.length);
    const refused = [...metrics.matchAll(/^bailiff_bus_auth_refused_total\{reason="(.*)"\} [1-9]/gm)];
    expect(refused.map(([, reason]) => reason).filter((reason) => !PASSING.includes(reason!))).toEqual([]);
  });

  it('kubectl - get, describe, label and cordon work as on any cluster', async () => {
    expect((await k('get', 'nodes', '-o', 'name')).trim().split('\n')).toEqual([
      'node/node-0',
      'node/node-1.lab.internal',
    ]);
    const wide = await k('get', 'pods', '-o', 'wide');
    for (const pod of info.pods)
      expect(wide).toMatch(new RegExp(`${pod.name} +1/1 +Running +0 .* ${pod.ips[0]} +${pod.node} `));
    // Its controller counts the pods a moment after they are ready.
    const deployment = () => k('get', 'deployment', 'web');
    await waitFor(async () => /web +6\/6 +6 +6/.test(await deployment()), { what: 'six of six', state: deployment });
    const name = info.pods[0]!.name;
    expect(await k('describe', 'pod', name)).toMatch(/Controlled By: +ReplicaSet\/web-/);
    await k('label', 'pod', name, 'colour=green');
    expect(await k('get', 'pods', '-l', 'colour=green', '-o', 'name')).toBe(`pod/${name}\n`);
    await k('cordon', 'node-0');
    expect(await k('get', 'node', 'node-0')).toMatch(/SchedulingDisabled/);
    await k('uncordon', 'node-0');
  });

  it('kubectl delete - the process ends, its namespace and its CNI record are removed, and another pod replaces it', async () => {
    const pod = info.pods[0]!;
    const results = path.join(info.dir, 'nodes', pod.node, 'cni/results');
    const records = () => readdirSync(results).filter((file) => file.startsWith('lab-')).length;
    expect(records()).toBe(3);
    const pids = (await exec('ip', ['netns', 'pids', pod.netns])).trim().split('\n');
    expect(pids).toHaveLength(1);
    await k('delete', 'pod', pod.name);
    expect(existsSync(`/run/netns/${pod.netns}`)).toBe(false);
    expect(existsSync(`/proc/${pids[0]}`)).toBe(false);
    await expect(k('get', 'pod', pod.name)).rejects.toThrow(/not found/);
    const names = await waitFor(
      async () => {
        const now = await currentPods();
        return now.length === 6 && !now.includes(pod.name) && now;
      },
      { what: 'a replacement', state: currentPods },
    );
    expect(names.filter((name) => info.pods.some((before) => before.name === name))).toHaveLength(5);
    expect(records()).toBe(3);
  });

  it('apps - each logs that it is ready, and none logs an error', async () => {
    const logs = path.join(info.dir, 'logs');
    for (const app of ['ipam-sync', 'correlator', 'responder', 'collector-node-0', 'collector-node-1.lab.internal']) {
      const lines = (await exec('cat', [path.join(logs, `${app}.log`)])).trim().split('\n');
      const entries = lines.map((line) => JSON.parse(line) as { msg: string; level: number });
      expect(entries.map((entry) => entry.msg)).toContain('ready');
      expect(entries.filter((entry) => entry.level >= 50)).toEqual([]);
    }
  });

  it('detach and attach - the running collector guards again; a killed one is started again and guards again', async () => {
    const { name, netns } = info.nodes[0]!;
    const home = path.join(info.dir, 'nodes', name);
    const collector = (...args: string[]) =>
      exec('ip', [
        ...['netns', 'exec', netns, process.execPath, 'apps/collector/dist/main.mjs', ...args],
        ...['--bpf-dir', path.join(home, 'bpf'), '--state-dir', path.join(home, 'collector')],
      ]);
    const pid = async () =>
      (await readState(info.dir))?.processes.find((each) => each.name === `collector-${name}`)?.pid ?? 0;
    const before = await pid();
    await collector('detach', '--all');
    await expect(collector('status')).rejects.toThrow(/nothing is pinned/);
    await collector('attach');
    const places = async () =>
      (JSON.parse(await collector('status', '--json')) as { interfaces: { place: string }[] }).interfaces;
    const guarded = () =>
      waitFor(async () => (await places()).filter(({ place }) => place === 'head').length === 3, {
        what: 'all three interfaces to be guarded',
        state: places,
      });
    await guarded();
    expect(await pid()).toBe(before);
    process.kill(before, 'SIGKILL');
    await waitFor(async () => (await pid()) !== before, { what: 'another collector', state: pid });
    await guarded();
    expect(existsSync(`/proc/${before}`)).toBe(false);
  });

  it('killed supervisor - its processes end with it, and down removes the rest', async () => {
    const state = await readState(info.dir);
    expect(tracesOf(id)).toContain(`process ${state!.processes[0]!.pid}`);
    process.kill(state!.pid, 'SIGKILL');
    const processes = () => tracesOf(id).filter((trace) => trace.startsWith('process'));
    await waitFor(() => processes().length === 0, { what: 'the processes to end', state: processes });
    expect(tracesOf(id).length).toBeGreaterThan(0);
    expect(await lab('list')).toMatch(new RegExp(`${id} +dead`));
    await lab('down', '--lab', id);
    expect(tracesOf(id)).toEqual([]);
  });
});

describe('lab up in the foreground', () => {
  it('ctrl-c - ends a running lab, and removes the remains of a killed one', async () => {
    const killed = uniqueId('k');
    const first = startLabProcess('up', '--nodes', '1', '--pods', '0', '--lab', killed);
    await first.printed('apps:');
    process.kill((await readState(path.join(LABS_DIR, killed)))!.pid, 'SIGKILL');
    await first.ended;
    expect(tracesOf(killed)).not.toEqual([]);

    const id = uniqueId('f');
    const command = startBailiff('lab', 'up', '--nodes', '1', '--pods', '2', '--unguarded', '--lab', id);
    await command.printed('down   Ctrl-C');
    expect(tracesOf(killed)).toEqual([]);
    expect(tracesOf(id)).not.toEqual([]);
    command.interrupt();
    expect(await command.ended).toBe(0);
    expect(tracesOf(id)).toEqual([]);
  });

  it('ctrl-c - ends a lab that is still starting', async () => {
    const id = uniqueId('h');
    const half = startLabProcess('up', '--nodes', '2', '--pods', '2', '--lab', id);
    await half.printed('apps:');
    half.interrupt();
    expect(await half.ended).toBe(130);
    expect(tracesOf(id)).toEqual([]);
  });

  it('SIGTERM - does the same, sent to the command alone', async () => {
    const id = uniqueId('t');
    const command = startBailiff('lab', 'up', '--nodes', '1', '--pods', '1', '--unguarded', '--lab', id);
    await command.printed('servers:');
    command.child.kill('SIGTERM');
    expect(await command.ended).toBe(130);
    expect(tracesOf(id)).toEqual([]);
  });

  it('detach - reports why the background process ended', async () => {
    const directory = temporaryDirectory();
    const id = uniqueId('e');
    const ends = "if (process.argv.includes('supervise')) throw new Error('ended by the test');";
    writeFileSync(path.join(directory, 'ends.mjs'), ends);
    const command = startLabFrom(directory, ['--import', './ends.mjs'], 'up', '--detach', '--lab', id);
    expect(await command.ended).toBe(1);
    expect(command.out()).toMatch(/^bailiff lab: the supervisor ended with 1:\n[\s\S]*^Error: ended by the test$/m);
    expect(tracesOf(id)).toEqual([]);
  });

  it('flags - a wrong one ends with 2 before anything is made', async () => {
    const command = startBailiff('lab', 'up', '--nodes', '0');
    expect(await command.ended).toBe(2);
    expect(command.out()).toMatch(/--nodes must be a whole number from 1/);
  });
});
