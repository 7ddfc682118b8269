/** An API server that keeps the reports of OpenReports, with the verdicts that were in one. It can be killed. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type ApiServer, startApiServer } from '@bailiff/lab/apiserver';
import { serveReports, TOKENS } from '../../support/openreports.ts';
import { Ledger, type Receiver } from './receivers.ts';

const REPORTS = 'reports.openreports.io';

interface Results {
  results?: { properties: Record<string, string> }[];
}

export class ReportReceiver implements Receiver {
  readonly ledger = new Ledger();
  readonly #certDir = mkdtempSync(path.join(tmpdir(), 'bailiff-reports-'));
  readonly #namespaces: readonly string[];
  #api: ApiServer | null = null;
  #kept: Parameters<ApiServer['store']['put']>[2][] = [];
  #port = 0;

  constructor(namespaces: readonly string[]) {
    this.#namespaces = namespaces;
  }

  async start(): Promise<this> {
    // The reports are large, and no watch needs their history.
    const options = { certDir: this.#certDir, port: this.#port, tokens: TOKENS, historyLimit: 100 };
    const api = await startApiServer(options);
    serveReports(api, this.#namespaces);
    // As after a restart with the same etcd.
    for (const object of this.#kept) api.store.put(REPORTS, `${object.metadata.namespace}/bailiff`, object);
    api.store.subscribe(({ storage, object }) => {
      if (storage !== REPORTS) return;
      for (const { properties, ...result } of (object as Results).results ?? [])
        this.ledger.add(properties['verdictId'] ?? '', JSON.stringify(result));
    });
    this.#port = api.port;
    this.#api = api;
    return this;
  }

  get kubeconfig(): string {
    return this.#api?.kubeconfigPath('relay') ?? '';
  }

  /** Verdicts in the reports now. */
  inForce(): number {
    const reports = (this.#api?.store.list(REPORTS) ?? []) as Results[];
    return reports.reduce((sum, { results = [] }) => sum + results.length, 0);
  }

  async kill(): Promise<void> {
    const api = this.#api;
    this.#api = null;
    this.#kept = api?.store.list(REPORTS) ?? [];
    await api?.close();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.#certDir, { recursive: true, force: true });
  }
}
