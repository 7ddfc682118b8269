/** The distribution's Alertmanager, which notifies a webhook receiver. It can be killed. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { launch, type RunningProcess } from '../support/process.ts';
import { HttpReceiver } from './http-receiver.ts';

const ALERTMANAGER = '/usr/bin/prometheus-alertmanager';

interface Notification {
  status: string;
  alerts: {
    status: string;
    labels: Record<string, string>;
    annotations: Record<string, string>;
    generatorURL: string;
  }[];
}

export class Alertmanager implements AsyncDisposable {
  readonly receiver = new HttpReceiver();
  readonly #directory = mkdtempSync(path.join(tmpdir(), 'bailiff-alertmanager-'));
  readonly #groupWait: string;
  #running: RunningProcess | null = null;
  port = 0;

  /** @param groupWait how long the first notification waits */
  constructor(groupWait = '100ms') {
    this.#groupWait = groupWait;
  }

  async start(): Promise<this> {
    if (this.receiver.port === 0) await this.receiver.start();
    this.port ||= await freePort();
    const config = path.join(this.#directory, 'alertmanager.yml');
    const route = {
      receiver: 'soc',
      group_by: ['...'],
      group_wait: this.#groupWait,
      group_interval: '1s',
      repeat_interval: '1h',
    };
    const soc = { name: 'soc', webhook_configs: [{ url: this.receiver.url(), send_resolved: true }] };
    writeFileSync(config, JSON.stringify({ route, receivers: [soc] }));
    const address = `127.0.0.1:${this.port}`;
    const flags = ['--config.file', config, '--storage.path', this.#directory, '--web.listen-address', address];
    this.#running = launch('setpriv', ['--pdeathsig', 'KILL', ALERTMANAGER, ...flags, '--cluster.listen-address=']);
    const isReady = () =>
      fetch(`${this.url}/-/ready`).then(
        ({ ok }) => ok,
        () => false,
      );
    await waitFor(isReady, { what: 'Alertmanager', timeoutMs: 30_000, state: this.#running.out });
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }
  async kill(): Promise<void> {
    await this.#running?.kill();
  }
  /** Alerts that are firing. */
  async firing(): Promise<Notification['alerts']> {
    return (await fetch(`${this.url}/api/v2/alerts?active=true`)).json() as Promise<Notification['alerts']>;
  }
  notifications(): Notification[] {
    return this.receiver.accepted.map(({ body }) => JSON.parse(body.toString('utf8')) as Notification);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.receiver.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
