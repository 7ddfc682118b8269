/** The distribution's Prometheus, which scrapes the apps of a lab and evaluates the alert rules. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import type { Lab } from '@bailiff/lab';
import { ALERTS_FILE } from '../../tools/promql.ts';
import { launch, type RunningProcess } from './process.ts';
import { startPrometheus, type TestPrometheus } from './prometheus.ts';

/** Fetches each URL of its input and prints the responses in order, one JSON string per line. */
const FETCHER = `
  let last = Promise.resolve();
  require('node:readline').createInterface({ input: process.stdin }).on('line', (url) => {
    last = last.then(() => fetch(url)).then((r) => r.text(), () => '').then((text) => console.log(JSON.stringify(text)));
  });`;

export interface Sample {
  metric: Record<string, string>;
  value: [number, string];
}

export interface LabPrometheusOptions {
  /** Default: those of k8s/monitoring. */
  rulesFile?: string;
  /** Pages of other programs, by job. */
  pages?: Readonly<Record<string, () => string>>;
}

/** Every app is a job of its own, reached through one address. */
export class LabPrometheus {
  readonly #lab: Lab;
  /** Child of the lab, by job. */
  readonly #children: Readonly<Record<string, string>>;
  readonly #o: LabPrometheusOptions;
  readonly #fetchers = new Map<string, Fetcher>();
  readonly #relay = createServer((request, response) => {
    this.scrape((request.url ?? '').slice(1)).then(
      (text) => response.setHeader('content-type', 'text/plain; version=0.0.4').end(text),
      (error: Error) => response.writeHead(503).end(error.message),
    );
  });
  #server: TestPrometheus | null = null;

  constructor(lab: Lab, children: Readonly<Record<string, string>>, options: LabPrometheusOptions = {}) {
    this.#lab = lab;
    this.#children = children;
    this.#o = options;
  }

  async start(): Promise<void> {
    const { rulesFile = ALERTS_FILE, pages = {} } = this.#o;
    await new Promise<void>((resolve) => this.#relay.listen(0, '127.0.0.1', resolve));
    const { port } = this.#relay.address() as AddressInfo;
    this.#server = await startPrometheus({
      global: { scrape_interval: '2s', scrape_timeout: '2s', evaluation_interval: '1s' },
      rule_files: [rulesFile],
      scrape_configs: [...Object.keys(this.#children), ...Object.keys(pages)].map((job) => ({
        job_name: job,
        metrics_path: `/${job}`,
        static_configs: [{ targets: [`127.0.0.1:${port}`], labels: { instance: this.#children[job] ?? job } }],
      })),
    });
  }

  async scrape(job: string): Promise<string> {
    const page = this.#o.pages?.[job];
    if (page) return page();
    const child = this.#children[job] as string;
    const url = `http://${this.#address(child)}/metrics`;
    return child.startsWith('collector-') ? this.#onNode(child.slice('collector-'.length), url) : fetchText(url);
  }

  /** The last address in the app's log. */
  #address(child: string): string {
    const ready = readFileSync(this.#lab.child(child).logFile, 'utf8')
      .match(/"metricsAddress":"[^"]+"/g)
      ?.at(-1);
    return (JSON.parse(`{${ready}}`) as { metricsAddress: string }).metricsAddress;
  }

  /** A collector listens in its node's network namespace: one process there fetches for the whole test. */
  #onNode(node: string, url: string): Promise<string> {
    const known = this.#fetchers.get(node) ?? new Fetcher(this.#lab.node(node).netns);
    this.#fetchers.set(node, known);
    return known.fetch(url);
  }

  /** The error of the last scrape, by job; empty: none. */
  async scrapeErrors(): Promise<Record<string, string>> {
    const page = await this.#server?.get<{ activeTargets: { labels: { job: string }; lastError: string }[] }>(
      'targets',
    );
    return Object.fromEntries((page?.activeTargets ?? []).map(({ labels, lastError }) => [labels.job, lastError]));
  }

  async query(expr: string): Promise<Sample[]> {
    if (!this.#server) throw new Error('Prometheus is not started');
    return (await this.#server.get<{ result: Sample[] }>(`query?query=${encodeURIComponent(expr)}`)).result;
  }

  async valueOf(expr: string): Promise<number> {
    return Number((await this.query(expr))[0]?.value[1] ?? Number.NaN);
  }

  /** Names of alerts that are pending or firing. */
  async alerts(): Promise<string[]> {
    return (await this.query('ALERTS')).map(({ metric }) => metric['alertname'] as string);
  }

  async close(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    for (const fetcher of this.#fetchers.values()) await fetcher.close();
    this.#relay.closeAllConnections();
    this.#relay.close();
  }
}

const fetchText = async (url: string) => (await fetch(url)).text();

class Fetcher {
  readonly #process: RunningProcess;
  /** The open request, which later ones of the same page share: a slow collector would fall ever further behind. */
  #open: Promise<string> | null = null;
  #answer: (text: string) => void = () => undefined;

  constructor(netns: string) {
    const command = ['KILL', 'ip', 'netns', 'exec', netns, process.execPath, '-e', FETCHER];
    this.#process = launch('setpriv', ['--pdeathsig', ...command], { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#process.child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.#open = null;
      this.#answer(JSON.parse(line) as string);
    });
  }

  fetch(url: string): Promise<string> {
    this.#open ??= new Promise<string>((resolve, reject) => {
      this.#answer = (text) => (text === '' ? reject(new Error('no response')) : resolve(text));
      this.#process.child.stdin?.write(`${url}\n`);
    });
    return this.#open;
  }

  close(): Promise<void> {
    return this.#process.kill();
  }
}
