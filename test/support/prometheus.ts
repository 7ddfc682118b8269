/** The distribution's Prometheus on a free port, with its data in a directory of its own. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '@bailiff/bus/testing';
import { waitFor } from '@bailiff/service/testing';
import { stringify } from 'yaml';
import { launch } from './process.ts';

export interface TestPrometheus extends AsyncDisposable {
  /** `data` of a response; `page` is below /api/v1. @throws Error with the error of Prometheus */
  get<T>(page: string): Promise<T>;
  out(): string;
}

/** Resolves when it is ready. */
export async function startPrometheus(config: object): Promise<TestPrometheus> {
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-prometheus-'));
  const file = path.join(directory, 'prometheus.yml');
  writeFileSync(file, stringify(config));
  const listen = `127.0.0.1:${await freePort()}`;
  const flags = [`--config.file=${file}`, `--storage.tsdb.path=${directory}/data`, `--web.listen-address=${listen}`];
  // The kernel kills the server when its parent ends. setpriv execs, so the pid is the server's.
  const running = launch('setpriv', ['--pdeathsig', 'KILL', 'prometheus', ...flags]);
  const dispose = async () => {
    await running.kill();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    const isReady = async () => (await fetch(`http://${listen}/-/ready`)).ok;
    await waitFor(isReady, { what: 'Prometheus', state: running.out });
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    out: running.out,
    async get<T>(page: string) {
      const response = await fetch(`http://${listen}/api/v1/${page}`);
      const body = (await response.json()) as { status: string; error?: string; data: T };
      if (body.status !== 'success') throw new Error(`${page}: ${body.error}`);
      return body.data;
    },
    [Symbol.asyncDispose]: dispose,
  };
}
