// Every app that uses the bus, as a process of its own: stopped before there is a bus, and with an
// invalid bus address.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePort } from '@bailiff/bus/testing';
import { keyOf } from '@bailiff/evidence/testing';
import { temporaryDirectory, waitFor } from '@bailiff/service/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { launchApp } from '../support/process.ts';

/** Of a cluster that does not exist either. */
const KUBECONFIG = {
  apiVersion: 'v1',
  kind: 'Config',
  clusters: [{ name: 'none', cluster: { server: 'https://127.0.0.1:9' } }],
  contexts: [{ name: 'none', context: { cluster: 'none', user: 'nobody' } }],
  users: [{ name: 'nobody', user: {} }],
  'current-context': 'none',
};

describe.each(['correlator', 'responder', 'ipam-sync', 'siem-relay', 'evidence-log'])('%s - without a bus', (app) => {
  let directory = '';
  beforeAll(() => {
    directory = temporaryDirectory();
    writeFileSync(path.join(directory, 'password'), 'x', { mode: 0o600 });
    writeFileSync(path.join(directory, 'kubeconfig'), JSON.stringify(KUBECONFIG));
    const key = keyOf(1).privateKey.export({ format: 'pem', type: 'pkcs8' });
    writeFileSync(path.join(directory, 'key.pem'), key);
  });

  function launch(natsUrl: string, more: string[] = []) {
    const kube = ['--kubeconfig', path.join(directory, 'kubeconfig')];
    const log = ['--directory', path.join(directory, 'log'), '--key-file', path.join(directory, 'key.pem')];
    const own: Record<string, string[]> = {
      ...{ responder: kube, 'ipam-sync': kube },
      'evidence-log': [...log, '--origin', 'bailiff.test/log', '--listen-address', '127.0.0.1:0'],
    };
    const bus = ['--nats-url', natsUrl, '--nats-password-file', path.join(directory, 'password')];
    const flags = [...bus, ...(own[app] ?? []), ...more];
    return launchApp(app, flags);
  }

  it('SIGTERM while it waits for the bus - exit code 0, quickly, and no stack trace', async () => {
    const url = `nats://127.0.0.1:${await freePort()}`;
    await using running = launch(url);
    const { child, out, exit } = running;
    // The reason of the wait may have one.
    const waiting = '"msg":"waiting for the bus"';
    await waitFor(() => out().includes(waiting), { what: `${app} to wait for the bus`, state: out });
    const begun = performance.now();
    child.kill('SIGTERM');
    const [code, signal] = await exit;
    const others = out()
      .split('\n')
      .filter((line) => !line.includes(waiting))
      .join('\n');
    expect({ code, signal, stack: /^ +at /m.test(others) || others.includes('"stack"') }, out()).toEqual({
      code: 0,
      signal: null,
      stack: false,
    });
    expect(performance.now() - begun).toBeLessThan(10_000);
  });

  it('an invalid address - refused at once with the reason', async () => {
    await using running = launch('garbage');
    const { out, exit } = running;
    expect((await exit)[0], out()).toBe(2);
    expect(out()).toMatch(/natsUrl: .*nats:\/\/host:port.*--nats-url/);
  });
});
